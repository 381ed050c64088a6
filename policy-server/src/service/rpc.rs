//! The contract's service.

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tonic::service::Interceptor;
use tonic::{Request, Response, Status};

use super::authorize::Decider;
use super::watch::{EventStream, stream};
use crate::contract as pb;
use crate::contract::policy_server::Policy;

pub struct PolicyService {
    pub decider: Arc<Decider>,
    pub heartbeat: Duration,
    /// True once the server is stopping.
    pub draining: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Policy for PolicyService {
    type WatchStream = EventStream;

    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        Ok(Response::new(self.decider.authorize(request.get_ref()).await?))
    }

    async fn visible(
        &self,
        request: Request<pb::VisibleRequest>,
    ) -> Result<Response<pb::VisibleResponse>, Status> {
        Ok(Response::new(self.decider.visible(request.get_ref()).await?))
    }

    async fn record(
        &self,
        request: Request<pb::RecordRequest>,
    ) -> Result<Response<pb::RecordResponse>, Status> {
        Ok(Response::new(self.decider.record(request.get_ref()).await?))
    }

    async fn administer(
        &self,
        request: Request<pb::AdministerRequest>,
    ) -> Result<Response<pb::AdministerResponse>, Status> {
        let decider = Arc::clone(&self.decider);
        let request = request.into_inner();
        Ok(Response::new(decider.administer(request).await))
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let snapshots = Arc::clone(&self.decider.snapshots);
        let draining = self.draining.clone();
        Ok(Response::new(stream(snapshots, request.into_inner(), self.heartbeat, draining)))
    }
}

/// Refuses calls without the shared token, where one is configured.
#[derive(Clone)]
pub struct SharedToken(Option<Arc<str>>);

impl SharedToken {
    pub fn new(token: Option<&str>) -> Self {
        Self(token.map(|token| format!("Bearer {token}").into()))
    }
}

impl Interceptor for SharedToken {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.0 else { return Ok(request) };
        let given = request.metadata().get("authorization").map_or(&[][..], |v| v.as_bytes());
        if bool::from(given.ct_eq(expected.as_bytes())) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the shared token is missing or wrong"))
        }
    }
}

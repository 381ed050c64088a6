//! The contract's service.

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tonic::service::Interceptor;
use tonic::{Request, Response, Status, Streaming};

use super::authorize::Decider;
use super::contract::Peer;
use super::decide::{DecisionStream, decisions};
use super::watch::{EventStream, Pace, Sources, stream};
use crate::contract as pb;
use crate::contract::policy_server::Policy;
use crate::metrics::Metrics;
use crate::oidc::Issuers;
use crate::traces::{Traces, administered, decided};

pub struct PolicyService {
    pub desk: Arc<Desk>,
    pub issuers: Issuers,
    pub heartbeat: Duration,
    /// True once the server is stopping.
    pub draining: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Policy for PolicyService {
    type WatchStream = EventStream;
    type DecideStream = DecisionStream;

    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        let peer = Peer::of(&request);
        Ok(Response::new(self.desk.authorize(peer, request.get_ref()).await?))
    }

    async fn decide(
        &self,
        request: Request<Streaming<pb::DecideRequest>>,
    ) -> Result<Response<DecisionStream>, Status> {
        let (desk, peer) = (Arc::clone(&self.desk), Peer::of(&request));
        Ok(Response::new(decisions(desk, peer, request.into_inner(), self.draining.clone())))
    }

    async fn visible(
        &self,
        request: Request<pb::VisibleRequest>,
    ) -> Result<Response<pb::VisibleResponse>, Status> {
        let answer = self.desk.decider.visible(request.get_ref());
        Ok(Response::new(self.desk.metrics.call("Visible", answer).await?))
    }

    async fn record(
        &self,
        request: Request<pb::RecordRequest>,
    ) -> Result<Response<pb::RecordResponse>, Status> {
        let answer = self.desk.decider.record(request.get_ref());
        Ok(Response::new(self.desk.metrics.call("Record", answer).await?))
    }

    async fn administer(
        &self,
        request: Request<pb::AdministerRequest>,
    ) -> Result<Response<pb::AdministerResponse>, Status> {
        let request = request.into_inner();
        let info = request.info.clone();
        let answer = async { Ok(self.desk.decider.administer(request).await) };
        let answer = self.desk.metrics.call("Administer", answer);
        let response: Result<_, Status> =
            self.desk.traces.call("Administer", info.as_ref(), answer, administered).await;
        Ok(Response::new(response?))
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let sources = Sources {
            snapshots: Arc::clone(&self.desk.decider.snapshots),
            keys: self.issuers.subscribe(),
        };
        let draining = self.draining.clone();
        let watching = self.desk.metrics.watcher();
        let pace = Pace { heartbeat: self.heartbeat, peer: Peer::of(&request) };
        let request = request.into_inner();
        Ok(Response::new(stream(sources, request, pace, draining, watching)))
    }

    async fn keys(
        &self,
        request: Request<pb::KeysRequest>,
    ) -> Result<Response<pb::KeysResponse>, Status> {
        let request = request.get_ref();
        let answer = async {
            let keys = self.issuers.keys(&request.issuer, &request.kid).await;
            keys.ok_or_else(|| Status::not_found("oidc_issuers has no issuer of this name"))
        };
        Ok(Response::new(self.desk.metrics.call("Keys", answer).await?))
    }
}

/// Where requests are decided.
pub struct Desk {
    pub decider: Arc<Decider>,
    pub metrics: Metrics,
    pub traces: Traces,
}

impl Desk {
    pub(super) async fn authorize(
        &self,
        peer: Peer,
        request: &pb::AuthorizeRequest,
    ) -> Result<pb::AuthorizeResponse, Status> {
        // Boxed: it is large, and whoever awaits it in a future of their own moves it.
        let answer = Box::pin(self.decider.authorize(request));
        let answer = self.metrics.call("Authorize", answer);
        let answer = self.traces.call("Authorize", request.info.as_ref(), answer, decided);
        let mut response = answer.await?;
        peer.adapt(&mut response);
        self.metrics.decided(response.outcome());
        Ok(response)
    }
}

/// Refuses calls without the shared token, where one is configured, and callers whose contract is
/// not understood.
#[derive(Clone)]
pub struct SharedToken(Option<Arc<str>>);

impl SharedToken {
    pub fn new(token: Option<&str>) -> Self {
        Self(token.map(|token| format!("Bearer {token}").into()))
    }
}

impl Interceptor for SharedToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.check(&request)?;
        let peer = Peer::read(request.metadata())?;
        request.extensions_mut().insert(peer);
        Ok(request)
    }
}

impl SharedToken {
    fn check(&self, request: &Request<()>) -> Result<(), Status> {
        let Some(expected) = &self.0 else { return Ok(()) };
        let given = request.metadata().get("authorization").map_or(&[][..], |v| v.as_bytes());
        if bool::from(given.ct_eq(expected.as_bytes())) {
            Ok(())
        } else {
            Err(Status::unauthenticated("the shared token is missing or wrong"))
        }
    }
}

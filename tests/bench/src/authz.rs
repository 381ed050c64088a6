//! An authorization server for Envoy's `ext_authz` that allows everything at once: the least that
//! such a server can cost.

use anyhow::Result;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// `envoy.service.auth.v3.CheckRequest`; its fields are skipped unread.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {}

/// `envoy.service.auth.v3.CheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, optional, tag = "3")]
    ok_response: Option<OkHttpResponse>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

/// `envoy.service.auth.v3.OkHttpResponse`, changing nothing.
#[derive(Clone, PartialEq, prost::Message)]
struct OkHttpResponse {}

#[derive(Clone)]
struct AlwaysAllow;

impl UnaryService<CheckRequest> for AlwaysAllow {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<CheckRequest>) -> Self::Future {
        ready(Ok(tonic::Response::new(CheckResponse {
            status: Some(Status { code: 0 }),
            ok_response: Some(OkHttpResponse {}),
        })))
    }
}

impl NamedService for AlwaysAllow {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for AlwaysAllow {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// The service has one method, `Check`.
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async {
            let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
            Ok(Grpc::new(codec).unary(AlwaysAllow, request).await)
        })
    }
}

pub async fn serve(port: u16) -> Result<()> {
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(AlwaysAllow)
        .serve(([127, 0, 0, 1], port).into())
        .await?;
    Ok(())
}

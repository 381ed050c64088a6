//! Stands between a filter and a policy server, and carries only what the contract's version before
//! knew: to the server it is a filter of that version, to the filter a server of that version.
//! What came later, fields and calls, is lost on the way.
//!
//!     previous_contract LISTEN UPSTREAM CONTRACT
//!
//! CONTRACT is the version that the calls name; the end-to-end tests also try one that is too far.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;

use mlgate_policy_server::contract as new;
use mlgate_policy_server::contract::policy_client::PolicyClient;
use mlgate_policy_server::service::contract::HEADER;
use prost::Message;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

#[allow(clippy::all, dead_code)]
mod old {
    include!(concat!(env!("OUT_DIR"), "/previous/mlgate.policy.v1.rs"));
}
use old::policy_server::{Policy, PolicyServer};

struct Between {
    upstream: PolicyClient<Channel>,
    contract: MetadataValue<Ascii>,
}

/// The same bytes as the other version reads them; what it does not know is not written again.
fn reread<T: Message + Default>(message: &impl Message) -> Result<T, Status> {
    T::decode(message.encode_to_vec().as_slice())
        .map_err(|why| Status::internal(format!("the versions do not read each other: {why}")))
}

impl Between {
    fn request<T: Message + Default>(
        &self,
        request: Request<impl Message>,
    ) -> Result<Request<T>, Status> {
        let (metadata, _, message) = request.into_parts();
        let mut passed_on = Request::new(reread(&message)?);
        *passed_on.metadata_mut() = metadata;
        passed_on.metadata_mut().insert(HEADER, self.contract.clone());
        Ok(passed_on)
    }
}

macro_rules! unary {
    ($($call:ident: $request:ident -> $response:ident;)+) => {
        #[tonic::async_trait]
        impl Policy for Between {
            type WatchStream = Pin<Box<dyn Stream<Item = Result<old::WatchEvent, Status>> + Send>>;

            $(async fn $call(
                &self,
                request: Request<old::$request>,
            ) -> Result<Response<old::$response>, Status> {
                let answer = self.upstream.clone().$call(self.request(request)?).await?;
                Ok(Response::new(reread(answer.get_ref())?))
            })+

            async fn watch(
                &self,
                request: Request<old::WatchRequest>,
            ) -> Result<Response<Self::WatchStream>, Status> {
                let request = self.request::<new::WatchRequest>(request)?;
                let events = self.upstream.clone().watch(request).await?.into_inner();
                Ok(Response::new(Box::pin(events.map(|event| reread(&event?)))))
            }
        }
    };
}

unary! {
    authorize: AuthorizeRequest -> AuthorizeResponse;
    visible: VisibleRequest -> VisibleResponse;
    record: RecordRequest -> RecordResponse;
    administer: AdministerRequest -> AdministerResponse;
    keys: KeysRequest -> KeysResponse;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: previous_contract LISTEN UPSTREAM CONTRACT");
    let listen: SocketAddr = next()?.parse()?;
    let upstream = Channel::from_shared(format!("http://{}", next()?))?.connect_lazy();
    let contract = next()?.parse()?;
    let (_, health) = tonic_health::server::health_reporter();
    let between = Between { upstream: PolicyClient::new(upstream), contract };
    let service = PolicyServer::new(between);
    Server::builder().add_service(health).add_service(service).serve(listen).await?;
    Ok(())
}

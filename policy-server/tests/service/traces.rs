//! Spans, as a collector receives them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::support::*;
use crate::tls::Authority;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Keeps all that it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let (collector, address) = Self::start_with(Server::builder()).await;
        (collector, format!("http://{address}"))
    }

    async fn start_with(mut server: Server) -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server.add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    async fn has(&self, name: &str) -> Span {
        let found = || self.spans().into_iter().find(|span| span.name == name);
        eventually(name, || async { found().is_some() }).await;
        found().unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(|request| request.encode_to_vec()).collect()
    }
}

fn traced(who: pb::Subject, traceparent: &str) -> pb::AuthorizeRequest {
    let info = pb::RequestInfo {
        method: "GET".to_owned(),
        route: "/2.0/mlflow/experiments/get".to_owned(),
        request_id: "r-1".to_owned(),
        client_address: "192.0.2.1".to_owned(),
        traceparent: traceparent.to_owned(),
    };
    let question = request(who, vec![experiment("1", Action::Read)]);
    pb::AuthorizeRequest { info: Some(info), ..question }
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    format!("{:?}", found.and_then(|found| found.value.clone()))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_decision_is_a_span_of_the_clients_trace() {
    let (collector, url) = Collector::start().await;
    let server = fixture(On::Sqlite, &[("otlp_endpoint", &url)]).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let answer = server.request(traced(basic("reader", PASSWORD), &traceparent)).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
    let span = collector.has("Authorize").await;
    assert_eq!(hex::encode(&span.trace_id), TRACE);
    assert_eq!(hex::encode(&span.parent_span_id), PARENT);
    assert!(attribute(&span, "mlgate.outcome").contains("ALLOWED"));
    assert!(attribute(&span, "http.route").contains("/2.0/mlflow/experiments/get"));
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let part = collector.has("authenticate").await;
    assert_eq!(part.trace_id, span.trace_id);
    assert_eq!(part.parent_span_id, span.span_id);
    assert!(span.start_time_unix_nano <= part.start_time_unix_nano);

    let administered = pb::AdministerRequest {
        info: traced(pb::Subject::default(), &traceparent).info,
        subject: Some(basic("root", PASSWORD)),
        method: "GET".to_owned(),
        path: "/api/2.0/mlflow/users/get".to_owned(),
        ..Default::default()
    };
    server.client.clone().administer(administered).await.unwrap();
    let span = collector.has("Administer").await;
    assert_eq!(hex::encode(&span.parent_span_id), PARENT);
}

#[tokio::test]
async fn neither_who_asked_nor_the_credential_is_in_a_span() {
    let (collector, url) = Collector::start().await;
    let server = fixture(On::Sqlite, &[("otlp_endpoint", &url)]).await;
    for who in [basic("reader", PASSWORD), basic("reader", "wrong-secret"), bearer("mlg_secret")] {
        server.request(traced(who, &format!("00-{TRACE}-{PARENT}-01"))).await;
    }
    eventually("three spans", || async {
        collector.spans().iter().filter(|span| span.name == "Authorize").count() == 3
    })
    .await;
    let bytes = collector.bytes();
    assert!(holds(&bytes, "mlgate.reason"), "it is looked for in what was sent");
    for secret in [PASSWORD, "wrong-secret", "mlg_secret", "reader", "192.0.2.1"] {
        assert!(!holds(&bytes, secret), "{secret}");
    }
}

#[tokio::test]
async fn who_sends_a_trace_decides_whether_it_is_recorded() {
    let (collector, url) = Collector::start().await;
    let server = fixture(On::Sqlite, &[("otlp_endpoint", &url), ("otlp_sample", "0")]).await;
    let root = || basic("root", PASSWORD);
    server.request(traced(root(), &format!("00-{TRACE}-{PARENT}-00"))).await;
    // Without a trace that can be read, otlp_sample says so.
    for none in ["", "00-zz-b7ad6b7169203331-01", "garbage"] {
        server.request(traced(root(), none)).await;
    }
    let other = TRACE.replace('0', "1");
    server.request(traced(root(), &format!("00-{other}-{PARENT}-01"))).await;
    collector.has("Authorize").await;
    let traces: Vec<String> =
        collector.spans().iter().map(|span| hex::encode(&span.trace_id)).collect();
    assert!(traces.iter().all(|trace| *trace == other), "{traces:?}");
}

#[tokio::test]
async fn a_call_without_a_trace_gets_one_of_its_own() {
    let (collector, url) = Collector::start().await;
    let server = fixture(On::Sqlite, &[("otlp_endpoint", &url)]).await;
    server.request(traced(basic("root", PASSWORD), "")).await;
    let span = collector.has("Authorize").await;
    assert!(span.parent_span_id.is_empty() && span.trace_id.iter().any(|&byte| byte != 0));
}

#[tokio::test]
async fn a_collector_is_believed_only_with_a_certificate_of_the_named_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    for (signer, is_believed) in [(&other, false), (&authority, true)] {
        let (certificate, key) = signer.issue("localhost");
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        let server = Server::builder().tls_config(tls).unwrap();
        let (collector, address) = Collector::start_with(server).await;
        let url = format!("https://localhost:{}", address.port());
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let flags = [("otlp_endpoint", url.as_str()), ("otlp_ca", ca.to_str().unwrap())];
        let mut server = fixture(On::Sqlite, &flags).await;
        server.request(traced(basic("root", PASSWORD), "")).await;
        // It sends what is left before it ends.
        server.stop.take().unwrap().send(()).unwrap();
        (&mut server.server).await.unwrap().unwrap();
        assert_eq!(!collector.spans().is_empty(), is_believed);
    }
}

/// More spans than the queue takes, for a collector that accepts connections and says nothing.
#[tokio::test]
async fn a_dead_collector_delays_neither_decisions_nor_the_end() {
    const CALLS: usize = 3000;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut server = fixture(On::Sqlite, &[("otlp_endpoint", &url)]).await;
    let question = traced(basic("reader", PASSWORD), &format!("00-{TRACE}-{PARENT}-01"));
    server.request(question.clone()).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..CALLS {
        let begun = Instant::now();
        assert_eq!(server.request(question.clone()).await.outcome(), Outcome::Allowed);
        slowest = slowest.max(begun.elapsed());
    }
    // Waiting for the collector would take seconds each.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let begun = Instant::now();
    server.stop.take().unwrap().send(()).unwrap();
    drop((server.client.clone(), server.channel.clone()));
    (&mut server.server).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

//! TLS, client certificates and the shared token on the gRPC services.

use std::path::Path;

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::policy_client::PolicyClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::support::*;

const TOKEN: &str = "a-token-that-all-filters-share";

/// An authority that nobody but its test trusts.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, as PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server with a certificate for `localhost`, and the client authority if one is given.
/// The files last as long as the directory.
async fn server(
    authority: &Authority,
    clients: Option<&Authority>,
) -> (Fixture, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        spelled(&path)
    };
    let (certificate, key) = authority.issue("localhost");
    let (certificate, key) = (file("server.pem", &certificate), file("server.key", &key));
    let mut flags = vec![
        ("tls_certificate", certificate.as_str()),
        ("tls_key", key.as_str()),
        ("shared_token", TOKEN),
    ];
    let client_ca = clients.map(|authority| file("clients.pem", &authority.pem()));
    if let Some(path) = &client_ca {
        flags.push(("tls_client_ca", path));
    }
    (fixture(On::Sqlite, &flags).await, directory)
}

fn spelled(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a filter gets: the transport's error, the service's status, or an answer.
async fn call(
    server: &Fixture,
    tls: Option<ClientTlsConfig>,
    token: Option<&str>,
) -> Result<pb::Outcome, String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}", server.address.port());
    let mut endpoint = Channel::from_shared(url).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    let channel = endpoint.connect().await.map_err(|error| format!("transport: {error:?}"))?;
    let question = request(basic("root", PASSWORD), vec![]);
    let mut call = tonic::Request::new(question);
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        call.metadata_mut().insert("authorization", value);
    }
    let answer = PolicyClient::new(channel).authorize(call).await;
    answer.map(|answer| answer.into_inner().outcome()).map_err(|status| match status.code() {
        tonic::Code::Unauthenticated => "unauthenticated".to_owned(),
        _ => format!("transport: {status:?}"),
    })
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()))
}

fn as_client(tls: ClientTlsConfig, authority: &Authority) -> ClientTlsConfig {
    let (certificate, key) = authority.issue("envoy");
    tls.identity(Identity::from_pem(certificate, key))
}

fn is_transport(result: &Result<pb::Outcome, String>) -> bool {
    matches!(result, Err(error) if error.starts_with("transport"))
}

#[tokio::test]
async fn with_a_certificate_the_services_speak_tls_only() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, _files) = server(&authority, None).await;
    let answer = call(&server, Some(trusting(&authority)), Some(TOKEN)).await;
    assert_eq!(answer, Ok(pb::Outcome::Allowed));
    let plain = call(&server, None, Some(TOKEN)).await;
    assert!(is_transport(&plain), "{plain:?}");
    let distrusted = call(&server, Some(trusting(&other)), Some(TOKEN)).await;
    assert!(is_transport(&distrusted), "{distrusted:?}");
}

#[tokio::test]
async fn with_a_client_authority_only_its_clients_are_served() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let (server, _files) = server(&authority, Some(&clients)).await;
    let trusting = || trusting(&authority);
    let answer = call(&server, Some(as_client(trusting(), &clients)), Some(TOKEN)).await;
    assert_eq!(answer, Ok(pb::Outcome::Allowed));
    let nobody = call(&server, Some(trusting()), Some(TOKEN)).await;
    assert!(is_transport(&nobody), "{nobody:?}");
    // The server's own authority does not make clients either.
    for stranger in [&other, &authority] {
        let refused = call(&server, Some(as_client(trusting(), stranger)), Some(TOKEN)).await;
        assert!(is_transport(&refused), "{refused:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_does_not_stand_in_for_the_shared_token() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (server, _files) = server(&authority, Some(&clients)).await;
    for token in [None, Some("a-token-that-somebody-made-up"), Some("")] {
        let tls = as_client(trusting(&authority), &clients);
        let refused = call(&server, Some(tls), token).await;
        assert_eq!(refused, Err("unauthenticated".to_owned()), "{token:?}");
    }
    let tls = as_client(trusting(&authority), &clients);
    assert_eq!(call(&server, Some(tls), Some(TOKEN)).await, Ok(pb::Outcome::Allowed));
}

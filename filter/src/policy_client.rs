//! Messages to the policy server, and what comes back.

use crate::authn::subject;
use crate::config::PolicyConfig;
use crate::contract as pb;
use crate::host::{Call, Host, HostError, Sending, Token};
use crate::operation::{Effect, Operation};
use pb::subject::Kind;
use prost::Message;

/// The version of the contract that this filter speaks. The policy server, which has its own
/// (`policy-server/src/service/contract.rs`), refuses it more than one step apart.
pub const CONTRACT: u32 = 2;

/// gRPC's FAILED_PRECONDITION, which the policy server uses for nothing else.
const NOT_UNDERSTOOD: u32 = 9;

/// What the log says of a status that is not OK.
pub fn failure(code: u32) -> String {
    match code {
        NOT_UNDERSTOOD => format!(
            "code {code}: the policy server does not understand contract {CONTRACT} of this \
             filter; upgrade the older of the two step by step"
        ),
        _ => format!("code {code}"),
    }
}

/// The largest answer that is read, in bytes. Envoy has no limit of its own.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A unary method of the policy server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Authorize,
    Visible,
    Record,
    Administer,
    Keys,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "Authorize",
            Self::Visible => "Visible",
            Self::Record => "Record",
            Self::Administer => "Administer",
            Self::Keys => "Keys",
        }
    }
}

/// Sends calls to one policy server cluster.
#[derive(Debug, Clone)]
pub struct PolicyClient {
    /// What Envoy is told to ask; see [`service`].
    service: Vec<u8>,
    timeout_ms: u32,
    /// `Bearer …`, where the server wants a token.
    authorization: Option<String>,
    contract: String,
}

impl PolicyClient {
    pub fn new(config: &PolicyConfig) -> Self {
        Self {
            service: service(config),
            timeout_ms: config.timeout_ms,
            authorization: config.token.as_ref().map(|token| format!("Bearer {token}")),
            contract: CONTRACT.to_string(),
        }
    }

    pub fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }

    fn metadata(&self) -> Vec<(&str, &[u8])> {
        let mut metadata = vec![("x-mlgate-contract", self.contract.as_bytes())];
        if let Some(authorization) = &self.authorization {
            metadata.push(("authorization", authorization.as_bytes()));
        }
        metadata
    }

    /// Dispatches a call. The proxy's timeout answers code 14 at the latest after `timeout_ms`.
    pub fn call<H: Host>(
        &self,
        host: &H,
        method: Method,
        message: &[u8],
    ) -> Result<Token, HostError> {
        host.call(&self.of(method.as_str(), &self.metadata(), message))
    }

    fn of<'a>(
        &'a self,
        method: &'a str,
        metadata: &'a [(&'a str, &'a [u8])],
        message: &'a [u8],
    ) -> Call<'a> {
        let (service, timeout_ms) = (self.service.as_slice(), self.timeout_ms);
        Call { service, method, metadata, message, timeout_ms }
    }

    /// Opens the stream of changes.
    pub fn watch<H: Host>(&self, host: &H, request: &pb::WatchRequest) -> Result<Token, HostError> {
        let stream = host.open_stream(&self.of("Watch", &self.metadata(), &[]))?;
        let sent = host.send(stream, &request.encode_to_vec(), Sending::Last);
        sent.inspect_err(|_| host.close_stream(stream))?;
        Ok(stream)
    }

    /// Opens the stream of questions.
    pub fn decide<H: Host>(&self, host: &H) -> Result<Token, HostError> {
        host.open_stream(&self.of("Decide", &self.metadata(), &[]))
    }
}

/// `:authority` where neither the configuration nor the cluster's name gives one.
const AUTHORITY: &str = "mlgate";

/// `envoy.config.core.v3.GrpcService`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct GrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

#[derive(Clone, PartialEq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
    #[prost(string, tag = "2")]
    authority: String,
}

/// The cluster's name, which Envoy then sends as `:authority`; or a serialised `GrpcService`, where
/// another is wanted. Istio's names, `outbound|50051||…`, are none that an HTTP/2 server takes.
fn service(config: &PolicyConfig) -> Vec<u8> {
    let authority = match &config.authority {
        None if is_authority(&config.cluster) => return config.cluster.clone().into_bytes(),
        None => AUTHORITY,
        Some(authority) => authority,
    };
    let envoy_grpc =
        Some(EnvoyGrpc { cluster_name: config.cluster.clone(), authority: authority.to_owned() });
    GrpcService { envoy_grpc }.encode_to_vec()
}

/// Whether a text can be an `:authority`: host names, addresses, and ports.
pub fn is_authority(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(fit)
}

/// The part of the request that the decision depends on: everything but `info`, `min_revision`
/// and the intents.
pub fn authorize_request(operation: &Operation, who: pb::Subject) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest {
        subject: Some(who),
        workspace: operation.workspace.clone().unwrap_or_default(),
        requirements: operation.requirements.iter().map(Into::into).collect(),
        scopes: operation.scopes.iter().map(Into::into).collect(),
        min_revision: 0,
        info: None,
        intents: Vec::new(),
    }
}

/// What the operation is about to do to objects that grants are about.
pub fn intents(effects: &[Effect]) -> Vec<pb::Intent> {
    use pb::intent::Kind as K;
    let kind = |effect: &Effect| match effect {
        Effect::Created { resource, name, .. } => {
            let (kind, name) = ((*resource).into(), name.clone());
            Some(K::Creation(pb::CreationIntent { r#type: kind, name }))
        }
        Effect::Deleted { resource, id } => {
            Some(K::Deletion(pb::Deleted { r#type: (*resource).into(), id: id.clone() }))
        }
        Effect::Renamed { resource, from, to } => Some(K::Renaming(pb::Renamed {
            r#type: (*resource).into(),
            from: from.clone(),
            to: to.clone(),
        })),
        Effect::Owned { .. } => None,
    };
    effects.iter().filter_map(kind).map(|kind| pb::Intent { kind: Some(kind) }).collect()
}

/// Groups that came with a verified identity; they are not stored on the server.
pub fn groups(who: &pb::Subject) -> &[String] {
    match &who.kind {
        Some(Kind::Verified(identity)) => &identity.groups,
        _ => &[],
    }
}

/// When the credential itself ends, in ms since the epoch.
pub fn credential_expiry_ms(who: &pb::Subject) -> Option<u64> {
    match &who.kind {
        Some(Kind::Verified(identity)) => {
            Some(u64::try_from(identity.expires_at).unwrap_or(0).saturating_mul(1000))
        }
        _ => None,
    }
}

pub fn anonymous() -> pb::Subject {
    subject(Kind::Anonymous(pb::Anonymous {}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn named(cluster: &str, authority: &str) -> Vec<u8> {
        let json = format!(r#"{{"policy":{{"cluster":"{cluster}"{authority}}}}}"#);
        service(&Config::parse(json.as_bytes()).unwrap().policy)
    }

    #[test]
    fn a_cluster_is_named_plainly_where_its_name_can_be_an_authority() {
        assert_eq!(named("mlgate_policy", ""), b"mlgate_policy");
        assert_eq!(named("10.0.0.1:50051", ""), b"10.0.0.1:50051");
    }

    #[test]
    fn istios_name_of_a_cluster_does_not_become_the_authority() {
        let cluster = "outbound|50051||mlgate.ns.svc.cluster.local";
        let own = r#","authority":"policy.example""#;
        for (setting, authority) in [("", AUTHORITY), (own, "policy.example")] {
            let sent = GrpcService::decode(named(cluster, setting).as_slice()).unwrap();
            let sent = sent.envoy_grpc.unwrap();
            assert_eq!((sent.cluster_name.as_str(), sent.authority.as_str()), (cluster, authority));
        }
    }
}

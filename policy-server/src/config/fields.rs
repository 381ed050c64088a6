//! The fields that all sources of the configuration know.

/// One field, as all sources and `mlgate config` know it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub default: Option<&'static str>,
    pub secret: bool,
    pub help: &'static str,
}

const fn field(name: &'static str, default: Option<&'static str>, help: &'static str) -> Field {
    Field { name, default, secret: false, help }
}

/// All fields, in the order in which they are shown.
pub const FIELDS: &[Field] = &[
    field(
        "store",
        Some("sqlite:mlgate.db"),
        "the policy store: sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE",
    ),
    field("listen", Some("127.0.0.1:50051"), "address and port of the gRPC services"),
    field(
        "tracking_uri",
        None,
        "MLflow's tracking database as MLflow spells it (sqlite:////abs/mlflow.db, \
         postgresql+psycopg2://…), read-only; or the http(s) URL of MLflow itself",
    ),
    field(
        "default_permission",
        None,
        "fixes the setting: NO_PERMISSIONS, READ, USE, EDIT or MANAGE",
    ),
    field("workspaces", None, "fixes the setting: whether MLflow runs with workspaces"),
    field("grant_default_workspace_access", None, "fixes the setting: true or false"),
    field(
        "reserved_username_prefixes",
        None,
        "fixes the setting: prefixes of identity providers' usernames, which get no passwords",
    ),
    field("tls_certificate", None, "PEM file; makes the gRPC services speak TLS"),
    field("tls_key", None, "PEM file of the certificate's key"),
    field("tls_client_ca", None, "PEM file; clients must present a certificate signed by it"),
    Field {
        secret: true,
        ..field("shared_token", None, "a secret that every gRPC call must carry as Bearer token")
    },
    field("decision_ttl", Some("60s"), "how long filters may reuse a decision (0 to 1h)"),
    field("credential_ttl", Some("60s"), "how long a verified password is remembered (0 to 1h)"),
    field("hash_concurrency", Some("2"), "passwords hashed at the same time (1 to 64)"),
    field("max_failures", Some("10"), "failed logins a minute before 429 (1 to 1000)"),
    field("heartbeat", Some("1s"), "interval of heartbeats to filters (50ms to 1m)"),
    field("drain", Some("10s"), "how long open calls may take when stopping (0 to 10m)"),
    field("metrics_listen", None, "address and port of Prometheus metrics over HTTP"),
    field("otlp_endpoint", None, "collector of spans, OTLP over gRPC: http(s)://HOST:PORT"),
    field("otlp_ca", None, "PEM file; the authority of a collector with an https URL"),
    field(
        "otlp_sample",
        Some("100"),
        "percentage of calls without a client's trace that get one of their own (0 to 100)",
    ),
    field("oidc_issuers", None, "issuers whose keys are discovered, as name=https://…, …"),
    field(
        "oidc_http_hosts",
        None,
        "hosts of issuers that may be asked without TLS, besides loopback",
    ),
    field("oidc_ca", None, "PEM file; authorities trusted for issuers besides the system's"),
    field(
        "oidc_refresh",
        Some("5m"),
        "longest time between two looks at an issuer's keys (1s to 24h)",
    ),
    field(
        "oidc_refetch",
        Some("10s"),
        "shortest time before an unknown key makes the server look again (100ms to 1h)",
    ),
    field(
        "oidc_stale",
        Some("24h"),
        "how long keys count while their issuer cannot be asked (1s to 30 days)",
    ),
    field(
        "first_login",
        Some("admit"),
        "what becomes of identity providers' users who are not known: admit, provision or refuse",
    ),
    field(
        "admin_groups",
        None,
        "groups of identity providers, with their prefix, whose members are super admins",
    ),
    field("log_format", Some("text"), "text or json"),
];

pub(super) fn unknown_field() -> String {
    let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    format!("is not a field; expected one of {}", names.join(", "))
}

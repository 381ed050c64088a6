//! What is compared.

use super::material::Credential;
use clap::ValueEnum;
use serde::Serialize;

/// A letter of `--only`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Envoy without a filter; always there, because everything is compared with it
    A,
    /// A wasm filter that does nothing
    B,
    /// Mlgate, decision cached, Basic
    C,
    /// Mlgate, decision cached, JWT
    D,
    /// Mlgate, decision not cached, credential known
    E,
    /// Envoy's jwt_authn
    F,
    /// Envoy's ext_authz with a gRPC server that allows everything
    G,
    /// jwt_authn and ext_authz
    H,
    /// nginx' auth_basic with bcrypt
    I,
    /// MLflow's own basic-auth against the gate, with a real MLflow
    J,
    /// Artifacts of a gibibyte, up and down
    K,
    /// Ten million questions, a million of them different; only if named, for it takes half an hour
    L,
    /// Ten thousand wrong passwords a second for one user
    M,
}

/// An Envoy with these filters, all else being equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Proxy {
    Plain,
    Noop,
    Gate,
    JwtCached,
    Jwt,
    ExtAuthz,
    JwtCachedExtAuthz,
    JwtExtAuthz,
    Nginx,
    NginxBcrypt,
}

impl Proxy {
    /// What it is compared with.
    pub fn base(self) -> Self {
        match self {
            Self::Nginx | Self::NginxBcrypt => Self::Nginx,
            _ => Self::Plain,
        }
    }

    /// Answers 401 to requests without a credential.
    pub fn wants_credential(self) -> bool {
        !matches!(self, Self::Plain | Self::Noop | Self::ExtAuthz | Self::Nginx)
    }

    pub fn checks_jwt(self) -> bool {
        use Proxy::{Jwt, JwtCached, JwtCachedExtAuthz, JwtExtAuthz};
        matches!(self, JwtCached | Jwt | JwtCachedExtAuthz | JwtExtAuthz)
    }

    pub fn caches_jwt(self) -> bool {
        matches!(self, Self::JwtCached | Self::JwtCachedExtAuthz)
    }

    pub fn asks_authz(self) -> bool {
        matches!(self, Self::ExtAuthz | Self::JwtCachedExtAuthz | Self::JwtExtAuthz)
    }
}

pub struct Variant {
    pub group: Group,
    pub name: &'static str,
    pub proxy: Proxy,
    pub credential: Credential,
    /// Every request is about another run.
    pub new_runs: bool,
    /// Requests are fewer by this factor, and so is their rate.
    pub slower_by: u64,
}

const fn variant(
    group: Group,
    name: &'static str,
    proxy: Proxy,
    credential: Credential,
) -> Variant {
    Variant { group, name, proxy, credential, new_runs: false, slower_by: 1 }
}

pub const NOOP: &str = "no-op wasm filter";
pub const CACHED_BASIC: &str = "Mlgate cached, Basic";
pub const CACHED_JWT: &str = "Mlgate cached, JWT";
pub const UNCACHED_BASIC: &str = "Mlgate uncached, Basic";
pub const UNCACHED_JWT: &str = "Mlgate uncached, JWT";
pub const EXT_AUTHZ: &str = "ext_authz, always allow";
pub const JWT_CACHED_EXT_AUTHZ: &str = "jwt_authn with cache + ext_authz";

/// Everything but MLflow's own.
pub const VARIANTS: &[Variant] = &[
    variant(Group::A, "Envoy without a filter", Proxy::Plain, Credential::Jwt),
    variant(Group::B, NOOP, Proxy::Noop, Credential::Jwt),
    variant(Group::C, CACHED_BASIC, Proxy::Gate, Credential::Basic),
    variant(Group::D, CACHED_JWT, Proxy::Gate, Credential::Jwt),
    Variant { new_runs: true, ..variant(Group::E, UNCACHED_BASIC, Proxy::Gate, Credential::Basic) },
    Variant { new_runs: true, ..variant(Group::E, UNCACHED_JWT, Proxy::Gate, Credential::Jwt) },
    variant(Group::F, "jwt_authn with cache", Proxy::JwtCached, Credential::Jwt),
    variant(Group::F, "jwt_authn", Proxy::Jwt, Credential::Jwt),
    variant(Group::G, EXT_AUTHZ, Proxy::ExtAuthz, Credential::Jwt),
    variant(Group::H, JWT_CACHED_EXT_AUTHZ, Proxy::JwtCachedExtAuthz, Credential::Jwt),
    variant(Group::H, "jwt_authn + ext_authz", Proxy::JwtExtAuthz, Credential::Jwt),
    variant(Group::I, "nginx", Proxy::Nginx, Credential::Basic),
    Variant {
        slower_by: 8,
        ..variant(Group::I, "nginx auth_basic, bcrypt", Proxy::NginxBcrypt, Credential::Basic)
    },
];

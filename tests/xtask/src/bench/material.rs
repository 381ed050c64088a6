//! Who asks, and with what.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// As `mlgate-bench material` prints it.
#[derive(Deserialize)]
pub struct Material {
    pub issuer: String,
    pub audience: String,
    pub user: String,
    pub password: String,
    pub token: String,
    pub jwks: Value,
    pub htpasswd: String,
    pub bcrypt_cost: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Basic,
    Jwt,
}

impl Material {
    pub fn make(program: &Path) -> Result<Self> {
        let output = Command::new(program).arg("material").output()?;
        if !output.status.success() {
            bail!("no credentials: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("mlgate-bench material")
    }

    pub fn authorization(&self, credential: Credential) -> String {
        match credential {
            Credential::Basic => basic(&self.user, &self.password),
            Credential::Jwt => format!("Bearer {}", self.token),
        }
    }

    /// The filter's settings that make it take the token.
    pub fn plugin_config(&self) -> Value {
        json!({ "jwt": { "issuers": [{
            "name": "bench",
            "issuer": self.issuer,
            "audiences": [self.audience],
            "algorithms": ["RS256"],
            "jwks": self.jwks,
        }]}})
    }
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

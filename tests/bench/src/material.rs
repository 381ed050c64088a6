//! Credentials for the comparison.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_simple::prelude::{Claims, Duration, RS256KeyPair, RSAKeyPairLike};
use serde_json::json;
use std::collections::BTreeMap;

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "mlflow";
const USER: &str = "bench";
const PASSWORD: &str = "correct horse battery";
const KEY_ID: &str = "bench-1";

/// The length of a token as an identity provider with some group claims makes it, in bytes.
const TOKEN_BYTES: usize = 900;

/// bcrypt's cost as `htpasswd -B` chooses it, which is its lowest common one.
const BCRYPT_COST: u32 = 5;

/// Prints one JSON object.
pub fn print() -> Result<()> {
    let key = RS256KeyPair::generate(2048)?.with_key_id(KEY_ID);
    let public = key.public_key().to_components();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwks = json!({ "keys": [{
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID,
        "n": encode(&public.n), "e": encode(&public.e),
    }]});
    let hash = bcrypt::hash(PASSWORD, BCRYPT_COST)?;
    println!(
        "{}",
        json!({
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "user": USER,
            "password": PASSWORD,
            "token": token(&key)?,
            "jwks": jwks,
            "htpasswd": format!("{USER}:{hash}\n"),
            "bcrypt_cost": BCRYPT_COST,
        })
    );
    Ok(())
}

/// A token of [`TOKEN_BYTES`] bytes or a few more, valid for an hour.
fn token(key: &RS256KeyPair) -> Result<String> {
    let sign = |filler: usize| {
        let more: BTreeMap<&str, String> =
            [("preferred_username", USER.to_owned()), ("department", "x".repeat(filler))].into();
        let claims = Claims::with_custom_claims(more, Duration::from_hours(1))
            .with_issuer(ISSUER)
            .with_audience(AUDIENCE)
            .with_subject(USER);
        key.sign(claims)
    };
    let short = sign(0)?.len();
    // Base64 makes four bytes of three.
    let missing = TOKEN_BYTES.checked_sub(short).context("the token is too long already")?;
    sign(missing * 3 / 4)
}

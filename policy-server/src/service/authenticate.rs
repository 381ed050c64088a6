//! From what a client presented to who it is.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;

use super::snapshot::{PrincipalSnapshot, Snapshots};
use crate::config::FirstLogin;
use crate::contract::{Subject, VerifiedIdentity, subject};
use crate::credentials::{
    Busy, Charge, Network, PasswordHash, Remembered, Throttle, Throttled, Token, TokenHash,
    Unverified, Verifier, hash_new,
};
use crate::metrics::Reuse;
use crate::policy::{EVERYTHING, Reach};
use crate::store::{Actor, Channel, Millis, NewUser, StoreError, StoredToken, now, scope};

/// Longest username, in bytes; as the store has it.
const MAX_USERNAME_BYTES: usize = 255;

/// As the user part of Basic, a token need not be accompanied by its owner's name.
const TOKEN_USER: &str = "__token__";

/// What MLflow shipped as the administrator's password until 3.16; it refuses it too.
const LEGACY_DEFAULT_PASSWORD: &str = "password1234";

/// Clocks differ; a JWT that the filter has verified may just have expired on the way.
const LEEWAY_SECONDS: i64 = 5;

/// How long a filter may answer 401 for the same wrong credential without asking.
pub const FAILURE_REUSE: Duration = Duration::from_secs(1);

/// Who it is.
#[derive(Debug, Clone)]
pub struct Authenticated {
    pub username: String,
    pub groups: Vec<String>,
    pub principal: Arc<PrincipalSnapshot>,
    /// How far the credential reaches.
    pub reach: Reach,
    /// When the credential ends.
    pub expires_at: Option<Millis>,
    pub method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Password,
    Token,
    Jwt,
}

/// Why nobody was recognised.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was presented.
    Anonymous,
    /// Something wrong was presented. With whom the answer changes, if it depends on a user.
    Wrong {
        depends_on: Option<u64>,
        reason: &'static str,
    },
    Throttled {
        retry_after: Duration,
    },
    /// The identity is genuine, but the account is disabled.
    Disabled {
        username: String,
    },
    /// The identity is genuine, but nobody has created the user, which `first_login` asks for.
    Unknown {
        username: String,
    },
    Busy,
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Busy> for Failure {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<Throttled> for Failure {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled { retry_after: throttled.retry_after }
    }
}

impl From<Unverified> for Failure {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Busy => Self::Busy,
            Unverified::Throttled(throttled) => throttled.into(),
        }
    }
}

/// Boxed: it is large, and most requests end after its first steps.
pub type Recognition<'a> =
    Pin<Box<dyn Future<Output = Result<Authenticated, Failure>> + Send + 'a>>;

/// Recognises principals.
pub struct Authenticator {
    snapshots: Arc<Snapshots>,
    verifier: Arc<Verifier>,
    throttle: Throttle,
    reuse: Reuse,
    first_login: FirstLogin,
}

impl Authenticator {
    /// `reuse` counts passwords that need no verification, as they are remembered.
    pub fn new(
        snapshots: Arc<Snapshots>,
        verifier: Arc<Verifier>,
        throttle: Throttle,
        reuse: Reuse,
        first_login: FirstLogin,
    ) -> Self {
        Self { snapshots, verifier, throttle, reuse, first_login }
    }

    /// Recognises the subject. The address is only for throttling.
    ///
    /// # Errors
    /// `Failure`.
    pub fn authenticate<'a>(
        &'a self,
        subject: Option<&'a Subject>,
        address: &str,
    ) -> Recognition<'a> {
        let network = Network::parse(address);
        Box::pin(self.recognise(subject, network))
    }

    async fn recognise(
        &self,
        subject: Option<&Subject>,
        network: Option<Network>,
    ) -> Result<Authenticated, Failure> {
        match subject.and_then(|subject| subject.kind.as_ref()) {
            None | Some(subject::Kind::Anonymous(_)) => Err(Failure::Anonymous),
            Some(subject::Kind::Basic(basic)) if Token::claims(&basic.password) => {
                self.token(&basic.password, Some(&basic.username), network).await
            }
            Some(subject::Kind::Basic(basic)) => {
                self.password(&basic.username, &basic.password, network).await
            }
            Some(subject::Kind::Bearer(bearer)) => self.token(&bearer.token, None, network).await,
            Some(subject::Kind::Verified(identity)) => self.verified(identity).await,
        }
    }

    async fn password(
        &self,
        username: &str,
        password: &str,
        network: Option<Network>,
    ) -> Result<Authenticated, Failure> {
        // CVE-2025-1474: an empty password is wrong even where the account has one.
        if username.is_empty() || password.is_empty() || username.len() > MAX_USERNAME_BYTES {
            return Err(Failure::Wrong { depends_on: None, reason: "empty_credential" });
        }
        let principal = self.snapshots.principal(username, &[]).await?;
        // A password from before the prefix was reserved does not count either: this name is now
        // somebody else's.
        let reserved = self.snapshots.reserved_prefixes().await?.covers(username);
        let stored = principal.user.as_ref().and_then(|user| user.password_hash.as_ref());
        let stored = stored.filter(|_| !reserved);
        let hash = stored.map(ExposeSecret::expose_secret);
        let right = match hash {
            // What is remembered as right passes even while others guess at the same user.
            Some(hash) => {
                let remembered = self.verifier.remembered(username, hash, password).await;
                self.reuse.count(remembered != Remembered::Unknown);
                match remembered {
                    Remembered::Right => true,
                    Remembered::Wrong => {
                        // It stays charged.
                        let _ = self.attempt(username, network)?;
                        false
                    }
                    Remembered::Unknown => {
                        Box::pin(self.verify(username, hash, password, network)).await?
                    }
                }
            }
            None => {
                Box::pin(self.verify_nothing(username, password, network)).await?;
                false
            }
        };
        let wrong = || {
            let depends_on = Some(scope::user(username));
            Err(Failure::Wrong { depends_on, reason: "wrong_credential" })
        };
        if !right {
            return wrong();
        }
        let admin = principal.super_admin();
        if (admin && password == LEGACY_DEFAULT_PASSWORD) || principal.disabled() {
            self.throttle.failed(username, network, Instant::now());
            return wrong();
        }
        self.throttle.succeeded(username, network);
        Ok(Authenticated {
            username: username.to_owned(),
            groups: Vec::new(),
            principal,
            reach: EVERYTHING.clone(),
            expires_at: None,
            method: Method::Password,
        })
    }

    fn attempt(&self, user: &str, network: Option<Network>) -> Result<Charge<'_>, Throttled> {
        self.throttle.attempt(user, network, Instant::now())
    }

    /// A failure that costs a moment, and a charge.
    async fn verify_nothing(
        &self,
        username: &str,
        password: &str,
        network: Option<Network>,
    ) -> Result<(), Failure> {
        let charge = self.attempt(username, network)?;
        self.verifier.verify_nothing(password).await.map_err(|busy| {
            charge.refund();
            busy.into()
        })
    }

    async fn verify(
        &self,
        username: &str,
        hash: &str,
        password: &str,
        network: Option<Network>,
    ) -> Result<bool, Failure> {
        let parsed: PasswordHash = match hash.parse() {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::warn!(username, %error, "a stored password hash cannot be used");
                self.verify_nothing(username, password, network).await?;
                return Ok(false);
            }
        };
        let outdated = parsed.needs_rehash();
        let attempt = || self.attempt(username, network);
        let right = self.verifier.verify_attempt(username, parsed, password, attempt).await?;
        if right && outdated {
            self.rehash(username, hash, password).await;
        }
        Ok(right)
    }

    /// Replaces an imported hash by one of ours. A failure is no reason to refuse the login.
    async fn rehash(&self, username: &str, old: &str, password: &str) {
        let plain = zeroize::Zeroizing::new(password.to_owned());
        let Ok(Ok(new)) = self.verifier.run(move || hash_new(&plain)).await else { return };
        let store = self.snapshots.store();
        let actor = Actor::new(username, Channel::Gate);
        let result = store.upgrade_password_hash(&actor, username, &old.into(), new.into()).await;
        if let Err(error) = result {
            tracing::warn!(username, %error, "cannot replace an imported password hash");
        }
    }

    async fn token(
        &self,
        text: &str,
        username: Option<&str>,
        network: Option<Network>,
    ) -> Result<Authenticated, Failure> {
        let wrong = |depends_on| Failure::Wrong { depends_on, reason: "wrong_credential" };
        let Some(token) = Token::parse(text) else { return Err(wrong(None)) };
        let hash = token.hash();
        let Some(found) = self.find_token(&hash, network).await? else { return Err(wrong(None)) };
        let depends_on = Some(scope::user(&found.username));
        let named = username.is_none_or(|name| name == TOKEN_USER || name == found.username);
        if !named || !found.is_valid_at(now()) {
            return Err(wrong(depends_on));
        }
        // A scope that is not understood makes the token useless.
        let Some(reach) = Reach::parse(&found.scopes) else { return Err(wrong(depends_on)) };
        let principal = self.snapshots.principal(&found.username, &[]).await?;
        if principal.user.is_none() || principal.disabled() {
            return Err(wrong(depends_on));
        }
        let touched = self.snapshots.store().touch_token(&found, now());
        if let Err(error) = Box::pin(touched).await {
            tracing::debug!(%error, "cannot note the use of a token");
        }
        Ok(Authenticated {
            username: found.username,
            groups: Vec::new(),
            principal,
            reach,
            expires_at: found.expires_at,
            method: Method::Token,
        })
    }

    /// Guessing 256 bits is hopeless; what is limited is the load of looking them up. A token that
    /// is known passes, whatever others try from the same address.
    async fn find_token(
        &self,
        hash: &TokenHash,
        network: Option<Network>,
    ) -> Result<Option<StoredToken>, Failure> {
        if let Some(known) = self.snapshots.known_token(hash).await {
            return Ok(Some(known));
        }
        let tried = hex::encode(hash);
        self.check_throttle(&tried, network)?;
        let found = self.snapshots.token(hash).await?;
        if found.is_none() {
            self.throttle.failed(&tried, network, Instant::now());
        }
        Ok(found)
    }

    async fn verified(&self, identity: &VerifiedIdentity) -> Result<Authenticated, Failure> {
        let wrong = |reason| Failure::Wrong { depends_on: None, reason };
        let username = identity.username.as_str();
        if username.is_empty() || username.len() > MAX_USERNAME_BYTES {
            return Err(wrong("unusable_username"));
        }
        let expires_at = identity.expires_at.saturating_mul(1000);
        if identity.expires_at.saturating_add(LEEWAY_SECONDS).saturating_mul(1000) < now() {
            return Err(wrong("expired_credential"));
        }
        let mut principal = self.snapshots.principal(username, &identity.groups).await?;
        if principal.disabled() {
            return Err(Failure::Disabled { username: username.to_owned() });
        }
        match (&principal.user, self.first_login) {
            (Some(_), _) | (None, FirstLogin::Admit) => {}
            (None, FirstLogin::Refuse) => {
                return Err(Failure::Unknown { username: username.to_owned() });
            }
            (None, FirstLogin::Provision) => {
                Box::pin(self.provision(identity)).await?;
                principal = self.snapshots.principal(username, &identity.groups).await?;
            }
        }
        Ok(Authenticated {
            username: username.to_owned(),
            groups: identity.groups.clone(),
            principal,
            reach: EVERYTHING.clone(),
            expires_at: Some(expires_at),
            method: Method::Jwt,
        })
    }

    /// Creates the user whom an identity provider has named for the first time.
    async fn provision(&self, identity: &VerifiedIdentity) -> Result<(), Failure> {
        let username = identity.username.as_str();
        let new = NewUser {
            username: username.to_owned(),
            password_hash: None,
            is_admin: false,
            service_account: false,
        };
        let actor = Actor::new(username, Channel::Gate);
        match self.snapshots.store().create_user(&actor, &new).await {
            Ok(created) => {
                tracing::info!(username, issuer = identity.issuer, "created a user at first login");
                self.snapshots.at_least(created.revision).await?;
                Ok(())
            }
            // By another request, or by another server.
            Err(StoreError::AlreadyExists { .. }) => {
                self.snapshots.catch_up().await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check_throttle(&self, user: &str, network: Option<Network>) -> Result<(), Failure> {
        self.throttle
            .check(user, network, Instant::now())
            .map_err(|throttled| Failure::Throttled { retry_after: throttled.retry_after })
    }
}

//! Hands MLflow's user, role and permission API to its implementation.

use std::pin::Pin;

use serde_json::json;

use super::authenticate::{Authenticated, Failure, Method};
use super::authorize::Decider;
use crate::admin::{self, AdminRequest, Caller, Means};
use crate::contract as pb;
use crate::traces::step;

impl Decider {
    /// Answers one call of the REST API. Failures are answers too.
    pub async fn administer(&self, request: pb::AdministerRequest) -> pb::AdministerResponse {
        let address = request.info.as_ref().map_or("", |info| info.client_address.as_str());
        let who = self.recognise_as_of_now(request.subject.as_ref(), address);
        let who = step("authenticate", who).await;
        match who {
            Ok(who) => self.administer_as(who, request).await,
            Err(failure) => refusal(&failure),
        }
    }

    /// Who it is by all that the store has now. Another server may have taken from the caller what
    /// this one still remembers, and who acts here could give it back to themselves. The store is
    /// asked only for those who are somebody, so that strangers cannot keep it busy.
    async fn recognise_as_of_now(
        &self,
        subject: Option<&pb::Subject>,
        address: &str,
    ) -> Result<Authenticated, Failure> {
        let known = self.snapshots.applied();
        let who = self.authenticator.authenticate(subject, address).await?;
        match self.snapshots.catch_up().await? == known {
            true => Ok(who),
            false => self.authenticator.authenticate(subject, address).await,
        }
    }

    /// Boxed: one large state machine for all calls of the API.
    fn administer_as(
        &self,
        who: Authenticated,
        request: pb::AdministerRequest,
    ) -> Pin<Box<dyn Future<Output = pb::AdministerResponse> + Send + '_>> {
        Box::pin(self.call(who, request))
    }

    async fn call(
        &self,
        who: Authenticated,
        request: pb::AdministerRequest,
    ) -> pb::AdministerResponse {
        let caller = Caller {
            super_admin: who.principal.super_admin(),
            username: who.username,
            groups: who.groups,
            means: match who.method {
                Method::Password => Means::Password,
                Method::Token => Means::Token,
                Method::Jwt => Means::IdentityProvider,
            },
            reach: who.reach,
        };
        let request = AdminRequest {
            method: request.method,
            path: request.path,
            query: request.query.into_iter().map(|pair| (pair.name, pair.value)).collect(),
            content_type: request.content_type,
            body: request.body,
            workspace: request.workspace,
        };
        let response = admin::handle(&self.admin, &caller, &request).await;
        if response.revision > 0 {
            // What was changed is in force here before anybody hears that it was.
            if let Err(error) = self.snapshots.at_least(response.revision).await {
                tracing::warn!(%error, "cannot apply a change that was just made");
            }
        }
        let header = |(name, value)| pb::Parameter { name, value };
        pb::AdministerResponse {
            status: u32::from(response.status),
            headers: response.headers.into_iter().map(header).collect(),
            body: response.body,
            revision: response.revision,
        }
    }
}

fn refusal(failure: &Failure) -> pb::AdministerResponse {
    match failure {
        Failure::Anonymous | Failure::Wrong { .. } => answer(
            401,
            "UNAUTHENTICATED",
            "You are not authenticated.",
            &[("www-authenticate", "Basic realm=\"mlflow\"".to_owned())],
        ),
        Failure::Disabled { .. } | Failure::Unknown { .. } => {
            answer(403, "PERMISSION_DENIED", "Permission denied", &[])
        }
        Failure::Throttled { retry_after } => answer(
            429,
            "REQUEST_LIMIT_EXCEEDED",
            "Too many failed logins.",
            &[("retry-after", retry_after.as_secs().max(1).to_string())],
        ),
        Failure::Busy | Failure::Store(_) => answer(
            503,
            "TEMPORARILY_UNAVAILABLE",
            "The policy server cannot answer now.",
            &[("retry-after", "1".to_owned())],
        ),
    }
}

fn answer(
    status: u32,
    code: &str,
    message: &str,
    headers: &[(&str, String)],
) -> pb::AdministerResponse {
    let parameter = |(name, value): (&str, String)| pb::Parameter { name: name.to_owned(), value };
    let content_type = ("content-type", "application/json".to_owned());
    pb::AdministerResponse {
        status,
        headers: headers.iter().cloned().chain([content_type]).map(parameter).collect(),
        body: json!({ "error_code": code, "message": message }).to_string().into_bytes(),
        revision: 0,
    }
}

//! The gate's own answers. All have MLflow's JSON shape; which status stands for what is
//! decided here and nowhere else.

use crate::authn::Unauthenticated;
use crate::config::Config;
use crate::contract as pb;
use crate::host::LocalReply;
use crate::refusal::Refusal;

/// How long a client should wait when nothing better is known, in s.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What the gate says to a client, and the stable code it is logged and counted under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub reply: LocalReply,
    pub reason: String,
}

/// Builds answers in the way the configuration wants them.
#[derive(Debug, Clone)]
pub struct Replies {
    realm: String,
    reason_header: bool,
}

impl Replies {
    pub fn new(config: &Config) -> Self {
        Self { realm: config.realm.clone(), reason_header: config.reason_header }
    }

    fn build(
        &self,
        status: u16,
        code: &str,
        message: &str,
        reason: &str,
        extra: Vec<(String, String)>,
    ) -> Answer {
        let body = serde_json::json!({ "error_code": code, "message": message }).to_string();
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
        ];
        headers.extend(extra);
        if self.reason_header {
            headers.push(("x-mlgate-reason".to_owned(), reason.to_owned()));
        }
        Answer {
            reply: LocalReply {
                status,
                headers,
                body: body.into_bytes(),
                details: format!("mlgate_{reason}"),
            },
            reason: reason.to_owned(),
        }
    }

    /// 401. Browsers prompt on the Basic challenge, and MLflow's own UI logs out through it.
    pub fn unauthenticated(&self, why: &Unauthenticated) -> Answer {
        let mut challenges =
            vec![("www-authenticate".to_owned(), format!("Basic realm=\"{}\"", self.realm))];
        if let Some(description) = why.bearer_error {
            let challenge = format!(
                "Bearer realm=\"{}\", error=\"invalid_token\", error_description=\"{description}\"",
                self.realm
            );
            challenges.push(("www-authenticate".to_owned(), challenge));
        }
        let message = "You are not authenticated. Send a user name and password, or a token.";
        self.build(401, "UNAUTHENTICATED", message, why.reason, challenges)
    }

    /// 403 with the same bytes whether the object is absent or not the principal's.
    pub fn denied(&self, reason: &str) -> Answer {
        self.build(403, "PERMISSION_DENIED", "Permission denied", reason, Vec::new())
    }

    /// 403 for what a page of another site has a browser send, whoever's browser it is.
    pub fn cross_site(&self) -> Answer {
        let message = "Requests from pages of other sites are refused.";
        self.build(403, "PERMISSION_DENIED", message, "cross_site", Vec::new())
    }

    /// 200 with a body that MLflow itself would have answered.
    pub fn as_mlflow(&self, body: &str) -> Answer {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let reason = "nothing_visible".to_owned();
        let details = format!("mlgate_{reason}");
        Answer { reply: LocalReply { status: 200, headers, body: body.into(), details }, reason }
    }

    /// 404, only for an experiment name, as MLflow answers before any permission check.
    pub fn not_found(&self, reason: &str) -> Answer {
        let message = "Could not find the requested resource.";
        self.build(404, "RESOURCE_DOES_NOT_EXIST", message, reason, Vec::new())
    }

    pub fn bad_workspace(&self, reason: &str) -> Answer {
        let message = "x-mlflow-workspace: the workspace does not exist or workspaces are off.";
        self.build(400, "INVALID_PARAMETER_VALUE", message, reason, Vec::new())
    }

    pub fn throttled(&self, retry_after_ms: u32, reason: &str) -> Answer {
        let message = "Too many failed attempts. Try again later.";
        let wait = retry_after(u64::from(retry_after_ms).div_ceil(1000));
        self.build(429, "REQUEST_LIMIT_EXCEEDED", message, reason, vec![wait])
    }

    /// 503: nothing could be decided, so nothing passes.
    pub fn unavailable(&self, reason: &str) -> Answer {
        let message = "The authorization service is not available. Try again.";
        let wait = retry_after(RETRY_AFTER_SECONDS);
        self.build(503, "TEMPORARILY_UNAVAILABLE", message, reason, vec![wait])
    }

    /// 503 with its own text, for what an operator must repair.
    pub fn misconfigured(&self, message: &str, reason: &str) -> Answer {
        let wait = retry_after(RETRY_AFTER_SECONDS);
        self.build(503, "TEMPORARILY_UNAVAILABLE", message, reason, vec![wait])
    }

    pub fn internal(&self, message: &str, reason: &str) -> Answer {
        self.build(500, "INTERNAL_ERROR", message, reason, Vec::new())
    }

    /// 409, which no client takes for a reason to do it again, as they do with 5xx: MLflow has
    /// done what was asked, but the caller has no grant on it yet.
    pub fn unrecorded(&self, username: &str, effects: &[pb::Effect]) -> Answer {
        use pb::effect::Kind as K;
        let done = effects.iter().find_map(|effect| match effect.kind.as_ref()? {
            K::Created(created) => {
                let kind = created.r#type().as_str_name().to_lowercase();
                let id = &created.id;
                Some((
                    format!("The {} {id:?} exists", kind.replace('_', " ")),
                    format!(" (mlgate grant {username:?} {kind} {id:?} MANAGE)"),
                ))
            }
            _ => None,
        });
        let (what, how) =
            done.unwrap_or_else(|| ("The operation succeeded".to_owned(), String::new()));
        let message = format!(
            "{what}, but its permissions could not be recorded. The policy server makes up for \
             it as soon as it can; if that takes more than a minute, an administrator can grant \
             them{how}. Do not repeat the request."
        );
        self.build(409, "INTERNAL_ERROR", &message, "not_recorded", Vec::new())
    }

    /// 502: the upstream's answer cannot be judged, so it is not shown.
    pub fn bad_upstream(&self, reason: &str) -> Answer {
        let message = "The answer of the tracking server could not be filtered.";
        self.build(502, "INTERNAL_ERROR", message, reason, Vec::new())
    }

    pub fn too_large(&self, limit: usize) -> Answer {
        let message = format!("body: larger than {limit} bytes");
        self.build(413, "INVALID_PARAMETER_VALUE", &message, "body_too_large", Vec::new())
    }

    /// 408: the client did not send its body in time.
    pub fn body_timeout(&self) -> Answer {
        self.build(408, "BAD_REQUEST", "body: not received in time", "body_timeout", Vec::new())
    }

    pub fn refusal(&self, refusal: &Refusal) -> Answer {
        match refusal {
            Refusal::Ambiguous { field, why } => {
                let message = format!("{field}: {why}");
                self.build(400, "INVALID_PARAMETER_VALUE", &message, "ambiguous", Vec::new())
            }
            Refusal::Invalid { field, why } => {
                let message = format!("{field}: {why}");
                self.build(400, "INVALID_PARAMETER_VALUE", &message, "invalid", Vec::new())
            }
            // The catalogue's reason is for the log; the client gets the bytes of every denial.
            Refusal::Forbidden { .. } => self.denied("route_forbidden"),
            Refusal::TooLarge { limit } => self.too_large(*limit),
            Refusal::Unsupported { why } => {
                self.build(501, "NOT_IMPLEMENTED", why, "unsupported", Vec::new())
            }
        }
    }
}

fn retry_after(seconds: u64) -> (String, String) {
    ("retry-after".to_owned(), seconds.max(1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies() -> Replies {
        Replies::new(&Config::parse(br#"{"policy":{"cluster":"p"}}"#).unwrap())
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
        answer.reply.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    #[test]
    fn a_challenge_names_the_realm_and_the_bearer_error_only_after_a_token() {
        let plain = replies().unauthenticated(&Unauthenticated::basic("no_credential"));
        assert_eq!(header(&plain, "www-authenticate"), ["Basic realm=\"mlflow\""]);
        let token = replies().unauthenticated(&Unauthenticated::bearer("jwt_expired", "expired"));
        let challenges = header(&token, "www-authenticate");
        assert_eq!(challenges.len(), 2);
        assert!(challenges[1].contains("error=\"invalid_token\""));
    }

    #[test]
    fn every_denial_has_the_same_bytes_whatever_the_reason() {
        let bytes = |answer: Answer| (answer.reply.status, answer.reply.headers, answer.reply.body);
        let denied = bytes(replies().denied("no_grant"));
        assert_eq!(bytes(replies().denied("absent")), denied);
        assert_eq!(bytes(replies().refusal(&Refusal::Forbidden { why: "x" })), denied);
    }

    #[test]
    fn outages_and_throttling_say_when_to_come_back() {
        assert_eq!(header(&replies().unavailable("x"), "retry-after"), ["1"]);
        assert_eq!(header(&replies().throttled(2500, "x"), "retry-after"), ["3"]);
        assert_eq!(header(&replies().throttled(0, "x"), "retry-after"), ["1"]);
    }

    #[test]
    fn a_reason_is_shown_only_where_the_setting_asks_for_it() {
        assert!(header(&replies().denied("no_grant"), "x-mlgate-reason").is_empty());
        let config = br#"{"policy":{"cluster":"p"},"reason_header":true}"#;
        let shown = Replies::new(&Config::parse(config).unwrap()).denied("no_grant");
        assert_eq!(header(&shown, "x-mlgate-reason"), ["no_grant"]);
    }
}

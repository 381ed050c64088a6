//! MLflow's administration API, which the policy server answers.

use super::decide::What;
use super::{Gate, Step};
use crate::cache::watermarks::Change;
use crate::contract as pb;
use crate::host::{Host, LocalReply};
use crate::policy_client::Method;
use crate::reply::Answer;
use crate::surface::Administration;
use crate::worker::{Question, Worker};

impl Gate {
    pub(super) fn administer<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        administration: &Administration,
        who: pb::Subject,
        body: Vec<u8>,
    ) -> Step {
        if let Some(step) = self.held_off(worker, host, Some(&who)) {
            return step;
        }
        let need = administration.body_need();
        let pairs = administration.query.iter();
        let request = pb::AdministerRequest {
            subject: Some(who),
            workspace: administration.workspace.clone().unwrap_or_default(),
            method: self.method(),
            path: administration.path.clone(),
            query: pairs
                .map(|(name, value)| pb::Parameter { name: name.clone(), value: value.clone() })
                .collect(),
            content_type: administration.content_type.clone(),
            body,
            info: Some(self.info(host)),
        };
        let question = Question::uncached(Method::Administer, &request);
        let asked = worker.ask(host, self.id, question);
        let who = Box::new(request.subject.unwrap_or_default());
        self.wait(worker, host, asked, need, What::Administration(who))
    }

    /// The policy server's own answer to a call of the administration API.
    pub(super) fn administered<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        answer: &pb::AdministerResponse,
    ) -> Answer {
        if answer.revision > 0 {
            let change = Change::Everyone { revision: answer.revision };
            worker.cache.watermarks.apply(host, &change);
        }
        match u16::try_from(answer.status) {
            Ok(status @ 200..=599) => Answer {
                reply: LocalReply {
                    status,
                    headers: answer
                        .headers
                        .iter()
                        .filter(|header| is_sound(&header.name, &header.value))
                        .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
                        .collect(),
                    body: answer.body.clone(),
                    details: "mlgate_administer".to_owned(),
                },
                reason: "administer".to_owned(),
            },
            _ => worker.replies.unavailable("policy_answer"),
        }
    }
}

/// A header that Envoy takes and that cannot split the response.
fn is_sound(name: &str, value: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty()
        && name.bytes().all(token)
        && !matches!(
            name.to_ascii_lowercase().as_str(),
            "content-length" | "transfer-encoding" | "connection"
        )
        && value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_the_server_cannot_split_the_response() {
        assert!(is_sound("Content-Type", "application/json"));
        for (name, value) in [("x", "a\r\nb: c"), ("x:", "a"), ("", "a"), ("Content-Length", "1")] {
            assert!(!is_sound(name, value), "{name:?}");
        }
    }
}

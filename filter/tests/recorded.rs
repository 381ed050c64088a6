//! What real clients send is read without a refusal, and is known to the catalogue.
//!
//! `MLGATE_RECORDED_REQUESTS` names a file of requests as a recording proxy wrote them, one JSON
//! object a line: `method`, `path`, `headers` (a list of pairs), `body` (base64). Without it this
//! test says so and checks nothing.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlgate_filter::operation::{BodyNeed, RawHead};
use mlgate_filter::requirement::{Requirement, Standing};
use mlgate_filter::surface::{Reading, SurfaceSettings, read_head};
use serde_json::Value;

enum Outcome {
    Read,
    Refused(String),
    SuperAdmin,
    Unknown,
}

fn outcome(request: &Value) -> Outcome {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    let body = STANDARD.decode(text("body")).expect("a body in base64");
    let headers = request["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pair| {
            let part = |at: usize| pair[at].as_str().unwrap_or_default();
            (part(0).to_lowercase(), part(1))
        })
        .collect();
    let head = RawHead {
        method: text("method").as_bytes(),
        path: text("path").as_bytes(),
        headers: &headers,
        end_of_stream: body.is_empty(),
    };
    let routed = match read_head(&SurfaceSettings::default(), head) {
        Ok(Reading::Routed(routed)) => routed,
        Ok(Reading::Unknown(_)) => return Outcome::Unknown,
        Ok(Reading::Administer(call)) => {
            return call.read(Some(&body)).map_or_else(refused, |_| Outcome::Read);
        }
        Ok(_) => return Outcome::Read,
        Err(refusal) => return refused(refusal),
    };
    let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
    match routed.read(whole.then_some(body.as_slice())) {
        Ok(operation)
            if operation.requirements.contains(&Requirement::Standing(Standing::SuperAdmin)) =>
        {
            Outcome::SuperAdmin
        }
        Ok(_) => Outcome::Read,
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: mlgate_filter::refusal::Refusal) -> Outcome {
    Outcome::Refused(format!("{refusal:?}"))
}

#[test]
fn nothing_that_a_real_client_sent_is_refused() {
    let Some(file) = std::env::var_os("MLGATE_RECORDED_REQUESTS") else {
        eprintln!("skipped: MLGATE_RECORDED_REQUESTS names no recorded requests");
        return;
    };
    let text = std::fs::read_to_string(&file).expect("the recorded requests can be read");
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for line in text.lines() {
        let request: Value = serde_json::from_str(line).expect("a request in JSON");
        count += 1;
        let shown = format!("{} {}", request["method"], request["path"]);
        match outcome(&request) {
            Outcome::Read => {}
            // Webhooks and the like: MLflow too gives them to admins only.
            Outcome::SuperAdmin => eprintln!("needs a super admin: {shown}"),
            Outcome::Unknown => drop(refused.insert(shown, "unknown route".to_owned())),
            Outcome::Refused(why) => drop(refused.insert(shown, why)),
        }
    }
    assert!(count > 20, "only {count} requests were recorded");
    assert!(refused.is_empty(), "refused:\n{refused:#?}");
}

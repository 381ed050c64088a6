//! What one request may name: as much as the policy server decides on at once, and what is more is
//! refused with a reason instead of being answered as if the policy server were away.

#[allow(dead_code, reason = "shared with tests that use all of it")]
mod asking;

use asking::{JSON, post, send};
use mlgate_filter::operation::Operation;
use mlgate_filter::refusal::Refusal;
use mlgate_filter::requirement::{MAX_CONDITIONS, conditions};

fn exported(traces: usize) -> Result<Operation, Refusal> {
    let spans: Vec<_> = (0..traces).map(|n| format!(r#"{{"traceId":"{n:032x}"}}"#)).collect();
    let spans = spans.join(",");
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let headers = [JSON, ("x-mlflow-experiment-id", &b"1"[..])];
    send("POST", "/v1/traces", &headers, Some(body.as_bytes()))
}

fn listed(traces: usize) -> Result<Operation, Refusal> {
    let ids: Vec<_> = (0..traces).map(|n| format!(r#""tr-{n:032x}""#)).collect();
    let body = format!(r#"{{"trace_ids":[{}]}}"#, ids.join(","));
    post("/api/3.0/mlflow/traces/batchGetInfos", &body)
}

#[test]
fn a_batch_of_spans_of_as_many_traces_is_decided_on() {
    let needs = exported(512).unwrap().requirements;
    assert!(needs.len() > 512 && conditions(&needs) <= MAX_CONDITIONS);
    assert!(matches!(exported(513), Err(Refusal::Invalid { .. })));
}

#[test]
fn a_list_of_ids_is_decided_on_up_to_a_bound() {
    let needs = listed(1_400).unwrap().requirements;
    assert!(needs.len() >= 1_400 && conditions(&needs) <= MAX_CONDITIONS);
    assert!(matches!(listed(1_600), Err(Refusal::Invalid { .. })));
}

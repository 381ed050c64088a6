//! As much as the filter lets one request name is decided on.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K, ResourceType as R};

use crate::on_both_stores;
use crate::support::*;

/// What the filter asks for a trace of an export: new, or the caller's to change.
fn exported(n: usize) -> pb::Requirement {
    use pb::requirement::Condition as C;
    let trace = format!("tr-{n:032x}");
    let own = [Action::Read, Action::Update]
        .map(|action| owner(R::Experiment, reference(K::TraceId, &trace), action));
    let all = |items| pb::Requirements { items };
    requirement(C::AnyOf(all(vec![
        requirement(C::Absent(reference(K::TraceId, &trace))),
        requirement(C::AllOf(all(own.to_vec()))),
    ])))
}

on_both_stores! {
async fn an_export_of_many_new_traces_is_allowed(place: On) {
    let server = fixture(place, &[]).await;
    let mut needs = vec![experiment("1", Action::Update)];
    needs.extend((0..512).map(exported));
    let answer = server.request(request(basic("owner", PASSWORD), needs)).await;

    assert_eq!(answer.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn a_long_list_of_traces_is_decided_on(place: On) {
    let server = fixture(place, &[]).await;
    let mut needs = vec![of(K::TraceId, "tr-1", Action::Read)];
    needs.extend((0..1_400).flat_map(|n| {
        let read = of(K::TraceId, &format!("tr-{n:032x}"), Action::Read);
        [read.clone(), read]
    }));
    let answer = server.request(request(basic("owner", PASSWORD), needs)).await;

    assert_eq!(answer.outcome(), Outcome::Denied, "they do not exist");
}
}

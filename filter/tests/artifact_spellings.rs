//! Artifact paths whose owner MLflow's versions read differently: none of them is let through by
//! one reading alone.

#[allow(dead_code, reason = "shared with tests that use all of it")]
mod asking;

use asking::{A, get, is_closed, needs, send};
use mlgate_filter::operation::Operation;
use mlgate_filter::requirement::Action::{Manage, Update};
use mlgate_filter::requirement::ResourceType::{self, Experiment, LoggedModel, Run, Trace};
use mlgate_filter::requirement::{Action, Key, Requirement, Rung};

const BASE: &str = "/api/2.0/mlflow-artifacts/artifacts";

/// The need that no grant on a tier fulfils.
fn on_experiment(action: Action) -> Requirement {
    Requirement::Ladder(vec![Rung { resource: Experiment, action, key: Key::Id("1".into()) }])
}

fn on(method: &str, path: &str) -> Operation {
    send(method, &format!("{BASE}/{path}"), &[], None).unwrap()
}

fn spellings() -> [(String, ResourceType); 4] {
    [
        ("1/x/ARTIFACTS/y".to_owned(), Run),
        ("1/MODELS/y".to_owned(), LoggedModel),
        ("1/Traces/y".to_owned(), Trace),
        (format!("1/{}/y", A.to_uppercase()), Run),
    ]
}

#[test]
fn writing_below_a_tier_in_another_case_takes_the_experiment_as_well() {
    for (path, tier) in spellings() {
        let written = on("PUT", &path);
        assert!(needs(&written, tier, Update, "*"), "{path}: MLflow from 3.18 on");
        assert!(written.requirements.contains(&on_experiment(Update)), "{path}: MLflow before");
    }
    let canonical = on("PUT", "1/models/y");
    assert!(!canonical.requirements.contains(&on_experiment(Update)));
}

#[test]
fn deleting_below_a_tier_in_another_case_takes_the_run_tier_as_well() {
    for (path, tier) in spellings() {
        let deleted = on("DELETE", &path);
        assert!(needs(&deleted, tier, Manage, "*") && needs(&deleted, Run, Manage, "*"), "{path}");
    }
}

#[test]
fn a_workspace_of_others_and_what_holds_workspaces_are_closed() {
    let team: &[(&str, &[u8])] = &[("x-mlflow-workspace", b"team")];
    for path in ["workspaces", "workspaces/other", "workspaces/team", "Workspaces/team/1/x"] {
        for method in ["GET", "DELETE"] {
            let result = send(method, &format!("{BASE}/{path}"), team, None);
            assert!(is_closed(&result), "{method} {path}");
        }
        assert!(is_closed(&get(&format!("{BASE}?path={path}"))), "list {path}");
    }
    let path = format!("{BASE}/workspaces/other/1/x");
    assert!(is_closed(&send("GET", &path, team, None)));
    assert!(is_closed(&send("GET", &path, &[], None)), "without a workspace it is the default one");
    let own: &[(&str, &[u8])] = &[("x-mlflow-workspace", b"other")];
    assert!(!is_closed(&send("GET", &path, own, None)));
}

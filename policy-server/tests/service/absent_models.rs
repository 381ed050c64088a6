//! What may be asked about registered models and prompts that are not there.

use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K, ResourceType as R};
use mlgate_policy_server::domain::{Level, ResourceType as Domain};

use crate::on_both_stores;
use crate::support::*;

on_both_stores! {
async fn the_versions_of_a_model_that_is_not_there_are_nobodys_to_ask_for(place: On) {
    let server = fixture(place, &[("default_permission", "READ")]).await;
    server.grant("owner", Domain::RegisteredModel, "*", Level::Manage).await;
    server.grant("owner", Domain::Prompt, "*", Level::Manage).await;
    let copied = || owner(R::Experiment, reference(K::ArtifactUri, "models:/none/1"), Action::Read);
    for user in ["reader", "owner"] {
        let found = server.outcome(user, version_of("classifier", Action::Read)).await;
        assert_eq!(found, Outcome::Allowed, "{user}");
        for action in [Action::NotDenied, Action::Read, Action::Update, Action::Delete] {
            let answer = server.ask(user, vec![version_of("none", action)]).await;
            assert_eq!(answer.outcome(), Outcome::Denied, "{user} {action:?}");
            // The model may be made at any moment.
            assert_eq!(answer.ttl_ms, 0);
        }
        assert_eq!(server.outcome(user, copied()).await, Outcome::Denied, "{user}");
    }
    // An administrator is told by MLflow.
    let told = server.outcome("root", version_of("none", Action::Read)).await;
    assert_eq!(told, Outcome::Allowed);
}
}

on_both_stores! {
async fn who_may_read_models_is_told_by_mlflow_that_one_is_not_there(place: On) {
    let server = fixture(place, &[("default_permission", "READ")]).await;
    let answer = server.ask("reader", vec![on(R::ModelOrPrompt, "none", Action::Read)]).await;
    assert_eq!((answer.outcome(), answer.ttl_ms), (Outcome::Allowed, 0));
    let update = server.outcome("reader", on(R::ModelOrPrompt, "none", Action::Update)).await;
    assert_eq!(update, Outcome::Denied);
    server.grant("reader", Domain::RegisteredModel, "none", Level::Deny).await;
    let denied = server.outcome("reader", on(R::ModelOrPrompt, "none", Action::Read)).await;
    assert_eq!(denied, Outcome::Denied);
}
}

on_both_stores! {
async fn with_workspaces_a_model_that_is_in_none_is_nobodys_to_ask_for(place: On) {
    let server = fixture(place, &[("workspaces", "true")]).await;
    server.grant("owner", Domain::Workspace, "*", Level::Manage).await;
    for (name, expected) in [("classifier", Outcome::Allowed), ("none", Outcome::Denied)] {
        let outcome = server.outcome("owner", on(R::ModelOrPrompt, name, Action::Read)).await;
        assert_eq!(outcome, expected, "{name}");
    }
}
}

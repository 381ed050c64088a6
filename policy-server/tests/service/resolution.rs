//! From ids to experiments, and what happens when that cannot be found out.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K, ResourceType as R};
use mlgate_policy_server::domain::{Level, ResourceType as Domain};

use crate::on_both_stores;
use crate::support::*;

on_both_stores! {
async fn every_kind_of_id_leads_to_its_experiment(place: On) {
    ids_lead_to_experiments(&fixture(place, &[]).await).await;
}
}

#[tokio::test]
async fn every_kind_of_id_leads_to_its_experiment_on_postgres() {
    let Some(url) = postgres_tracking().await else { return };
    let server = fixture(On::Sqlite, &[("tracking_uri", &url)]).await;
    ids_lead_to_experiments(&server).await;
    names_lead_to_experiments(&server).await;
    let read = |name| on(R::ModelOrPrompt, name, Action::Read);
    server.grant("reader", Domain::Prompt, "*", Level::Read).await;
    assert_eq!(server.outcome("reader", read("classifier")).await, Outcome::Denied);
    assert_eq!(server.outcome("reader", read("greeting")).await, Outcome::Allowed);
    let server = fixture(On::Sqlite, &[("tracking_uri", &url), ("workspaces", "true")]).await;
    assert_eq!(server.outcome("owner", experiment("1", Action::Read)).await, Outcome::Allowed);
    server.grant("owner", Domain::Experiment, "*", Level::Read).await;
    assert_eq!(server.outcome("owner", experiment("3", Action::Read)).await, Outcome::Denied);
}

async fn ids_lead_to_experiments(server: &Fixture) {
    for (kind, mine, theirs) in [
        (K::RunId, RUN_1, RUN_2),
        (K::TraceId, "tr-1", "tr-2"),
        (K::AssessmentId, "a-1", "a-2"),
        (K::LoggedModelId, "m-1", "m-2"),
        (K::EvaluationDatasetId, "d-1", "d-both"),
        (K::LabelSchemaId, "l-1", "l-2"),
        (K::IssueId, "i-1", "i-2"),
        (K::ScorerId, "s-1", "s-2"),
        (K::OnlineScoringConfig, "s-1", "s-2"),
        (K::GuardrailId, "g-1", "g-none"),
        (K::JobId, "j-1", "j-2"),
        (K::PromptOptimizationJobId, "j-1", "j-none"),
        (K::ReviewQueueId, "q-1", "q-none"),
        (K::ExperimentName, "fraud", "churn"),
    ] {
        let read = |id| server.outcome("reader", of(kind, id, Action::Read));
        assert_eq!(read(mine).await, Outcome::Allowed, "{kind:?} {mine}");
        assert_eq!(read(theirs).await, Outcome::Denied, "{kind:?} {theirs}");
        let update = server.outcome("reader", of(kind, mine, Action::Update)).await;
        assert_eq!(update, Outcome::Denied, "{kind:?} {mine}");
    }
}

on_both_stores! {
async fn names_within_an_experiment_lead_to_it(place: On) {
    names_lead_to_experiments(&fixture(place, &[]).await).await;
}
}

async fn names_lead_to_experiments(server: &Fixture) {
    let named = |kind, parent: &str, name| {
        let reference = pb::Reference { parent: parent.to_owned(), ..reference(kind, name) };
        server.outcome("reader", owner(R::Experiment, reference, Action::Read))
    };
    assert_eq!(named(K::LabelSchemaName, "1", "tone").await, Outcome::Allowed);
    assert_eq!(named(K::LabelSchemaName, "2", "tone").await, Outcome::Denied);
    assert_eq!(named(K::ReviewQueueName, "1", "MINE").await, Outcome::Allowed);
    assert_eq!(named(K::ReviewQueueName, "1", "other").await, Outcome::Denied);
    assert_eq!(named(K::ReviewQueueName, "x", "mine").await, Outcome::Denied);
}

on_both_stores! {
async fn who_is_assigned_to_a_queue_is_known_by_its_id_and_by_its_name(place: On) {
    let server = fixture(place, &[]).await;
    let assigned = |user, kind, parent: &str, id| {
        let queue = pb::Reference { parent: parent.to_owned(), ..reference(kind, id) };
        server.outcome(user, requirement(pb::requirement::Condition::Assigned(queue)))
    };
    assert_eq!(assigned("reader", K::ReviewQueueId, "", "q-1").await, Outcome::Allowed);
    assert_eq!(assigned("reader", K::ReviewQueueName, "1", "Mine").await, Outcome::Allowed);
    assert_eq!(assigned("owner", K::ReviewQueueName, "1", "Mine").await, Outcome::Denied);
    assert_eq!(assigned("reader", K::ReviewQueueName, "2", "Mine").await, Outcome::Denied);
    assert_eq!(assigned("reader", K::ReviewQueueName, "x", "Mine").await, Outcome::Denied);
}
}

on_both_stores! {
async fn names_of_gateway_objects_lead_to_the_ids_that_grants_are_about(place: On) {
    let server = fixture(place, &[]).await;
    for (kind, resource, domain, name, id) in [
        (K::GatewayEndpointName, R::GatewayEndpoint, Domain::GatewayEndpoint, "chat", "e-1"),
        (K::GatewaySecretName, R::GatewaySecret, Domain::GatewaySecret, "key", "se-1"),
        (
            K::GatewayModelDefinitionName,
            R::GatewayModelDefinition,
            Domain::GatewayModelDefinition,
            "gpt",
            "md-1",
        ),
        (K::McpEndpointId, R::McpServer, Domain::McpServer, "mcp-1", "org/tool"),
        // urllib.parse.quote("quality/ü", safe="")
        (K::ScorerId, R::Scorer, Domain::Scorer, "s-1", "1/quality%2F%C3%BC"),
    ] {
        let wanted = || owner(resource, reference(kind, name), Action::Use);
        assert_eq!(server.outcome("stranger", wanted()).await, Outcome::Denied, "{name}");
        server.grant("stranger", domain, id, Level::Use).await;
        assert_eq!(server.outcome("stranger", wanted()).await, Outcome::Allowed, "{name}");
    }
}
}

on_both_stores! {
async fn what_does_not_exist_is_denied_and_not_cached(place: On) {
    let server = fixture(place, &[("default_permission", "MANAGE")]).await;
    for (kind, id) in [
        (K::RunId, "99999999999999999999999999999999"),
        (K::LoggedModelId, "m-gone"),
        (K::EvaluationDatasetId, "d-none"),
        (K::JobId, "j-none"),
    ] {
        let answer = server.ask("stranger", vec![of(kind, id, Action::Read)]).await;
        assert_eq!(answer.outcome(), Outcome::Denied, "{kind:?}");
        if id != "j-none" {
            assert_eq!(answer.ttl_ms, 0, "{kind:?}");
        }
    }
}
}

on_both_stores! {
async fn a_dataset_needs_every_experiment_it_is_linked_to(place: On) {
    let server = fixture(place, &[]).await;
    let read = || of(K::EvaluationDatasetId, "d-both", Action::Read);
    assert_eq!(server.outcome("owner", read()).await, Outcome::Denied);
    server.grant("owner", Domain::Experiment, "2", Level::Read).await;
    assert_eq!(server.outcome("owner", read()).await, Outcome::Allowed);
}
}

on_both_stores! {
async fn an_unknown_experiment_name_is_not_found_rather_than_denied(place: On) {
    let server = fixture(place, &[]).await;
    let read = |name| of(K::ExperimentName, name, Action::Read);
    assert_eq!(server.outcome("stranger", read("no such")).await, Outcome::NotFound);
    assert_eq!(server.outcome("stranger", read("fraud")).await, Outcome::Denied);
}
}

on_both_stores! {
async fn absent_and_present_hold_for_administrators_too(place: On) {
    use pb::requirement::Condition as C;
    let server = fixture(place, &[]).await;
    let absent = |id| requirement(C::Absent(reference(K::TraceId, id)));
    assert_eq!(server.outcome("root", absent("tr-1")).await, Outcome::Denied);
    let answer = server.ask("root", vec![absent("tr-new")]).await;
    assert_eq!((answer.outcome(), answer.ttl_ms), (Outcome::Allowed, 0));
    let present = |id| requirement(C::Present(reference(K::RunId, id)));
    assert_eq!(server.outcome("stranger", present(RUN_1)).await, Outcome::Allowed);
    assert_eq!(server.outcome("root", present("none")).await, Outcome::NotFound);
}
}

on_both_stores! {
async fn a_prompt_and_a_model_are_granted_separately(place: On) {
    let server = fixture(place, &[]).await;
    server.grant("reader", Domain::RegisteredModel, "*", Level::Read).await;
    let read = |name| on(R::ModelOrPrompt, name, Action::Read);
    assert_eq!(server.outcome("reader", read("classifier")).await, Outcome::Allowed);
    assert_eq!(server.outcome("reader", read("greeting")).await, Outcome::Denied);
    server.grant("reader", Domain::PromptVersion, "*", Level::Deny).await;
    server.grant("reader", Domain::Prompt, "greeting", Level::Read).await;
    assert_eq!(server.outcome("reader", read("greeting")).await, Outcome::Allowed);
    let version = |name| version_of(name, Action::Read);
    assert_eq!(server.outcome("reader", version("greeting")).await, Outcome::Denied);
    assert_eq!(server.outcome("reader", version("classifier")).await, Outcome::Allowed);
}
}

on_both_stores! {
async fn the_source_of_a_model_version_needs_reading_what_it_comes_from(place: On) {
    let server = fixture(place, &[]).await;
    let read = |uri: &str| owner(R::Experiment, reference(K::ArtifactUri, uri), Action::Read);
    let mine = [
        format!("runs:/{RUN_1}/model"),
        format!("mlflow-artifacts:/1/{RUN_1}/artifacts/model"),
        format!("s3://bucket/1/{RUN_1}/artifacts/model"),
        "models:/m-1".to_owned(),
        "mlflow-artifacts:/1/models/m-1/artifacts".to_owned(),
    ];
    for uri in &mine {
        assert_eq!(server.outcome("reader", read(uri)).await, Outcome::Allowed, "{uri}");
        assert_eq!(server.outcome("stranger", read(uri)).await, Outcome::Denied, "{uri}");
    }
    let not_mine = [
        format!("runs:/{RUN_2}/model"),
        // The run of another experiment under the path of mine, and the other way round.
        format!("mlflow-artifacts:/1/{RUN_2}/artifacts/model"),
        format!("mlflow-artifacts:/2/{RUN_1}/artifacts/model"),
        // My run's id in somebody else's bucket.
        format!("s3://other/1/{RUN_1}/artifacts/model"),
        "models:/m-2".to_owned(),
        "models:/classifier/1".to_owned(),
        "file:///etc/passwd".to_owned(),
        "s3://bucket/1".to_owned(),
    ];
    for uri in &not_mine {
        assert_eq!(server.outcome("reader", read(uri)).await, Outcome::Denied, "{uri}");
    }
    server.grant("reader", Domain::RegisteredModel, "classifier", Level::Read).await;
    let outcome = server.outcome("reader", read("models:/classifier/1")).await;
    assert_eq!(outcome, Outcome::Allowed);
}
}

on_both_stores! {
async fn with_workspaces_what_is_elsewhere_does_not_exist(place: On) {
    let server = fixture(place, &[("workspaces", "true")]).await;
    server.grant_in("team", "reader", Domain::Experiment, "*", Level::Manage).await;
    let ask = async |workspace: &str, wanted: pb::Requirement| {
        let min_revision = server.store.revision().await.unwrap();
        let request = pb::AuthorizeRequest {
            workspace: workspace.to_owned(),
            min_revision,
            ..request(basic("reader", PASSWORD), vec![wanted])
        };
        server.request(request).await.outcome()
    };
    assert_eq!(ask("team", of(K::RunId, RUN_3, Action::Update)).await, Outcome::Allowed);
    assert_eq!(ask("team", experiment("3", Action::Update)).await, Outcome::Allowed);
    assert_eq!(ask("team", of(K::RunId, RUN_2, Action::Update)).await, Outcome::Denied);
    assert_eq!(ask("team", experiment("2", Action::Update)).await, Outcome::Denied);
    assert_eq!(ask("", of(K::RunId, RUN_3, Action::Read)).await, Outcome::Denied);
    assert_eq!(ask("", experiment("1", Action::Read)).await, Outcome::Allowed);
    assert_eq!(ask("nowhere", experiment("1", Action::Read)).await, Outcome::BadWorkspace);
}
}

on_both_stores! {
async fn a_workspace_that_is_named_while_they_are_off_is_refused(place: On) {
    let server = fixture(place, &[]).await;
    let request = pb::AuthorizeRequest {
        workspace: "team".to_owned(),
        ..request(basic("root", PASSWORD), vec![])
    };
    assert_eq!(server.request(request).await.outcome(), Outcome::BadWorkspace);
}
}

on_both_stores! {
async fn without_the_tracking_database_only_what_needs_it_is_unavailable(place: On) {
    let server = fixture(place, &[]).await;
    let away = server.tracking.with_extension("away");
    std::fs::rename(&server.tracking, &away).unwrap();
    assert_eq!(server.outcome("owner", experiment("1", Action::Read)).await, Outcome::Allowed);
    let run = || of(K::RunId, RUN_1, Action::Read);
    let answer = server.ask("owner", vec![run()]).await;
    assert_eq!((answer.outcome(), answer.ttl_ms), (Outcome::Unavailable, 0));
    assert_eq!(server.outcome("root", run()).await, Outcome::Allowed);
    std::fs::rename(&away, &server.tracking).unwrap();
    assert_eq!(server.outcome("owner", run()).await, Outcome::Allowed);
}
}

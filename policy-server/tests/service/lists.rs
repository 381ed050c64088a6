//! Scopes, lists and side effects.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K, ResourceType as R};
use mlgate_policy_server::credentials::hash_new;
use mlgate_policy_server::domain::{Level, ResourceType as Domain};
use mlgate_policy_server::store::NewUser;

use crate::on_both_stores;
use crate::support::*;

async fn scoped(server: &Fixture, user: &str, scope: pb::Scope) -> pb::ScopeResult {
    let min_revision = server.store.revision().await.unwrap();
    let request = pb::AuthorizeRequest {
        scopes: vec![scope],
        min_revision,
        ..request(basic(user, PASSWORD), vec![])
    };
    server.request(request).await.scopes.remove(0)
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

on_both_stores! {
async fn a_scope_is_cut_down_to_what_is_readable_in_its_order(place: On) {
    let server = fixture(place, &[]).await;
    let scope = || pb::Scope {
        r#type: R::Experiment.into(),
        ids: ids(&["2", "1", "7"]),
        vetoes: vec![R::Run.into()],
        ..pb::Scope::default()
    };
    assert_eq!(scoped(&server, "reader", scope()).await.allowed, ids(&["1"]));
    assert_eq!(scoped(&server, "root", scope()).await.allowed, ids(&["2", "1", "7"]));
    server.grant("reader", Domain::Run, "*", Level::Deny).await;
    assert_eq!(scoped(&server, "reader", scope()).await.allowed, ids(&[]));
}
}

on_both_stores! {
async fn a_scope_of_every_id_is_what_is_granted_or_all_but_what_is_denied(place: On) {
    let server = fixture(place, &[]).await;
    let every = || pb::Scope { r#type: R::Experiment.into(), every: true, ..Default::default() };
    let result = scoped(&server, "reader", every()).await;
    assert_eq!((result.allowed, result.all_but), (ids(&["1"]), false));
    let result = scoped(&server, "root", every()).await;
    assert_eq!((result.allowed, result.all_but, result.except), (ids(&[]), true, ids(&[])));
    server.grant("reader", Domain::Experiment, "*", Level::Read).await;
    server.grant("reader", Domain::Experiment, "2", Level::Deny).await;
    let result = scoped(&server, "reader", every()).await;
    assert_eq!((result.all_but, result.except), (true, ids(&["2"])));
}
}

async fn visible(server: &Fixture, user: &str, question: pb::Question) -> Vec<String> {
    let request = pb::VisibleRequest {
        username: user.to_owned(),
        questions: vec![question],
        min_revision: server.store.revision().await.unwrap(),
        ..Default::default()
    };
    server.client.clone().visible(request).await.unwrap().into_inner().answers.remove(0).allowed
}

on_both_stores! {
async fn only_readable_rows_are_visible(place: On) {
    let server = fixture(place, &[]).await;
    let rows = || pb::Question {
        r#type: R::Experiment.into(),
        ids: ids(&["1", "2"]),
        action: Action::Read.into(),
        ..Default::default()
    };
    assert_eq!(visible(&server, "reader", rows()).await, ids(&["1"]));
    assert_eq!(visible(&server, "stranger", rows()).await, ids(&[]));
    assert_eq!(visible(&server, "root", rows()).await, ids(&["1", "2"]));
    let by_run =
        pb::Question { ids: ids(&[RUN_1, RUN_2, "unknown"]), reference: K::RunId.into(), ..rows() };
    assert_eq!(visible(&server, "reader", by_run).await, ids(&[RUN_1]));
    let updatable = pb::Question { action: Action::Update.into(), ..rows() };
    assert_eq!(visible(&server, "reader", updatable).await, ids(&[]));
}
}

on_both_stores! {
async fn a_question_without_an_action_is_refused(place: On) {
    let server = fixture(place, &[]).await;
    let request = pb::VisibleRequest {
        username: "root".to_owned(),
        questions: vec![pb::Question {
            r#type: R::Experiment.into(),
            ids: ids(&["1"]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let status = server.client.clone().visible(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}
}

async fn record(server: &Fixture, user: &str, effect: pb::Effect) -> u64 {
    let request = pb::RecordRequest {
        username: user.to_owned(),
        effects: vec![effect],
        ..Default::default()
    };
    server.client.clone().record(request).await.unwrap().into_inner().revision
}

on_both_stores! {
async fn a_creator_may_use_what_was_created_in_the_very_next_request(place: On) {
    let server = fixture(place, &[]).await;
    let manage = || vec![experiment("42", Action::Manage)];
    assert_eq!(server.ask("stranger", manage()).await.outcome(), Outcome::Denied);
    record(&server, "stranger", created(R::Experiment, "42")).await;
    assert_eq!(server.ask("stranger", manage()).await.outcome(), Outcome::Allowed);
    assert_eq!(server.ask("reader", manage()).await.outcome(), Outcome::Denied);
}
}

on_both_stores! {
async fn creating_something_called_star_grants_nothing_else(place: On) {
    let server = fixture(place, &[]).await;
    for name in ["*", "classi*"] {
        let request = pb::RecordRequest {
            username: "stranger".to_owned(),
            effects: vec![created(R::RegisteredModel, name)],
            ..Default::default()
        };
        // Refused or exact: both are safe.
        let _ = server.client.clone().record(request).await;
        let read = on(R::RegisteredModel, "classifier", Action::Read);
        assert_eq!(server.outcome("stranger", read).await, Outcome::Denied, "{name}");
    }
}
}

on_both_stores! {
async fn a_recorded_owner_owns_and_nobody_else_does(place: On) {
    use pb::requirement::Condition as C;
    let server = fixture(place, &[]).await;
    let by_owner = || requirement(C::Owned(reference(K::JobId, "j-9")));
    assert_eq!(server.outcome("stranger", by_owner()).await, Outcome::Denied);
    let effect = owned(K::JobId, "j-9");
    record(&server, "stranger", effect.clone()).await;
    assert_eq!(server.outcome("stranger", by_owner()).await, Outcome::Allowed);
    record(&server, "reader", effect).await;
    assert_eq!(server.outcome("reader", by_owner()).await, Outcome::Denied);
}
}

on_both_stores! {
async fn an_identity_without_a_row_gets_one_when_it_creates_something(place: On) {
    let server = fixture(place, &[]).await;
    record(&server, "idp|carol", created(R::Experiment, "43")).await;
    let user = server.store.user("idp|carol").await.unwrap().unwrap();
    assert!(user.password_hash.is_none() && !user.is_admin);
}
}

on_both_stores! {
async fn an_assigned_reviewer_is_recognised(place: On) {
    use pb::requirement::Condition as C;
    let server = fixture(place, &[]).await;
    let assigned = || requirement(C::Assigned(reference(K::ReviewQueueId, "q-1")));
    assert_eq!(server.outcome("reader", assigned()).await, Outcome::Allowed);
    assert_eq!(server.outcome("owner", assigned()).await, Outcome::Denied);
}
}

on_both_stores! {
async fn a_reviewer_is_recognised_however_the_username_is_written(place: On) {
    use pb::requirement::Condition as C;
    let server = fixture(place, &[]).await;
    let hash = hash_new(PASSWORD).unwrap();
    let ana = NewUser::with_password_hash("Ana", hash.into());
    server.store.create_user(&actor(), &ana).await.unwrap();
    let assigned = requirement(C::Assigned(reference(K::ReviewQueueId, "q-1")));
    assert_eq!(server.outcome("Ana", assigned).await, Outcome::Allowed);
}
}

on_both_stores! {
async fn denied_tiers_are_named_except_to_administrators(place: On) {
    let server = fixture(place, &[]).await;
    server.grant("reader", Domain::Trace, "*", Level::Deny).await;
    server.grant("root", Domain::Trace, "*", Level::Deny).await;
    let tiers = async |user: &str| {
        let min_revision = server.store.revision().await.unwrap();
        let request =
            pb::AuthorizeRequest { min_revision, ..request(basic(user, PASSWORD), vec![]) };
        server.request(request).await.denied_tiers
    };
    assert_eq!(tiers("reader").await, vec![R::Trace as i32]);
    assert_eq!(tiers("root").await, Vec::<i32>::new());
}
}

on_both_stores! {
async fn of_hundreds_of_models_and_prompts_each_is_decided_by_its_own_kind(place: On) {
    let url = match place {
        On::Sqlite => None,
        On::Postgres => postgres_tracking().await,
    };
    let flags: Vec<_> = url.iter().map(|url| ("tracking_uri", url.as_str())).collect();
    let server = fixture(place, &flags).await;
    // More than one statement looks up, with the prompt in the last of them.
    let models: Vec<String> = (0..600).map(|number| format!("model-{number}")).collect();
    let rows = |action: Action| pb::Question {
        r#type: R::ModelOrPrompt.into(),
        ids: models.iter().cloned().chain(ids(&["classifier", "", "greeting"])).collect(),
        action: action.into(),
        ..Default::default()
    };
    server.grant("reader", Domain::Prompt, "*", Level::Read).await;
    assert_eq!(visible(&server, "reader", rows(Action::Read)).await, ids(&["greeting"]));
    server.grant("stranger", Domain::RegisteredModel, "*", Level::Read).await;
    let seen = visible(&server, "stranger", rows(Action::Read)).await;
    assert_eq!(seen.len(), 601);
    assert!(!seen.contains(&"greeting".to_owned()));
    assert_eq!(visible(&server, "reader", rows(Action::Update)).await, ids(&[]));
    assert_eq!(visible(&server, "root", rows(Action::Read)).await.len(), 602);
}
}

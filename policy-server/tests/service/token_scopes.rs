//! Tokens that may do less than their owner.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ReferenceKind as K, ResourceType as R};
use mlgate_policy_server::domain::Level;
use mlgate_policy_server::policy::TokenScope;
use mlgate_policy_server::store::NewToken;

use crate::on_both_stores;
use crate::support::*;

async fn token(server: &Fixture, username: &str, scopes: &[TokenScope]) -> String {
    let new = NewToken {
        username: username.to_owned(),
        name: format!("{scopes:?}"),
        scopes: scopes.to_vec(),
        ..NewToken::default()
    };
    let (_, secret) = server.store.create_token(&actor(), &new).await.unwrap().value;
    secret.expose().to_owned()
}

fn only_experiment_1() -> TokenScope {
    TokenScope::Experiment("1".to_owned())
}

async fn asked(server: &Fixture, token: &str, wanted: pb::Requirement) -> pb::AuthorizeResponse {
    server.request(request(bearer(token), vec![wanted])).await
}

on_both_stores! {
async fn a_reading_token_of_an_administrator_only_reads(place: On) {
    let server = fixture(place, &[]).await;
    let token = token(&server, "root", &[TokenScope::Level(Level::Read)]).await;
    for (action, expected) in [(Action::Read, Outcome::Allowed), (Action::Update, Outcome::Denied)]
    {
        let answer = asked(&server, &token, experiment("1", action)).await;
        assert_eq!(answer.outcome(), expected, "{action:?}");
        // As the password of a Basic credential it is the same token.
        let basic = request(basic("root", &token), vec![experiment("1", action)]);
        assert_eq!(server.request(basic).await.outcome(), expected, "{action:?}");
    }
}
}

on_both_stores! {
async fn a_token_for_one_experiment_reaches_its_runs_and_no_others(place: On) {
    let server = fixture(place, &[("default_permission", "MANAGE")]).await;
    for user in ["owner", "root"] {
        let token = token(&server, user, &[only_experiment_1()]).await;
        for (wanted, expected) in [
            (experiment("1", Action::Manage), Outcome::Allowed),
            (experiment("2", Action::Read), Outcome::Denied),
            (of(K::RunId, RUN_1, Action::Update), Outcome::Allowed),
            (of(K::RunId, RUN_2, Action::Read), Outcome::Denied),
            (of(K::EvaluationDatasetId, "d-1", Action::Read), Outcome::Allowed),
            (of(K::EvaluationDatasetId, "d-both", Action::Read), Outcome::Denied),
            (on(R::RegisteredModel, "m", Action::Read), Outcome::Denied),
        ] {
            let answer = asked(&server, &token, wanted.clone()).await;
            assert_eq!(answer.outcome(), expected, "{user}: {wanted:?}");
            assert!(!answer.principal.unwrap().super_admin, "{user}");
        }
    }
}
}

on_both_stores! {
async fn a_token_gives_nothing_that_its_owner_has_not(place: On) {
    let server = fixture(place, &[]).await;
    let token = token(&server, "reader", &[only_experiment_1()]).await;
    let read = asked(&server, &token, experiment("1", Action::Read)).await;
    assert_eq!(read.outcome(), Outcome::Allowed);
    let update = asked(&server, &token, experiment("1", Action::Update)).await;
    assert_eq!(update.outcome(), Outcome::Denied);
}
}

on_both_stores! {
async fn lists_show_a_token_for_one_experiment_that_one(place: On) {
    let server = fixture(place, &[("default_permission", "READ")]).await;
    for user in ["stranger", "root"] {
        let token = token(&server, user, &[only_experiment_1()]).await;
        let every = pb::Scope { r#type: R::Experiment.into(), every: true, ..Default::default() };
        let some = pb::Scope { ids: vec!["2".into(), "1".into()], every: false, ..every.clone() };
        let models = pb::Scope { r#type: R::RegisteredModel.into(), ..every.clone() };
        let question = pb::AuthorizeRequest {
            scopes: vec![every, some, models],
            ..request(bearer(&token), vec![])
        };
        let answer = server.request(question).await;
        assert_eq!(answer.outcome(), Outcome::Allowed);
        let [every, some, models] = &answer.scopes[..] else { panic!("{answer:?}") };
        assert_eq!((every.allowed.as_slice(), every.all_but), (&["1".to_owned()][..], false));
        assert_eq!(some.allowed, ["1"]);
        assert_eq!((models.allowed.len(), models.all_but, models.unlisted), (0, false, false));

        let principal = answer.principal.unwrap();
        assert_eq!(principal.scopes, ["experiment:1"]);
        let rows = |kind: R, ids: &[&str]| pb::Question {
            r#type: kind.into(),
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            action: Action::Read.into(),
            ..Default::default()
        };
        let visible = pb::VisibleRequest {
            username: principal.username,
            scopes: principal.scopes,
            questions: vec![rows(R::Experiment, &["1", "2"]), rows(R::ModelOrPrompt, &["m"])],
            min_revision: answer.revision,
            ..Default::default()
        };
        let shown = server.client.clone().visible(visible).await.unwrap().into_inner().answers;
        assert_eq!(shown[0].allowed, ["1"], "{user}");
        assert!(shown[1].allowed.is_empty(), "{user}");
    }
}
}

on_both_stores! {
async fn scopes_that_are_not_understood_are_refused(place: On) {
    let server = fixture(place, &[]).await;
    let token = token(&server, "root", &[TokenScope::Level(Level::Read)]).await;
    let raw = raw(&server.store_url).await;
    sqlx::query("UPDATE tokens SET scopes = '[\"read\", \"galaxy:1\"]'").execute(&raw).await.unwrap();
    let answer = asked(&server, &token, experiment("1", Action::Read)).await;
    assert_eq!(answer.outcome(), Outcome::Unauthenticated);
    let visible = pb::VisibleRequest {
        username: "root".to_owned(),
        scopes: vec!["galaxy:1".to_owned()],
        ..Default::default()
    };
    let status = server.client.clone().visible(visible).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}
}

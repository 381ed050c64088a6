//! What becomes of users whom an identity provider names for the first time, and of its admins.

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, Standing};
use mlgate_policy_server::domain::{Level, ResourceType as Domain};
use mlgate_policy_server::store::NewUser;

use crate::on_both_stores;
use crate::support::*;

fn identity(username: &str, groups: &[&str]) -> pb::Subject {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    pb::Subject {
        kind: Some(pb::subject::Kind::Verified(pb::VerifiedIdentity {
            issuer: "idp".to_owned(),
            username: username.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            expires_at: i64::try_from(now).unwrap() + 600,
        })),
    }
}

fn standing(wanted: Standing) -> Vec<pb::Requirement> {
    vec![requirement(pb::requirement::Condition::Standing(wanted.into()))]
}

async fn logs_in(server: &Fixture, subject: pb::Subject) -> pb::AuthorizeResponse {
    let min_revision = server.store.revision().await.unwrap();
    let request = request(subject, standing(Standing::Authenticated));
    server.request(pb::AuthorizeRequest { min_revision, ..request }).await
}

on_both_stores! {
async fn by_default_nobody_needs_to_be_created_first_and_nobody_is(place: On) {
    let server = fixture(place, &[]).await;
    let answer = logs_in(&server, identity("corp:ana", &[])).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
    assert!(server.store.user("corp:ana").await.unwrap().is_none());
}
}

on_both_stores! {
async fn a_first_login_can_create_the_user_once_and_without_a_password(place: On) {
    let server = fixture(place, &[("first_login", "provision")]).await;
    let many = (0..8).map(|_| {
        let mut client = server.client.clone();
        let request = request(identity("corp:ana", &[]), standing(Standing::Authenticated));
        tokio::spawn(async move { client.authorize(request).await.unwrap().into_inner() })
    });
    for answer in many.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().outcome(), Outcome::Allowed);
    }
    let user = server.store.user("corp:ana").await.unwrap().expect("a row");
    assert!(!user.is_admin && user.password_hash.is_none());
    // From now on grants can be given to them, and they can be shut out.
    server.grant("corp:ana", Domain::Experiment, "1", Level::Read).await;
    let min_revision = server.store.revision().await.unwrap();
    let read = request(identity("corp:ana", &[]), vec![experiment("1", Action::Read)]);
    let answer = server.request(pb::AuthorizeRequest { min_revision, ..read }).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
    server.store.set_disabled(&actor(), "corp:ana", true).await.unwrap();
    let answer = logs_in(&server, identity("corp:ana", &[])).await;
    assert_eq!(answer.outcome(), Outcome::Denied);
}
}

on_both_stores! {
async fn a_first_login_can_be_refused_until_somebody_creates_the_user(place: On) {
    let server = fixture(place, &[("first_login", "refuse")]).await;
    let answer = logs_in(&server, identity("corp:ana", &["corp:everybody"])).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Denied, "unknown_user"));
    assert!(server.store.user("corp:ana").await.unwrap().is_none());
    let new = NewUser::service_account("corp:ana");
    server.store.create_user(&actor(), &new).await.unwrap();
    let answer = logs_in(&server, identity("corp:ana", &[])).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn members_of_an_admin_group_are_super_admins_while_their_token_says_so(place: On) {
    let server = fixture(place, &[("admin_groups", "corp:platform, corp:root")]).await;
    for (groups, admin) in [
        (&["corp:platform"][..], true),
        (&["x", "corp:root"], true),
        (&["platform"], false),
        (&["corp:platform2"], false),
        (&["corp:platform, corp:root"], false),
        (&[], false),
    ] {
        let subject = identity("corp:ana", groups);
        let answer = server.request(request(subject, standing(Standing::SuperAdmin))).await;
        let expected = if admin { Outcome::Allowed } else { Outcome::Denied };
        assert_eq!(answer.outcome(), expected, "{groups:?}");
        assert_eq!(answer.principal.unwrap().super_admin, admin, "{groups:?}");
    }
    // A group of that name which is kept here, and its members, are somebody else's doing.
    server.store.add_group_member(&actor(), "corp:platform", "reader").await.unwrap();
    let answer = server.ask("reader", standing(Standing::SuperAdmin)).await;
    assert_eq!(answer.outcome(), Outcome::Denied);
    // A disabled user stays out, whatever the token says.
    server.store.create_user(&actor(), &NewUser::service_account("corp:ana")).await.unwrap();
    server.store.set_disabled(&actor(), "corp:ana", true).await.unwrap();
    let answer = logs_in(&server, identity("corp:ana", &["corp:root"])).await;
    assert_eq!(answer.outcome(), Outcome::Denied);
}
}

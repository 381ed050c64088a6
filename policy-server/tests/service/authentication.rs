//! Who is recognised, and what they may do then.

use std::sync::Arc;

use mlgate_policy_server::contract as pb;
use mlgate_policy_server::contract::{Action, Outcome, ResourceType, Standing};
use mlgate_policy_server::credentials::Token;
use mlgate_policy_server::domain::{Level, ResourceType as Domain};
use mlgate_policy_server::store::{NewToken, NewUser};

use crate::on_both_stores;
use crate::support::*;

on_both_stores! {
async fn an_owner_updates_a_reader_reads_and_a_stranger_gets_nothing(place: On) {
    let server = fixture(place, &[]).await;
    for (user, action, expected) in [
        ("owner", Action::Manage, Outcome::Allowed),
        ("reader", Action::Read, Outcome::Allowed),
        ("reader", Action::Update, Outcome::Denied),
        ("stranger", Action::Read, Outcome::Denied),
        ("root", Action::Delete, Outcome::Allowed),
    ] {
        let outcome = server.outcome(user, experiment("1", action)).await;
        assert_eq!(outcome, expected, "{user} {action:?}");
    }
}
}

on_both_stores! {
async fn an_allowed_answer_says_who_until_when_and_on_what_it_depends(place: On) {
    let server = fixture(place, &[("decision_ttl", "30s")]).await;
    let answer = server.ask("reader", vec![experiment("1", Action::Read)]).await;
    assert_eq!(answer.principal.unwrap().username, "reader");
    assert_eq!(answer.ttl_ms, 30_000);
    // printf 'user:reader' | sha256sum
    assert!(answer.depends_on.contains(&scope("user:reader")), "{:x?}", answer.depends_on);
    assert!(answer.depends_on.len() >= 2, "the role with the grant is missing");
    assert!(answer.revision >= 1);
}
}

fn scope(name: &str) -> u64 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(name);
    u64::from_be_bytes(*digest.first_chunk().unwrap())
}

on_both_stores! {
async fn wrong_empty_or_missing_credentials_are_unauthenticated(place: On) {
    let server = fixture(place, &[]).await;
    let wanted = || vec![experiment("1", Action::Read)];
    for (username, password) in [
        ("owner", "wrong"),
        ("owner", ""),
        ("", PASSWORD),
        ("nobody", PASSWORD),
        ("OWNER", PASSWORD),
        ("owner", "mlg_not-a-token"),
    ] {
        let answer = server.request(request(basic(username, password), wanted())).await;
        assert_eq!(answer.outcome(), Outcome::Unauthenticated, "{username:?} {password:?}");
        assert_eq!(answer.principal, None);
    }
    let answer = server.request(pb::AuthorizeRequest::default()).await;
    assert_eq!(answer.outcome(), Outcome::Unauthenticated);
    let answer = server.request(request(bearer("anything"), wanted())).await;
    assert_eq!(answer.outcome(), Outcome::Unauthenticated);
}
}

on_both_stores! {
async fn a_guesser_is_throttled_and_the_user_elsewhere_is_not(place: On) {
    let server = fixture(place, &[("max_failures", "3")]).await;
    let from = |address: &str, password: &str| {
        let mut request = request(basic("owner", password), vec![]);
        request.info.as_mut().unwrap().client_address = address.to_owned();
        request
    };
    for _ in 0..3 {
        let answer = server.request(from("10.9.9.9", "guess")).await;
        assert_eq!(answer.outcome(), Outcome::Unauthenticated);
    }
    let answer = server.request(from("10.9.9.9", "another guess")).await;
    assert_eq!(answer.outcome(), Outcome::Throttled);
    assert!(answer.retry_after_ms > 0);
    let answer = server.request(from("10.1.1.1", PASSWORD)).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn a_token_in_use_works_on_beside_guesses_from_its_address(place: On) {
    let server = fixture(place, &[]).await;
    let new =
        NewToken { username: "owner".to_owned(), name: "job".to_owned(), ..NewToken::default() };
    let token = server.store.create_token(&actor(), &new).await.unwrap();
    let secret = token.value.1.expose().to_owned();
    let min_revision = token.revision;
    let ask = async |token: &str| {
        let request = request(bearer(token), vec![]);
        server.request(pb::AuthorizeRequest { min_revision, ..request }).await.outcome()
    };
    assert_eq!(ask(&secret).await, Outcome::Allowed);
    let mut last = Outcome::Unauthenticated;
    for _ in 0..200 {
        last = ask(Token::generate().expose()).await;
        if last == Outcome::Throttled {
            break;
        }
    }
    assert_eq!(last, Outcome::Throttled);
    assert_eq!(ask(&secret).await, Outcome::Allowed);
    // Known is what holds: a revoked one is not.
    let revoked = server.store.revoke_token(&actor(), token.value.0.id).await.unwrap();
    let request = request(bearer(&secret), vec![]);
    let after = pb::AuthorizeRequest { min_revision: revoked.revision, ..request };
    assert_ne!(server.request(after).await.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn guesses_at_the_same_moment_are_as_few_as_one_after_the_other(place: On) {
    let server = Arc::new(fixture(place, &[("max_failures", "3")]).await);
    let at_once = async |address: &'static str, passwords: Vec<String>| {
        let tasks: Vec<_> = passwords
            .into_iter()
            .map(|password| {
                let mut request = request(basic("owner", &password), vec![]);
                request.info.as_mut().unwrap().client_address = address.to_owned();
                let server = Arc::clone(&server);
                tokio::spawn(async move { server.request(request).await.outcome() })
            })
            .collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes
    };
    let guesses = (0..40).map(|number| format!("guess {number}")).collect();
    let outcomes = at_once("10.9.9.9", guesses).await;
    let of = |wanted| outcomes.iter().filter(|&&outcome| outcome == wanted).count();
    assert_eq!((of(Outcome::Unauthenticated), of(Outcome::Throttled)), (3, 37), "{outcomes:?}");
    // What is right is no failure, however often it is asked before that is known.
    let outcomes = at_once("10.1.1.1", vec![PASSWORD.to_owned(); 20]).await;
    assert_eq!(outcomes, [Outcome::Allowed; 20]);
}
}

on_both_stores! {
async fn a_verified_identity_has_its_groups_roles_and_expires(place: On) {
    let server = fixture(place, &[]).await;
    let identity = |expires_at| pb::Subject {
        kind: Some(pb::subject::Kind::Verified(pb::VerifiedIdentity {
            issuer: "idp".to_owned(),
            username: "idp|alice".to_owned(),
            groups: vec!["science".to_owned()],
            expires_at,
        })),
    };
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let wanted = || vec![experiment("1", Action::Read)];
    let answer = server.request(request(identity(now + 10), wanted())).await;
    assert_eq!(answer.outcome(), Outcome::Denied);
    let role = server.store.create_role(&actor(), "default", "scientists", None).await.unwrap();
    let pattern = mlgate_policy_server::domain::Pattern::literal("1");
    let role = role.value.id;
    server
        .store
        .add_role_permission(&actor(), role, Domain::Experiment, &pattern, Level::Read)
        .await
        .unwrap();
    server.store.create_group(&actor(), "science").await.unwrap();
    let mapped = server.store.add_group_role(&actor(), "science", role).await.unwrap();
    let fresh = pb::AuthorizeRequest {
        min_revision: mapped.revision,
        ..request(identity(now + 10), wanted())
    };
    let answer = server.request(fresh).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
    assert!(answer.ttl_ms <= 10_000, "a decision outlives its credential: {}", answer.ttl_ms);
    let answer = server.request(request(identity(now - 60), wanted())).await;
    assert_eq!(answer.outcome(), Outcome::Unauthenticated);
}
}

on_both_stores! {
async fn a_token_works_as_bearer_and_as_password_until_it_is_revoked(place: On) {
    let server = fixture(place, &[]).await;
    let new =
        NewToken { username: "reader".to_owned(), name: "ci".to_owned(), ..NewToken::default() };
    let (stored, secret) = server.store.create_token(&actor(), &new).await.unwrap().value;
    let wanted = || vec![experiment("1", Action::Read)];
    for subject in [
        bearer(secret.expose()),
        basic("reader", secret.expose()),
        basic("__token__", secret.expose()),
    ] {
        let answer = server.request(request(subject, wanted())).await;
        assert_eq!(answer.outcome(), Outcome::Allowed);
        assert_eq!(answer.principal.unwrap().username, "reader");
    }
    let answer = server.request(request(basic("owner", secret.expose()), wanted())).await;
    assert_eq!(answer.outcome(), Outcome::Unauthenticated, "a token is only its owner's");
    let revoked = server.store.revoke_token(&actor(), stored.id).await.unwrap();
    let after = pb::AuthorizeRequest {
        min_revision: revoked.revision,
        ..request(bearer(secret.expose()), wanted())
    };
    assert_eq!(server.request(after).await.outcome(), Outcome::Unauthenticated);
}
}

on_both_stores! {
async fn a_disabled_user_and_a_changed_password_stop_working_at_that_revision(place: On) {
    let server = fixture(place, &[]).await;
    assert_eq!(server.outcome("owner", experiment("1", Action::Read)).await, Outcome::Allowed);
    server.store.set_disabled(&actor(), "owner", true).await.unwrap();
    assert_eq!(
        server.outcome("owner", experiment("1", Action::Read)).await,
        Outcome::Unauthenticated
    );
    assert_eq!(server.outcome("reader", experiment("1", Action::Read)).await, Outcome::Allowed);
    let hash = mlgate_policy_server::credentials::hash_new("another long password").unwrap();
    server.store.set_password_hash(&actor(), "reader", hash.into()).await.unwrap();
    assert_eq!(
        server.outcome("reader", experiment("1", Action::Read)).await,
        Outcome::Unauthenticated
    );
}
}

on_both_stores! {
async fn an_imported_password_hash_is_replaced_at_the_first_login(place: On) {
    let server = fixture(place, &[]).await;
    let imported = "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=".to_owned();
    server.store.set_password_hash(&actor(), "owner", imported.into()).await.unwrap();
    let min_revision = server.store.revision().await.unwrap();
    let login = || pb::AuthorizeRequest {
        min_revision,
        ..request(basic("owner", "correct horse"), vec![])
    };
    assert_eq!(server.request(login()).await.outcome(), Outcome::Allowed);
    use secrecy::ExposeSecret;
    let user = server.store.user("owner").await.unwrap().unwrap();
    assert!(user.password_hash.unwrap().expose_secret().starts_with("$argon2id$"));
    assert_eq!(server.request(login()).await.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn requirements_that_mean_nothing_are_refused_and_not_decided(place: On) {
    let server = fixture(place, &[]).await;
    let standing = |value| requirement(pb::requirement::Condition::Standing(value));
    let any = |items| requirement(pb::requirement::Condition::AnyOf(pb::Requirements { items }));
    let deep = (0..20).fold(standing(Standing::Authenticated.into()), |inner, _| any(vec![inner]));
    for malformed in [
        pb::Requirement::default(),
        standing(0),
        standing(99),
        any(vec![]),
        deep,
        ladder(vec![]),
        ladder(vec![pb::Rung::default()]),
        on(ResourceType::Unspecified, "1", Action::Read),
        on(ResourceType::Experiment, "1", Action::Unspecified),
        on(ResourceType::Experiment, "", Action::Read),
        on(ResourceType::Experiment, "01", Action::Read),
        of(pb::ReferenceKind::Unspecified, "1", Action::Read),
    ] {
        for user in ["root", "owner"] {
            let request = request(basic(user, PASSWORD), vec![malformed.clone()]);
            let status = server.client.clone().authorize(request).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{malformed:?}");
        }
    }
}
}

on_both_stores! {
async fn a_call_without_the_shared_token_is_refused(place: On) {
    // The field has no flag, so that it is not seen in the list of processes.
    let server = fixture(place, &[("shared_token", "0123456789abcdef0123456789abcdef")]).await;
    let call = request(basic("owner", PASSWORD), vec![]);
    let status = server.client.clone().authorize(call.clone()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    let mut with = tonic::Request::new(call);
    let token = "Bearer 0123456789abcdef0123456789abcdef".parse().unwrap();
    with.metadata_mut().insert("authorization", token);
    let answer = server.client.clone().authorize(with).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn a_password_under_a_reserved_prefix_logs_nobody_in(place: On) {
    let server = fixture(place, &[]).await;
    let hash = mlgate_policy_server::credentials::hash_new(PASSWORD).unwrap();
    let new = NewUser::with_password_hash("idp|carol", hash.into());
    server.store.create_user(&actor(), &new).await.unwrap();
    server.grant("idp|carol", Domain::Experiment, "1", Level::Read).await;
    let read = || experiment("1", Action::Read);
    assert_eq!(server.outcome("idp|carol", read()).await, Outcome::Allowed);
    let setting = "reserved_username_prefixes";
    server.store.set_setting(&actor(), setting, "idp|").await.unwrap();
    assert_eq!(server.outcome("idp|carol", read()).await, Outcome::Unauthenticated);
    // The name is now the identity provider's user's, with what was granted to it.
    let identity = pb::VerifiedIdentity {
        username: "idp|carol".to_owned(),
        expires_at: 1 << 40,
        ..Default::default()
    };
    let verified = pb::Subject { kind: Some(pb::subject::Kind::Verified(identity)) };
    let answer = server.request(request(verified, vec![read()])).await;
    assert_eq!(answer.outcome(), Outcome::Allowed);
}
}

on_both_stores! {
async fn nobody_is_created_under_a_reserved_prefix_over_the_api(place: On) {
    let server = fixture(place, &[("reserved_username_prefixes", "idp|")]).await;
    for (username, status) in [("idp|eve", 400), ("eve", 200)] {
        let body = serde_json::json!({ "username": username, "password": PASSWORD });
        let call = pb::AdministerRequest {
            subject: Some(basic("root", PASSWORD)),
            method: "POST".to_owned(),
            path: "/api/2.0/mlflow/users/create".to_owned(),
            content_type: "application/json".to_owned(),
            body: body.to_string().into_bytes(),
            ..Default::default()
        };
        let answer = server.client.clone().administer(call).await.unwrap().into_inner();
        assert_eq!(answer.status, status, "{username}");
    }
    assert!(server.store.user("idp|eve").await.unwrap().is_none());
}
}

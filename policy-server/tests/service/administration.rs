//! MLflow's user API through the service, and the standard services beside it.

use mlgate_policy_server::contract as pb;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::on_both_stores;
use crate::support::*;

async fn call(server: &Fixture, subject: pb::Subject) -> pb::AdministerResponse {
    let request = pb::AdministerRequest {
        subject: Some(subject),
        method: "GET".to_owned(),
        path: "/api/2.0/mlflow/users/current".to_owned(),
        ..Default::default()
    };
    server.client.clone().administer(request).await.unwrap().into_inner()
}

on_both_stores! {
async fn the_current_user_is_who_authenticated(place: On) {
    let server = fixture(place, &[]).await;
    let response = call(&server, basic("reader", PASSWORD)).await;
    assert_eq!(response.status, 200);
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["user"]["username"], "reader");
}
}

on_both_stores! {
async fn nobody_is_asked_for_a_password_by_the_browser(place: On) {
    let server = fixture(place, &[]).await;
    let response = call(&server, basic("reader", "wrong")).await;
    assert_eq!(response.status, 401);
    let asks = response.headers.iter().any(|header| {
        header.name == "www-authenticate" && header.value == "Basic realm=\"mlflow\""
    });
    assert!(asks, "{:?}", response.headers);
}
}

on_both_stores! {
async fn a_demoted_administrator_is_none_at_any_other_server_at_once(place: On) {
    let server = fixture(place, &[]).await;
    let (_, other, _running) = server.beside().await;
    let body = serde_json::json!({ "username": "root", "is_admin": true });
    let readmit = || pb::AdministerRequest {
        subject: Some(basic("root", PASSWORD)),
        method: "PATCH".to_owned(),
        path: "/api/2.0/mlflow/users/update-admin".to_owned(),
        content_type: "application/json".to_owned(),
        body: body.to_string().into_bytes(),
        ..Default::default()
    };
    // The other server hears of changes by polling, so that some of these come before it does.
    for _ in 0..20 {
        server.store.set_admin(&actor(), "root", true).await.unwrap();
        let known = other.clone().administer(readmit()).await.unwrap().into_inner();
        assert_eq!(known.status, 200);
        server.store.set_admin(&actor(), "root", false).await.unwrap();
        let refused = other.clone().administer(readmit()).await.unwrap().into_inner();
        assert_eq!(refused.status, 403, "{}", String::from_utf8_lossy(&refused.body));
        assert!(!server.store.user("root").await.unwrap().unwrap().is_admin);
    }
}
}

on_both_stores! {
async fn health_is_served(place: On) {
    let server = fixture(place, &[]).await;
    let mut health = HealthClient::new(server.channel.clone());
    for service in ["", "mlgate.policy.v1.Policy"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
    }
}
}

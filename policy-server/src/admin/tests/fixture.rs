//! A policy with a few people in it, and calls as they make them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::{AdminContext, AdminRequest, AdminResponse, Caller, Means, handle};
use crate::credentials::{Verifier, VerifierConfig, hash_new};
use crate::domain::{DEFAULT_WORKSPACE, Level, Pattern, ResourceType};
use crate::policy::EVERYTHING;
use crate::store::{Actor, Channel, IfExists, NewUser, Settings, Store};

pub const ADMIN_PASSWORD: &str = "correct-horse-battery";

/// `admin` is a super admin; `wanda` administers the workspace `default`; `alice` and `bob` may
/// do nothing.
pub struct World {
    pub context: AdminContext,
    _directory: tempfile::TempDir,
}

/// An answer, with its body read.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub body: Value,
    pub response: AdminResponse,
}

impl Told {
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub fn error_code(&self) -> &str {
        self.body["error_code"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:?}", self.body);
        self.body
    }
}

fn actor() -> Actor {
    Actor::new("test", Channel::Bootstrap)
}

impl World {
    /// With an administrator and nobody else.
    pub async fn bare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("policy.db").display());
        let store = Store::connect(&url).await.unwrap();
        let hash = hash_new(ADMIN_PASSWORD).unwrap();
        store.create_first_admin(&actor(), "admin", hash.into()).await.unwrap();
        let verifier = Arc::new(Verifier::new(VerifierConfig::default()));
        Self { context: AdminContext { store, verifier }, _directory: directory }
    }

    pub async fn new() -> Self {
        let world = Self::bare().await;
        for name in ["alice", "bob", "wanda"] {
            world.store().create_user(&actor(), &NewUser::service_account(name)).await.unwrap();
        }
        world.grant("wanda", ResourceType::Workspace, "*", Level::Manage).await;
        world
    }

    pub fn store(&self) -> &Store {
        &self.context.store
    }

    pub async fn with_workspaces(self) -> Self {
        let settings = Settings { workspaces: true, ..self.store().settings().await.unwrap() };
        for (name, value) in settings.entries() {
            self.store().set_setting(&actor(), name, &value).await.unwrap();
        }
        self
    }

    pub async fn grant(&self, user: &str, resource: ResourceType, id: &str, level: Level) {
        self.grant_in(DEFAULT_WORKSPACE, user, resource, id, level).await;
    }

    pub async fn grant_in(
        &self,
        workspace: &str,
        user: &str,
        resource: ResourceType,
        id: &str,
        level: Level,
    ) {
        let pattern = Pattern::literal(id);
        let replace = IfExists::Replace;
        self.store()
            .grant(&actor(), user, workspace, resource, &pattern, level, replace)
            .await
            .unwrap();
    }

    /// A role, with its id.
    pub async fn role(&self, workspace: &str, name: &str) -> i64 {
        self.store().create_role(&actor(), workspace, name, None).await.unwrap().value.id.0
    }

    pub async fn assign(&self, user: &str, role: i64) {
        let role = crate::store::RoleId(role);
        self.store().assign_role(&actor(), user, role).await.unwrap();
    }

    pub async fn disable(&self, user: &str) {
        self.store().set_disabled(&actor(), user, true).await.unwrap();
    }

    pub async fn caller(&self, name: &str) -> Caller {
        let user = self.store().user(name).await.unwrap();
        Caller {
            username: name.to_owned(),
            super_admin: user.is_some_and(|user| user.is_admin),
            groups: Vec::new(),
            means: Means::Password,
            reach: EVERYTHING.clone(),
        }
    }

    /// A call with parameters where the method has them: GET in the query, else in the body.
    pub async fn call(&self, who: &str, call: &str, parameters: Value) -> Told {
        let caller = self.caller(who).await;
        self.send(&caller, request(call, parameters)).await
    }

    pub async fn call_in(&self, workspace: &str, who: &str, call: &str, with: Value) -> Told {
        let caller = self.caller(who).await;
        let request = AdminRequest { workspace: workspace.to_owned(), ..request(call, with) };
        self.send(&caller, request).await
    }

    pub async fn send(&self, caller: &Caller, request: AdminRequest) -> Told {
        let response = handle(&self.context, caller, &request).await;
        let body = serde_json::from_slice(&response.body)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&response.body)));
        Told { status: response.status, body, response }
    }
}

pub fn request(call: &str, parameters: Value) -> AdminRequest {
    let (method, path) = call.split_once(' ').unwrap();
    let mut request = AdminRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: Vec::new(),
        content_type: String::new(),
        body: Vec::new(),
        workspace: String::new(),
    };
    if method == "GET" {
        let fields = parameters.as_object().unwrap().iter();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        request.query = fields.map(|(name, value)| (name.clone(), text(value))).collect();
    } else {
        request.content_type = "application/json".to_owned();
        request.body = parameters.to_string().into_bytes();
    }
    request
}

//! The per-resource calls that MLflow had before 3.14, and the arrays in `users/get` that its
//! clients of that age insist on. They work on the same rows as the per-user calls.
//!
//! Source: MLflow 2.22.1 and 3.12.0 `mlflow.server.auth`. NO_PERMISSIONS was then the explicit
//! refusal that DENY is now, so it is stored as DENY, and DENY is shown as NO_PERMISSIONS.

use serde_json::{Map, Value, json};

use super::answer::{AdminResponse, Answer, Refusal};
use super::users::unless_missing;
use super::{Context, words};
use crate::domain::{Level, Pattern, ResourceType};
use crate::store::{Committed, Entity, IfExists, RolePermission, StoreError, UserId};

/// A collection of per-resource permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Experiment,
    RegisteredModel,
    Scorer,
    GatewaySecret,
    GatewayEndpoint,
    GatewayModelDefinition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Get,
    Update,
    Delete,
}

impl Family {
    const fn resource(self) -> ResourceType {
        match self {
            Self::Experiment => ResourceType::Experiment,
            Self::RegisteredModel => ResourceType::RegisteredModel,
            Self::Scorer => ResourceType::Scorer,
            Self::GatewaySecret => ResourceType::GatewaySecret,
            Self::GatewayEndpoint => ResourceType::GatewayEndpoint,
            Self::GatewayModelDefinition => ResourceType::GatewayModelDefinition,
        }
    }

    /// The field of the response that holds the permission.
    const fn entity(self) -> &'static str {
        match self {
            Self::Experiment => "experiment_permission",
            Self::RegisteredModel => "registered_model_permission",
            Self::Scorer => "scorer_permission",
            Self::GatewaySecret => "gateway_secret_permission",
            Self::GatewayEndpoint => "gateway_endpoint_permission",
            Self::GatewayModelDefinition => "gateway_model_definition_permission",
        }
    }

    /// As messages begin.
    const fn title(self) -> &'static str {
        match self {
            Self::Experiment => "Experiment",
            Self::RegisteredModel => "Registered model",
            Self::Scorer => "Scorer",
            Self::GatewaySecret => "Gateway secret",
            Self::GatewayEndpoint => "Gateway endpoint",
            Self::GatewayModelDefinition => "Gateway model definition",
        }
    }

    /// The parameters that name the resource.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Experiment => &["experiment_id"],
            Self::RegisteredModel => &["name"],
            Self::Scorer => &["experiment_id", "scorer_name"],
            Self::GatewaySecret => &["secret_id"],
            Self::GatewayEndpoint => &["endpoint_id"],
            Self::GatewayModelDefinition => &["model_definition_id"],
        }
    }
}

/// The resource that a call names.
struct Named<'c> {
    family: Family,
    values: Vec<&'c str>,
    workspace: &'c str,
}

impl Named<'_> {
    /// As grants spell it.
    fn id(&self) -> String {
        match self.values.as_slice() {
            [experiment_id, name] => words::scorer_id(experiment_id, name),
            values => values.concat(),
        }
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let values = self.values.iter().map(|value| (*value).to_owned());
        self.family.keys().iter().copied().zip(values).collect()
    }

    /// `experiment_id=1, username=bob` and its like, with the family's own punctuation.
    fn described(&self, username: &str, joiner: &str) -> String {
        let mut parts: Vec<_> =
            self.pairs().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        if self.family == Family::RegisteredModel {
            parts.insert(0, format!("workspace={}", self.workspace));
        }
        format!("{}{joiner}username={username}", parts.join(", "))
    }

    fn exists(&self, username: &str) -> Refusal {
        let title = self.family.title();
        Refusal::exists(match self.family {
            Family::RegisteredModel => format!(
                "{title} permission with {} already exists.",
                self.described(username, " and ")
            ),
            _ => format!("{title} permission ({}) already exists.", self.described(username, ", ")),
        })
    }

    fn missing(&self, username: &str) -> Refusal {
        let joiner = if self.family == Family::Scorer { ", and " } else { " and " };
        Refusal::missing(format!(
            "{} permission with {} not found",
            self.family.title(),
            self.described(username, joiner)
        ))
    }

    fn shape(&self, user_id: UserId, level: Level) -> Value {
        let mut row = permission_row(self.pairs(), user_id, level);
        if self.family == Family::RegisteredModel {
            row["workspace"] = json!(self.workspace);
        }
        row
    }
}

impl Context<'_> {
    pub(super) async fn legacy(&self, family: Family, operation: Operation) -> Answer {
        let keys = family.keys().iter();
        let values = keys.map(|key| self.params.text(key)).collect::<Result<Vec<_>, _>>()?;
        let named = Named { family, values, workspace: self.workspace };
        self.require_manage(family.resource(), &named.id())?;
        let username = self.required_username()?;
        match operation {
            Operation::Get => {
                let (user_id, found) = self.legacy_row(&named, username).await?;
                let row = named.shape(user_id, found.level);
                Ok(AdminResponse::json(&json!({ family.entity(): row })))
            }
            Operation::Create => {
                let level = self.legacy_level(family)?;
                let user = self.user_named(username).await?;
                let created = self.legacy_create(&named, username, level).await?;
                let row = named.shape(user.id, level);
                Ok(AdminResponse::json(&json!({ family.entity(): row })).at(created.revision))
            }
            Operation::Update => {
                let level = self.legacy_level(family)?;
                let (_, found) = self.legacy_row(&named, username).await?;
                // By its id: what is revoked meanwhile stays revoked.
                let updated = self.store.update_role_permission(&self.actor, found.id, level).await;
                let updated = updated.map_err(|error| match error {
                    StoreError::NotFound { .. } => named.missing(username),
                    other => other.into(),
                })?;
                Ok(AdminResponse::done(updated.revision))
            }
            Operation::Delete => {
                let pattern = Pattern::Exact(named.id());
                let resource = family.resource();
                let deleted = self
                    .store
                    .revoke(&self.actor, username, self.workspace, resource, &pattern)
                    .await
                    .map_err(|error| match error {
                        StoreError::NotFound { entity: Entity::UserPermission, .. } => {
                            named.missing(username)
                        }
                        other => unless_missing(other, username),
                    })?;
                Ok(AdminResponse::done(deleted.revision))
            }
        }
    }

    async fn legacy_create(
        &self,
        named: &Named<'_>,
        username: &str,
        level: Level,
    ) -> Result<Committed<RolePermission>, Refusal> {
        let pattern = Pattern::Exact(named.id());
        let resource = named.family.resource();
        let granted = self
            .store
            .grant(
                &self.actor,
                username,
                self.workspace,
                resource,
                &pattern,
                level,
                IfExists::Refuse,
            )
            .await;
        granted.map_err(|error| match error {
            StoreError::AlreadyExists { .. } => named.exists(username),
            other => unless_missing(other, username),
        })
    }

    async fn legacy_row(
        &self,
        named: &Named<'_>,
        username: &str,
    ) -> Result<(UserId, RolePermission), Refusal> {
        let user = self.user_named(username).await?;
        let pattern = Pattern::Exact(named.id());
        let own = self.store.own_permissions(username).await;
        let own = own.map_err(|error| unless_missing(error, username))?;
        own.into_iter()
            .filter(|(workspace, _)| workspace == self.workspace)
            .map(|(_, row)| row)
            .find(|row| row.resource == named.family.resource() && row.pattern == pattern)
            .map(|row| (user.id, row))
            .ok_or_else(|| named.missing(username))
    }

    fn legacy_level(&self, family: Family) -> Result<Level, Refusal> {
        match words::level(self.params.text("permission")?)? {
            Level::NoPermissions => Ok(Level::Deny),
            level => words::grantable(level, family.resource()).map(|()| level),
        }
    }
}

/// Adds the user's own permissions by family, as `users/get` told them before MLflow 3.14.
pub(super) fn add_arrays(
    user: &mut Value,
    user_id: UserId,
    own: &[(String, RolePermission)],
    workspace: &str,
) {
    for family in [Family::Experiment, Family::RegisteredModel, Family::Scorer] {
        let rows: Vec<_> = own
            .iter()
            .filter(|(_, row)| row.resource == family.resource())
            // Experiment ids are unique; names are so in their workspace only.
            .filter(|(of, _)| family != Family::RegisteredModel || of == workspace)
            .map(|(of, row)| legacy_shape(family, user_id, of, row))
            .collect();
        user[format!("{}s", family.entity())] = Value::Array(rows);
    }
}

fn legacy_shape(family: Family, user_id: UserId, workspace: &str, row: &RolePermission) -> Value {
    let id = row.pattern.as_str();
    let (experiment_id, scorer);
    let values = match family {
        Family::Scorer => {
            (experiment_id, scorer) = words::scorer_of_id(id);
            vec![experiment_id.as_str(), scorer.as_str()]
        }
        _ => vec![id],
    };
    Named { family, values, workspace }.shape(user_id, row.level)
}

fn permission_row(pairs: Vec<(&str, String)>, user_id: UserId, level: Level) -> Value {
    let shown = if level == Level::Deny { Level::NoPermissions } else { level };
    let mut row: Map<String, Value> =
        pairs.into_iter().map(|(key, value)| (key.to_owned(), Value::String(value))).collect();
    row.insert("user_id".to_owned(), json!(user_id));
    row.insert("permission".to_owned(), json!(shown.as_str()));
    Value::Object(row)
}

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
use crate::store::{IfExists, RolePermission, StoreError, UserId};

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

    /// The types of grants that a permission of this family is about. MLflow had no prompts then,
    /// only models; a name is one of the two, so that it is given and refused for both.
    const fn resources(self) -> &'static [ResourceType] {
        match self {
            Self::Experiment => &[ResourceType::Experiment],
            Self::RegisteredModel => &[ResourceType::RegisteredModel, ResourceType::Prompt],
            Self::Scorer => &[ResourceType::Scorer],
            Self::GatewaySecret => &[ResourceType::GatewaySecret],
            Self::GatewayEndpoint => &[ResourceType::GatewayEndpoint],
            Self::GatewayModelDefinition => &[ResourceType::GatewayModelDefinition],
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
        let managed = self.legacy_managed(&named)?;
        let username = self.required_username()?;
        match operation {
            Operation::Get => {
                let (user_id, rows) = self.legacy_rows(&named, &managed, username).await?;
                let denied = rows.iter().any(|row| row.level == Level::Deny);
                let level = rows.first().map(|row| row.level);
                let level = if denied { Some(Level::Deny) } else { level };
                let level = level.ok_or_else(|| named.missing(username))?;
                Ok(AdminResponse::json(&json!({ family.entity(): named.shape(user_id, level) })))
            }
            Operation::Create => {
                let level = self.legacy_level(family)?;
                let (user_id, rows) = self.legacy_found(&named, &managed, username).await?;
                if !rows.is_empty() {
                    return Err(named.exists(username));
                }
                let mut revision = 0;
                for &resource in &managed {
                    revision = self.legacy_create(&named, resource, username, level).await?;
                }
                let row = named.shape(user_id, level);
                Ok(AdminResponse::json(&json!({ family.entity(): row })).at(revision))
            }
            Operation::Update => self.legacy_update(&named, &managed, username).await,
            Operation::Delete => {
                let (_, rows) = self.legacy_rows(&named, &managed, username).await?;
                let mut revision = 0;
                for row in rows {
                    let removed = self.store.remove_role_permission(&self.actor, row.id).await;
                    revision = removed.map_err(|error| gone(error, &named, username))?.revision;
                }
                Ok(AdminResponse::done(revision))
            }
        }
    }

    /// The types of grants that the call is about, as far as the caller manages the object in
    /// them: a name is a model's or a prompt's, and who manages the one may not be who manages
    /// the other.
    fn legacy_managed(&self, named: &Named<'_>) -> Result<Vec<ResourceType>, Refusal> {
        let id = named.id();
        let managed = named.family.resources().iter().copied();
        let managed: Vec<_> =
            managed.filter(|resource| self.require_manage(*resource, &id).is_ok()).collect();
        if managed.is_empty() { Err(Refusal::denied()) } else { Ok(managed) }
    }

    async fn legacy_update(
        &self,
        named: &Named<'_>,
        managed: &[ResourceType],
        username: &str,
    ) -> Answer {
        let level = self.legacy_level(named.family)?;
        let (_, rows) = self.legacy_rows(named, managed, username).await?;
        let mut revision = 0;
        for &resource in managed {
            let row = rows.iter().find(|row| row.resource == resource);
            // A refusal must hold whatever has the name; a permission stays where it was given.
            revision = match row {
                // By its id: what is revoked meanwhile stays revoked.
                Some(row) => {
                    let updated = self.store.update_role_permission(&self.actor, row.id, level);
                    updated.await.map_err(|error| gone(error, named, username))?.revision
                }
                None if level == Level::Deny => {
                    self.legacy_create(named, resource, username, level).await?
                }
                None => continue,
            };
        }
        Ok(AdminResponse::done(revision))
    }

    /// Grants it, and tells the revision at which it holds.
    async fn legacy_create(
        &self,
        named: &Named<'_>,
        resource: ResourceType,
        username: &str,
        level: Level,
    ) -> Result<u64, Refusal> {
        let pattern = Pattern::Exact(named.id());
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
        let granted = granted.map_err(|error| match error {
            StoreError::AlreadyExists { .. } => named.exists(username),
            other => unless_missing(other, username),
        })?;
        Ok(granted.revision)
    }

    /// The user, and their own permissions of these types on the object; there may be none.
    async fn legacy_found(
        &self,
        named: &Named<'_>,
        managed: &[ResourceType],
        username: &str,
    ) -> Result<(UserId, Vec<RolePermission>), Refusal> {
        let user = self.user_named(username).await?;
        let pattern = Pattern::Exact(named.id());
        let own = self.store.own_permissions(username).await;
        let own = own.map_err(|error| unless_missing(error, username))?.into_iter();
        let here = own.filter(|(workspace, _)| workspace == self.workspace).map(|(_, row)| row);
        let rows = here.filter(|row| managed.contains(&row.resource) && row.pattern == pattern);
        Ok((user.id, rows.collect()))
    }

    async fn legacy_rows(
        &self,
        named: &Named<'_>,
        managed: &[ResourceType],
        username: &str,
    ) -> Result<(UserId, Vec<RolePermission>), Refusal> {
        let (user_id, rows) = self.legacy_found(named, managed, username).await?;
        if rows.is_empty() { Err(named.missing(username)) } else { Ok((user_id, rows)) }
    }

    fn legacy_level(&self, family: Family) -> Result<Level, Refusal> {
        match words::level(self.params.text("permission")?)? {
            Level::NoPermissions => Ok(Level::Deny),
            level => words::grantable(level, family.resource()).map(|()| level),
        }
    }
}

fn gone(error: StoreError, named: &Named<'_>, username: &str) -> Refusal {
    match error {
        StoreError::NotFound { .. } => named.missing(username),
        other => other.into(),
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
            .filter(|(_, row)| family.resources().contains(&row.resource))
            // What is given for a model and a prompt of the name is one permission.
            .filter(|(of, row)| {
                row.resource == family.resource()
                    || !own.iter().any(|(other, its)| {
                        other == of
                            && its.resource == family.resource()
                            && its.pattern == row.pattern
                    })
            })
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

//! MLflow's words for what can be granted, and its messages for what can not.
//!
//! Source: MLflow 3.17.2 `mlflow.server.auth.permissions`. The checks are those of
//! [`crate::domain::validate_grant`]; here they speak to MLflow's clients.

use super::answer::Refusal;
use super::params::python_repr_of_text;
use crate::credentials::hash::MAX_PASSWORD_BYTES;
use crate::domain::{Level, Pattern, ResourceType, check_new_password, skill_of_id};

/// Held for the hidden roles that carry one user's own grants.
const RESERVED_ROLE_PREFIX: &str = "__user_";

pub(super) fn level(text: &str) -> Result<Level, Refusal> {
    text.parse().map_err(|_| {
        Refusal::invalid(format!(
            "Invalid permission '{text}'. Valid permissions are: ('READ', 'USE', 'EDIT', \
             'MANAGE', 'NO_PERMISSIONS', 'DENY')"
        ))
    })
}

pub(super) fn resource_type(text: &str) -> Result<ResourceType, Refusal> {
    text.parse().map_err(|_| {
        let mut known: Vec<_> = ResourceType::ALL.iter().map(|known| known.as_str()).collect();
        known.sort_unstable();
        Refusal::invalid(format!(
            "Invalid resource type '{text}'. Valid resource types are: ('{}')",
            known.join("', '")
        ))
    })
}

/// `_validate_permission_for_resource_type`, for a level and a type that exist.
pub(super) fn grantable(level: Level, resource: ResourceType) -> Result<(), Refusal> {
    let (accepted, scope, listed) = match resource {
        ResourceType::Workspace => {
            (matches!(level, Level::Use | Level::Manage), "Workspace-wide", "('MANAGE', 'USE')")
        }
        // 3.18; nothing is done with a skill that USE would permit and READ not.
        ResourceType::Skill => (
            !matches!(level, Level::NoPermissions | Level::Use),
            "Skill Registry",
            "('DENY', 'EDIT', 'MANAGE', 'READ')",
        ),
        _ => (
            level != Level::NoPermissions,
            "Resource-level",
            "('DENY', 'EDIT', 'MANAGE', 'READ', 'USE')",
        ),
    };
    if accepted {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "Invalid permission '{level}' for resource_type='{resource}'. {scope} grants accept \
         only: {listed}."
    )))
}

/// `_validate_resource_pattern`.
pub(super) fn grain(pattern: &Pattern, resource: ResourceType) -> Result<(), Refusal> {
    if resource.wildcard_only() && *pattern != Pattern::Every {
        return Err(Refusal::invalid(format!(
            "Invalid resource_pattern '{pattern}' for resource_type='{resource}'. This resource \
             type supports only wildcard ('*') grants."
        )));
    }
    match pattern {
        Pattern::Exact(id) if resource == ResourceType::Skill => skill_id(id),
        _ => Ok(()),
    }
}

fn skill_id(id: &str) -> Result<(), Refusal> {
    skill_of_id(id).map(drop).ok_or_else(|| {
        Refusal::invalid(
            "Invalid Skill Registry resource_id. Expected 'name' or '@organization/name'.",
        )
    })
}

/// The per-user calls have no say over workspaces.
pub(super) fn not_a_workspace(resource_type: &str) -> Result<(), Refusal> {
    if resource_type == ResourceType::Workspace.as_str() {
        return Err(Refusal::invalid(
            "resource_type 'workspace' is not supported by the per-user permission convenience \
             APIs. Use set_workspace_permission / delete_workspace_permission for workspace-wide \
             grants.",
        ));
    }
    Ok(())
}

/// Whether one object of the type can be asked about and delegated through the per-user calls;
/// prompts and sub-resources can not (MLflow: `_resource_dispatch_keys`).
pub(super) fn addressable(resource: ResourceType, id: &str) -> Result<(), Refusal> {
    match resource {
        ResourceType::Scorer if !id.contains('/') => Err(Refusal::invalid(
            "Invalid scorer resource_id. Expected '<experiment_id>/<scorer_name>'.",
        )),
        ResourceType::Skill => skill_id(id),
        ResourceType::Experiment
        | ResourceType::RegisteredModel
        | ResourceType::Scorer
        | ResourceType::GatewaySecret
        | ResourceType::GatewayEndpoint
        | ResourceType::GatewayModelDefinition
        | ResourceType::McpServer => Ok(()),
        _ => Err(Refusal::invalid(format!(
            "resource_type '{resource}' is not supported by the per-user permission convenience \
             APIs."
        ))),
    }
}

pub(super) fn password(password: &str) -> Result<(), Refusal> {
    check_new_password(password).map_err(|weak| Refusal::invalid(weak.to_string()))?;
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Refusal::invalid(format!(
            "Password must be at most {MAX_PASSWORD_BYTES} bytes."
        )));
    }
    Ok(())
}

pub(super) fn role_name(name: &str) -> Result<(), Refusal> {
    if name.starts_with(RESERVED_ROLE_PREFIX) {
        return Err(Refusal::invalid(format!(
            "Role name {} uses the reserved '{RESERVED_ROLE_PREFIX}' prefix, which is held for \
             the per-user permission representation. Choose a different name.",
            python_repr_of_text(name)
        )));
    }
    Ok(())
}

/// A scorer's id in grants: Python's `f"{experiment_id}/{quote(name, safe='')}"`.
pub(super) fn scorer_id(experiment_id: &str, name: &str) -> String {
    let mut id = format!("{experiment_id}/");
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                id.push(char::from(byte));
            }
            _ => id.push_str(&format!("%{byte:02X}")),
        }
    }
    id
}

/// The experiment and the name of a scorer's id; Python's `unquote` of the name.
pub(super) fn scorer_of_id(id: &str) -> (String, String) {
    let (experiment_id, quoted) = id.split_once('/').unwrap_or((id, ""));
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
            u8::from_str_radix(digits, 16).ok()
        });
        name.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    (experiment_id.to_owned(), String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_counted_in_characters_and_bounded_in_bytes() {
        assert!(password("elevenchars").is_err());
        assert!(password("zwölfZeichen").is_ok());
        assert!(password("ääääääääääääää").is_ok());
        assert!(password("äääääää").is_err());
        assert!(password("password1234").is_err());
        assert!(password(&"x".repeat(1024)).is_ok());
        assert!(password(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn a_skill_takes_the_levels_and_ids_that_mlflow_3_18_takes() {
        let grain = |id: &str| grain(&Pattern::literal(id), ResourceType::Skill).is_ok();
        assert!(grain("*") && grain("reviewer") && grain("@acme/reviewer"));
        assert!(!grain("acme/reviewer") && !grain("@acme") && !grain("@acme/a/b"));
        assert!(addressable(ResourceType::Skill, "@acme/reviewer").is_ok());
        assert!(addressable(ResourceType::Skill, "@acme").is_err());
        for level in [Level::Read, Level::Edit, Level::Manage, Level::Deny] {
            assert!(grantable(level, ResourceType::Skill).is_ok(), "{level}");
        }
        assert!(grantable(Level::Use, ResourceType::Skill).is_err());
    }

    #[test]
    fn a_scorers_name_is_quoted_as_python_does_and_back() {
        for (name, id) in [
            ("plain_name-1.0~", "7/plain_name-1.0~"),
            ("a/b c", "7/a%2Fb%20c"),
            ("100%", "7/100%25"),
            ("größe", "7/gr%C3%B6%C3%9Fe"),
        ] {
            assert_eq!(scorer_id("7", name), id);
            assert_eq!(scorer_of_id(id), ("7".to_owned(), name.to_owned()));
        }
        assert_eq!(scorer_of_id("7/50%"), ("7".to_owned(), "50%".to_owned()));
        assert_eq!(scorer_of_id("7/%+1x"), ("7".to_owned(), "%+1x".to_owned()));
    }
}

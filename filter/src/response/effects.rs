//! What a successful response makes durable: who now manages or owns what (semantics §11).

use super::judge::is_prompt;
use super::{ResponseError, path};
use crate::contract as pb;
use crate::operation::{Effect, EffectId, Path};
use crate::requirement::{Reference, ResourceType};
use crate::surface::json::{self, Object, Value};

/// Longest id or name that is recorded, in bytes; MLflow's columns hold 256 characters.
const MAX_ID: usize = 2048;

/// Which part of a response recording needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    Nothing,
    /// The status: everything is known from the request.
    Status,
    /// The body too.
    Body,
}

/// What recording the effects needs.
pub fn recording(effects: &[Effect]) -> Recording {
    let from_body = |effect: &Effect| match effect {
        Effect::Created { resource, id, .. } => {
            *resource == ResourceType::ModelOrPrompt || matches!(id, EffectId::Response(_))
        }
        Effect::Owned { id, .. } => matches!(id, EffectId::Response(_)),
        Effect::Deleted { .. } | Effect::Renamed { .. } => false,
    };
    if effects.is_empty() {
        Recording::Nothing
    } else if effects.iter().any(from_body) {
        Recording::Body
    } else {
        Recording::Status
    }
}

/// The effects to record. `body` is MLflow's, before anything was cut; it is not looked at where
/// [`recording`] says so. An id that cannot be had is an error: the object then exists without an
/// owner, and the client must be told.
pub fn effects(effects: &[Effect], body: &[u8]) -> Result<Vec<pb::Effect>, ResponseError> {
    let response = match recording(effects) {
        Recording::Body => json::read_object(body).map_err(|_| ResponseError::Malformed)?,
        Recording::Nothing | Recording::Status => Object::default(),
    };
    effects.iter().map(|effect| one(effect, &response)).collect()
}

fn one(effect: &Effect, response: &Object) -> Result<pb::Effect, ResponseError> {
    use pb::effect::Kind;
    let kind = match effect {
        Effect::Created { resource, id, .. } => Kind::Created(pb::Created {
            r#type: created_type(*resource, id, response)?.into(),
            id: id_of(id, response)?,
        }),
        Effect::Deleted { resource, id } => {
            Kind::Deleted(pb::Deleted { r#type: (*resource).into(), id: id.clone() })
        }
        Effect::Renamed { resource, from, to } => Kind::Renamed(pb::Renamed {
            r#type: (*resource).into(),
            from: from.clone(),
            to: to.clone(),
        }),
        Effect::Owned { kind, id } => {
            let reference = Reference::new(*kind, id_of(id, response)?);
            Kind::Owned(pb::Reference::from(&reference))
        }
    };
    Ok(pb::Effect { kind: Some(kind) })
}

/// A grant on `*` would be one on everything (PD-12), so no object of that name is recorded.
fn id_of(id: &EffectId, response: &Object) -> Result<String, ResponseError> {
    let (found, at) = match id {
        EffectId::Known(id) => (Some(id.clone()), "the request".to_owned()),
        EffectId::Response(at) => (path::id(response, at), at.join(".")),
    };
    found
        .filter(|id| !id.is_empty() && id != "*" && id.len() <= MAX_ID)
        .ok_or(ResponseError::NoCreatedId { at })
}

/// A prompt is a registered model with a tag: the response says which was created.
fn created_type(
    resource: ResourceType,
    id: &EffectId,
    response: &Object,
) -> Result<ResourceType, ResponseError> {
    if resource != ResourceType::ModelOrPrompt {
        return Ok(resource);
    }
    let EffectId::Response(at) = id else {
        return Err(ResponseError::NoCreatedId { at: "registered_model".to_owned() });
    };
    let holder =
        holder(response, at).ok_or_else(|| ResponseError::NoCreatedId { at: at.join(".") })?;
    Ok(if is_prompt(holder) { ResourceType::Prompt } else { ResourceType::RegisteredModel })
}

fn holder(response: &Object, at: Path) -> Option<&Object> {
    match at.split_last()?.1 {
        [] => Some(response),
        path => path::get(response, path).and_then(Value::as_object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::ReferenceKind;
    use pb::effect::Kind;

    fn created(resource: ResourceType, at: Path) -> Vec<Effect> {
        vec![Effect::Created { resource, id: EffectId::Response(at), name: String::new() }]
    }

    fn recorded(of: &[Effect], body: &str) -> Result<(ResourceType, String), ResponseError> {
        let recorded = effects(of, body.as_bytes())?;
        match &recorded[..] {
            [pb::Effect { kind: Some(Kind::Created(created)) }] => {
                Ok((created.r#type(), created.id.clone()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_creator_of_an_experiment_manages_the_id_that_mlflow_gave() {
        let of = created(ResourceType::Experiment, &["experiment_id"]);
        assert_eq!(
            recorded(&of, r#"{"experiment_id": "12"}"#),
            Ok((ResourceType::Experiment, "12".to_owned()))
        );
    }

    #[test]
    fn a_registered_model_with_the_prompt_tag_is_recorded_as_a_prompt() {
        let of = created(ResourceType::ModelOrPrompt, &["registered_model", "name"]);
        let body = |tags: &str| format!(r#"{{"registered_model":{{"name":"m","tags":{tags}}}}}"#);
        let prompt = r#"[{"key":"mlflow.prompt.is_prompt","value":"True"}]"#;
        assert_eq!(recorded(&of, &body(prompt)), Ok((ResourceType::Prompt, "m".to_owned())));
        let no_prompt = r#"[{"key":"mlflow.prompt.is_prompt","value":"false"}]"#;
        for tags in ["[]", "null", no_prompt] {
            assert_eq!(
                recorded(&of, &body(tags)),
                Ok((ResourceType::RegisteredModel, "m".to_owned()))
            );
        }
    }

    #[test]
    fn a_creation_whose_id_cannot_be_had_is_an_error() {
        let of = created(ResourceType::GatewaySecret, &["secret", "secret_id"]);
        for body in [
            "{}",
            r#"{"secret":null}"#,
            r#"{"secret":{"secret_id":""}}"#,
            r#"{"secret":{"secret_id":"*"}}"#,
            r#"{"secret":{"secret_id":{}}}"#,
            "<html>",
            "",
        ] {
            assert!(recorded(&of, body).is_err(), "{body}");
        }
    }

    #[test]
    fn what_the_request_already_says_needs_no_body() {
        let deleted =
            vec![Effect::Deleted { resource: ResourceType::Scorer, id: "1/s".to_owned() }];
        assert_eq!(recording(&deleted), Recording::Status);
        assert_eq!(effects(&deleted, b"<html>").unwrap().len(), 1);
        assert_eq!(recording(&[]), Recording::Nothing);
    }

    #[test]
    fn the_submitter_of_a_job_owns_it() {
        let of =
            vec![Effect::Owned { kind: ReferenceKind::JobId, id: EffectId::Response(&["job_id"]) }];
        let recorded = effects(&of, br#"{"job_id":"j-1"}"#).unwrap();
        let Some(Kind::Owned(reference)) = &recorded[0].kind else { panic!("{recorded:?}") };
        assert_eq!((reference.kind(), reference.id.as_str()), (ReferenceKind::JobId, "j-1"));
    }
}

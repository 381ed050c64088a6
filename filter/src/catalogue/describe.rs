//! The catalogue in words, for `mlgate routes` and `mlgate explain`.

use std::fmt::Write as _;

use crate::operation::{BodyNeed, Effect, EffectId, Operation, RawHead, ResponseWork};
use crate::refusal::Refusal;
use crate::requirement::{Action, Key, Reference, Requirement, ResourceType, Rung, Standing};
use crate::surface::{Reading, SurfaceSettings, read_head};

use super::need::Need;
use super::route::{EffectSpec, Route};
use super::routes;

/// One line of the catalogue, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub method: &'static str,
    /// Before the path: `/api`, `/ajax-api`, or the root.
    pub prefixes: &'static [&'static str],
    pub path: &'static str,
    pub needs: Vec<String>,
    pub response: &'static str,
    pub effects: Vec<String>,
    pub note: &'static str,
}

/// The whole catalogue, in its order.
pub fn lines() -> impl Iterator<Item = Line> {
    routes().map(line)
}

fn line(route: &'static Route) -> Line {
    let scoped = route
        .scopes
        .iter()
        .map(|scope| format!("{} cut down to those that are readable", scope.field.name));
    let response = match (route.responding, route.response) {
        (Some(_), _) | (None, ResponseWork::Rewrite(_)) => "rows filtered",
        (None, ResponseWork::Redact(_)) => "fields redacted for DENY on tiers",
        (None, _) if route.graphed.is_some() => "rows filtered",
        (None, _) => "",
    };
    Line {
        method: route.method.as_str(),
        prefixes: route.mount.prefixes(),
        path: route.path,
        needs: route.needs.iter().map(need).chain(scoped).collect(),
        response,
        effects: route.effects.iter().map(spec).collect(),
        note: route.note,
    }
}

fn need(need: &Need) -> String {
    match *need {
        Need::Standing(standing) => standing_word(standing).to_owned(),
        Need::Administration => "answered by the policy server".to_owned(),
        Need::On { resource, action, id } => {
            format!("{}:{} on {}", word(resource), act(action), id.name)
        }
        Need::OnOwner { resource, action, id, .. } => {
            format!("{}:{} on the owner of {}", word(resource), act(action), id.name)
        }
        Need::Tier { tier, action, fallback, id, .. } => format!(
            "experiment:read and {}:{} (else experiment:{}) on the owner of {}",
            word(tier),
            act(action),
            act(fallback),
            id.name
        ),
        Need::TierOf { tier, action, fallback, experiment } => format!(
            "experiment:read and {}:{} (else experiment:{}) on {}",
            word(tier),
            act(action),
            act(fallback),
            experiment.name
        ),
        Need::NotDenied(resource) => format!("{} not denied", word(resource)),
        Need::Owned { id, .. } => format!("recorded creator of {}", id.name),
        Need::Rule(text, ..) => text.to_owned(),
    }
}

fn spec(spec: &EffectSpec) -> String {
    match *spec {
        EffectSpec::CreatedInResponse(resource, path) => {
            format!("the caller manages the {} in {}", word(resource), path.join("."))
        }
        EffectSpec::Created(resource, field) => {
            format!("the caller manages the {} in {}", word(resource), field.name)
        }
        EffectSpec::Deleted(resource, field) => {
            format!("grants on the {} in {} go", word(resource), field.name)
        }
        EffectSpec::Renamed(resource, from, to) => {
            format!("grants on the {} move from {} to {}", word(resource), from.name, to.name)
        }
        EffectSpec::Owned(_, path) => format!("the caller is recorded for {}", path.join(".")),
        EffectSpec::By(_) => "grants follow the object".to_owned(),
    }
}

/// What a request would need. Headers are those that select something, in lower case.
pub fn explain(
    settings: &SurfaceSettings,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<String, Refusal> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| (name.to_lowercase().into_bytes(), value.clone().into_bytes()))
        .collect();
    if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        all.push((b"content-type".to_vec(), b"application/json".to_vec()));
    }
    let head = RawHead {
        method: method.as_bytes(),
        path: target.as_bytes(),
        headers: &all,
        end_of_stream: body.is_none(),
    };
    Ok(match read_head(settings, head)? {
        Reading::OutOfScope => "outside of the gate: passed untouched".to_owned(),
        Reading::Public(passage) => format!("{}\npublic: no credential is needed", passage.route),
        Reading::Preflight(_) => "a CORS preflight: forwarded without a credential".to_owned(),
        Reading::Administer(call) => {
            let canonical = call.read(body)?;
            format!("{}\nanswered by the policy server\nbody: {} bytes", call.path, canonical.len())
        }
        Reading::Unknown(operation) => explained(&operation),
        Reading::Routed(routed) => {
            let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
            explained(&routed.read(body.filter(|_| whole))?)
        }
    })
}

fn explained(operation: &Operation) -> String {
    let mut out = format!("{}\nforwarded as {}\n", operation.route, operation.forward.path);
    for requirement in &operation.requirements {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "needs {}", formula(requirement));
    }
    for scope in &operation.scopes {
        let ids = if scope.every { "all".to_owned() } else { scope.ids.join(", ") };
        let _ = writeln!(out, "cut down to the readable of: {} {ids}", word(scope.resource));
    }
    for effect in &operation.effects {
        let _ = writeln!(out, "then {}", effected(effect));
    }
    out
}

fn formula(requirement: &Requirement) -> String {
    match requirement {
        Requirement::Ladder(rungs) => ladder(rungs, "default_permission"),
        Requirement::ExplicitLadder(rungs) => ladder(rungs, "no"),
        Requirement::Standing(standing) => standing_word(*standing).to_owned(),
        Requirement::Owned(reference) => format!("recorded creator of {}", named(reference)),
        Requirement::Assigned(reference) => format!("assignment to {}", named(reference)),
        Requirement::Floor(action) => format!("default_permission:{}", act(*action)),
        Requirement::Myself(name) => format!("to be {name}"),
        Requirement::Absent(reference) => format!("{} to be new", named(reference)),
        Requirement::Present(reference) => format!("{} to exist", named(reference)),
        Requirement::AnyOf(items) => joined(items, " or "),
        Requirement::AllOf(items) => joined(items, " and "),
    }
}

fn joined(items: &[Requirement], with: &str) -> String {
    format!("({})", items.iter().map(formula).collect::<Vec<_>>().join(with))
}

fn ladder(rungs: &[Rung], last: &str) -> String {
    let steps = rungs.iter().map(|rung| {
        let on = match &rung.key {
            Key::Id(id) => id.clone(),
            Key::OwnerOf(reference) => format!("the owner of {}", named(reference)),
            Key::Every => "*".to_owned(),
        };
        format!("{}:{} on {on}", word(rung.resource), act(rung.action))
    });
    format!("{}, else {last}", steps.collect::<Vec<_>>().join(", else "))
}

fn named(reference: &Reference) -> String {
    let kind = reference.kind.as_str_name().to_lowercase();
    match &reference.parent {
        Some(parent) => format!("{kind} {parent}/{}", reference.id),
        None => format!("{kind} {}", reference.id),
    }
}

fn effected(effect: &Effect) -> String {
    let place = |id: &EffectId| match id {
        EffectId::Known(id) => id.clone(),
        EffectId::Response(path) => format!("the response's {}", path.join(".")),
    };
    match effect {
        Effect::Created { resource, id } => {
            format!("the caller manages {} {}", word(*resource), place(id))
        }
        Effect::Deleted { resource, id } => format!("grants on {} {id} go", word(*resource)),
        Effect::Renamed { resource, from, to } => {
            format!("grants on {} {from} move to {to}", word(*resource))
        }
        Effect::Owned { id, .. } => format!("the caller is recorded for {}", place(id)),
    }
}

fn word(resource: ResourceType) -> String {
    resource.as_str_name().to_lowercase()
}

fn act(action: Action) -> String {
    action.as_str_name().to_lowercase()
}

fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Unspecified => "nothing that anybody has",
        Standing::Authenticated => "a login",
        Standing::SuperAdmin => "a super admin",
        Standing::WorkspaceAdmin => "an admin of the workspace",
        Standing::AnyWorkspaceAdmin => "an admin of any workspace",
        Standing::WorkspaceCreate => "the right to create in the workspace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_it_needs() {
        for line in lines() {
            assert!(!line.needs.is_empty(), "{} {}", line.method, line.path);
            assert!(line.needs.iter().all(|need| !need.is_empty()), "{}", line.path);
        }
        assert!(lines().count() > 250);
    }

    #[test]
    fn a_request_is_explained_with_its_ids() {
        let text = explain(
            &SurfaceSettings::default(),
            "POST",
            "/api/2.0/mlflow/experiments/update",
            &[],
            Some(br#"{"experiment_id":"7"}"#),
        )
        .unwrap();
        assert!(text.contains("experiment:update on 7, else default_permission"), "{text}");
    }

    #[test]
    fn a_refused_request_is_explained_by_its_refusal() {
        let settings = SurfaceSettings::default();
        let target = "/api/2.0/mlflow/experiments/get?experiment_id=07";
        assert!(explain(&settings, "GET", target, &[], None).is_err());
    }
}

//! `mlgate routes` and `mlgate explain`: what the filter's catalogue says.

use std::path::PathBuf;

use anyhow::bail;
use mlgate_filter::catalogue::{self, Route, need::Need};
use mlgate_filter::headers::Headers;
use mlgate_filter::operation::{BodyNeed, Operation, RawHead};
use mlgate_filter::refusal::Refusal;
use mlgate_filter::requirement::{Key, Reference, Requirement, Rung, Standing};
use mlgate_filter::surface::{Reading, SurfaceSettings, read_head};
use serde_json::{Value, json};

use super::output::Output;

pub(super) const ROUTES_HELP: &str = "\
UNDER is where MLflow mounts the route: /api for clients, /ajax-api for its web interface. A request
to any other route needs an administrator. All that is listed under NEEDS must hold; what one
particular request needs, with its ids, `mlgate explain` tells.";

pub(super) const EXPLAIN_HELP: &str = "\
Examples:
  mlgate explain GET '/api/2.0/mlflow/runs/get?run_id=0123456789abcdef0123456789abcdef'
  mlgate explain POST /api/2.0/mlflow/experiments/create --body '{\"name\": \"x\"}'
  mlgate explain --request-id 6f4d2c1e-… --log decisions.log --log envoy.log

prints, for the first,

  /2.0/mlflow/runs/get
    needs read on the experiment of run 0123456789abcdef0123456789abcdef
    needs read on run *, else read on the experiment of run 0123456789abcdef0123456789abcdef
    forwarded as /api/2.0/mlflow/runs/get?run_id=0123456789abcdef0123456789abcdef

All needs must hold. 'A, else B': a grant on A decides; where there is none, a grant on B; where
there is none either, default_permission. `mlgate check` asks what a user would get.

Nothing is sent anywhere. With --request-id it tells what the decision log has on that request;
x-request-id is in every answer's access log, and in MLflow's request. Else the answer holds for a
filter with the default path prefixes.";

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// GET, POST, PATCH, …
    #[arg(required_unless_present = "request_id", default_value = "", hide_default_value = true)]
    method: String,
    /// With its query, as it is in the request line
    #[arg(required_unless_present = "request_id", default_value = "", hide_default_value = true)]
    path: String,
    /// Tell why this request was decided as it was
    #[arg(long, value_name = "ID", requires = "logs", conflicts_with = "method")]
    pub(super) request_id: Option<String>,
    /// A log of the policy server or of Envoy, `-` for standard input; may be repeated
    #[arg(long = "log", id = "logs", value_name = "FILE")]
    pub(super) logs: Vec<PathBuf>,
    /// The body; JSON where the route takes JSON
    #[arg(long, value_name = "BODY", default_value = "")]
    body: String,
    /// A header, as 'name: value'; may be repeated
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
}

pub(super) fn routes() -> Output {
    let mut routes: Vec<&Route> = catalogue::routes().collect();
    routes.sort_by_key(|route| route.path);
    let json = routes
        .iter()
        .map(|route| {
            json!({
                "method": route.method.as_str(),
                "prefixes": route.mount.prefixes(),
                "path": route.path,
                "needs": route.needs.iter().map(need).collect::<Vec<_>>(),
                "note": route.note,
            })
        })
        .collect();
    let rows = routes.iter().map(|route| {
        [
            route.method.as_str().to_owned(),
            route.mount.prefixes().join("|"),
            route.path.to_owned(),
            needs(route),
            route.note.to_owned(),
        ]
    });
    Output::table(["method", "under", "path", "needs", "note"], rows, json)
}

pub(super) fn needs(route: &Route) -> String {
    match route.needs {
        [] => "a login".to_owned(),
        needs => needs.iter().map(need).collect::<Vec<_>>().join("; "),
    }
}

fn need(need: &Need) -> String {
    match need {
        Need::Standing(needed) => standing(*needed).to_owned(),
        Need::Administration => "answered by the policy server".to_owned(),
        Need::On { resource, action, id } => {
            format!("{} on {} {}", words(action.as_str_name()), kind(*resource), id.name)
        }
        Need::OnOwner { resource, action, id, .. } => {
            format!("{} on the {} of {}", words(action.as_str_name()), kind(*resource), id.name)
        }
        Need::Tier { tier, action, fallback, id, .. } => format!(
            "read on the experiment of {}; {} on {}, else {} on the experiment",
            id.name,
            words(action.as_str_name()),
            kind(*tier),
            words(fallback.as_str_name()),
        ),
        Need::TierOf { tier, action, fallback, experiment } => format!(
            "read on experiment {}; {} on {}, else {} on the experiment",
            experiment.name,
            words(action.as_str_name()),
            kind(*tier),
            words(fallback.as_str_name()),
        ),
        Need::NotDenied(resource) => format!("no DENY on {}", kind(*resource)),
        Need::Nameable(resource, _) => format!("a name that {} may have", kind(*resource)),
        Need::Owned { id, .. } => format!("to have created {}", id.name),
        Need::Rule(text, ..) => (*text).to_owned(),
    }
}

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<Output> {
    let mut headers = Headers::new();
    for (name, value) in [
        (":method", args.method.as_str()),
        (":path", &args.path),
        (":scheme", "http"),
        (":authority", "mlflow"),
    ] {
        headers.push(name.as_bytes(), value.as_bytes());
    }
    for header in &args.headers {
        let Some((name, value)) = header.split_once(':') else {
            bail!("--header: {header:?}; expected 'name: value'");
        };
        headers.push(name.trim().to_ascii_lowercase().as_bytes(), value.trim().as_bytes());
    }
    if !args.body.is_empty() && !args.headers.iter().any(|header| is_content_type(header)) {
        headers.push(b"content-type", b"application/json");
    }
    let head = RawHead {
        method: args.method.as_bytes(),
        path: args.path.as_bytes(),
        headers: &headers,
        end_of_stream: args.body.is_empty(),
    };
    let reading = match read_head(&SurfaceSettings::default(), head) {
        Ok(reading) => reading,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    Ok(match reading {
        Reading::OutOfScope => said("out of scope", "it passes untouched"),
        Reading::Public(passage) => said(passage.route, "public: needs no credential"),
        Reading::Preflight(passage) => said(passage.route, "a CORS preflight: MLflow answers it"),
        Reading::Administer(call) => {
            said(&call.path, "answered by the policy server, never forwarded")
        }
        Reading::Unknown(_) => {
            said("unknown route", "403, unless the filter lets administrators pass")
        }
        Reading::Routed(routed) => {
            let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
            match routed.read(whole.then_some(args.body.as_bytes())) {
                Ok(operation) => explained(&operation),
                Err(refusal) => refused(&refusal),
            }
        }
    })
}

fn is_content_type(header: &str) -> bool {
    header.to_ascii_lowercase().starts_with("content-type:")
}

fn said(route: &str, what: &str) -> Output {
    Output::new(format!("{route}: {what}"), json!({ "route": route, "answer": what }))
}

fn refused(refusal: &Refusal) -> Output {
    let (status, field, why) = match refusal {
        Refusal::Ambiguous { field, why } | Refusal::Invalid { field, why } => {
            (400, Some(field.as_str()), (*why).to_owned())
        }
        Refusal::Forbidden { why } => (403, None, (*why).to_owned()),
        Refusal::TooLarge { limit } => (413, None, format!("the body is over {limit} bytes")),
        Refusal::Unsupported { why } => (501, None, (*why).to_owned()),
    };
    let named = field.map_or_else(String::new, |field| format!("{field}: "));
    let json = json!({ "status": status, "field": field, "why": why });
    Output::new(format!("refused with {status}: {named}{why}"), json)
}

fn explained(operation: &Operation) -> Output {
    let mut lines = vec![operation.route.to_owned()];
    if operation.requirements.is_empty() {
        lines.push("  needs a login".to_owned());
    }
    let needs: Vec<String> = operation.requirements.iter().map(requirement).collect();
    lines.extend(needs.iter().map(|need| format!("  needs {need}")));
    let scopes: Vec<String> = operation
        .scopes
        .iter()
        .map(|scope| match scope.ids.as_slice() {
            [] => format!("every {}", kind(scope.resource)),
            ids => format!("{} {}", kind(scope.resource), ids.join(", ")),
        })
        .collect();
    lines.extend(scopes.iter().map(|scope| format!("  cut down to what may be read: {scope}")));
    lines.push(format!("  forwarded as {}", operation.forward.path));
    let json: Value = json!({
        "route": operation.route,
        "needs": needs,
        "cut_down": scopes,
        "forward": operation.forward.path,
    });
    Output::new(lines.join("\n"), json)
}

fn requirement(requirement: &Requirement) -> String {
    let list = |items: &[Requirement], glue: &str| {
        items.iter().map(self::requirement).collect::<Vec<_>>().join(glue)
    };
    match requirement {
        Requirement::Ladder(rungs) => ladder(rungs),
        Requirement::ExplicitLadder(rungs) => format!("{}, by an explicit grant", ladder(rungs)),
        Requirement::Standing(needed) => standing(*needed).to_owned(),
        Requirement::Owned(reference) => format!("to have created {}", named(reference)),
        Requirement::Assigned(reference) => format!("to be assigned to {}", named(reference)),
        Requirement::Floor(action) => {
            format!("{} by default_permission", words(action.as_str_name()))
        }
        Requirement::Myself(username) => format!("to be {username}"),
        Requirement::Nameable(naming) => {
            format!("that {} may be called {:?}", kind(naming.resource), naming.name)
        }
        Requirement::Absent(reference) => format!("that there is no {}", named(reference)),
        Requirement::Present(reference) => format!("that there is a {}", named(reference)),
        Requirement::AnyOf(items) => format!("one of ({})", list(items, " | ")),
        Requirement::AllOf(items) => format!("all of ({})", list(items, " & ")),
    }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Authenticated => "a login",
        Standing::SuperAdmin => "to be an administrator",
        Standing::WorkspaceAdmin => "to be an administrator of the workspace",
        Standing::AnyWorkspaceAdmin => "to be an administrator of any workspace",
        Standing::WorkspaceCreate => "to be let create: with workspaces, USE on the workspace",
        Standing::Unspecified => "what nobody has",
    }
}

fn ladder(rungs: &[Rung]) -> String {
    rungs.iter().map(rung).collect::<Vec<_>>().join(", else ")
}

fn rung(rung: &Rung) -> String {
    let (action, resource) = (words(rung.action.as_str_name()), kind(rung.resource));
    match &rung.key {
        Key::Id(id) => format!("{action} on {resource} {id}"),
        Key::OwnerOf(reference) => format!("{action} on the {resource} of {}", named(reference)),
        Key::Every => format!("{action} on {resource} *"),
    }
}

fn named(reference: &Reference) -> String {
    let kind = words(reference.kind.as_str_name());
    let kind = kind.strip_suffix(" id").unwrap_or(&kind);
    match &reference.parent {
        Some(parent) => format!("{kind} {} in {parent}", reference.id),
        None => format!("{kind} {}", reference.id),
    }
}

fn kind(resource: mlgate_filter::requirement::ResourceType) -> String {
    words(resource.as_str_name())
}

/// `SUPER_ADMIN` as `super admin`.
fn words(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

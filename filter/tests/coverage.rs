//! Every route of the installed MLflow is in the catalogue, and every id in its request message
//! is read.
//!
//! `MLGATE_TEST_ROUTES` names the lists that `tests/conformance/enumerate_routes.py` prints for
//! installed MLflows, separated by `:`. Without it these tests say so and check nothing.

use std::collections::BTreeSet;

use mlgate_filter::catalogue::{self, Route};
use mlgate_filter::requirement::Standing;
use mlgate_filter::surface::method::Method;
use serde_json::Value;

/// Names of fields that select a resource. `name` selects in some families and describes in others.
const SELECTORS: &[&str] = &[
    "experiment_id",
    "experiment_ids",
    "run_id",
    "run_ids",
    "run_uuid",
    "trace_id",
    "trace_ids",
    "request_id",
    "request_ids",
    "model_id",
    "source_run_id",
    "dataset_id",
    "schema_id",
    "queue_id",
    "issue_id",
    "secret_id",
    "endpoint_id",
    "model_definition_id",
    "guardrail_id",
    "job_id",
    "scorer_id",
    "scorer_ids",
    "item_ids",
];

/// Ids that MLflow's handlers do not act on, or that name nothing with an owner.
const UNUSED: &[(&str, &str, &str)] = &[
    ("/2.0/mlflow/traces/delete-traces", "request_ids", "only of the experiment authorized"),
    ("/3.0/mlflow/traces/delete-traces", "request_ids", "only of the experiment authorized"),
    ("/3.0/mlflow/traces", "trace.spans[].trace_id", "the handler stores the trace's info only"),
    ("/3.0/mlflow/traces", "trace.spans[].links[].trace_id", "the same"),
    (
        "/3.0/mlflow/datasets/{dataset_id}/remove-experiments",
        "experiment_ids[]",
        "links of the dataset authorized",
    ),
    (
        "/3.0/mlflow/gateway/guardrails/remove-from-endpoint",
        "guardrail_id",
        "only from the endpoint authorized",
    ),
    ("/3.0/mlflow/review-queues/items/remove", "item_ids[]", "items of the queue authorized"),
];

fn routes() -> Option<Vec<Value>> {
    let Some(files) = std::env::var_os("MLGATE_TEST_ROUTES") else {
        eprintln!("skipped: MLGATE_TEST_ROUTES names no list of MLflow's routes");
        return None;
    };
    let mut all = Vec::new();
    for file in std::env::split_paths(&files) {
        let text = std::fs::read_to_string(&file).expect("the list of routes can be read");
        let routes: Vec<Value> = serde_json::from_str(&text).expect("the list of routes is JSON");
        assert!(routes.len() > 50, "{file:?} holds {} routes", routes.len());
        all.extend(routes);
    }
    Some(all)
}

fn method(route: &Value) -> Method {
    Method::read(text(route, "method").as_bytes()).expect("a method the gate knows")
}

fn text<'a>(route: &'a Value, key: &str) -> &'a str {
    route[key].as_str().unwrap_or_default()
}

/// A path that MLflow would route to this template.
fn example(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a closed parameter");
        out.push_str(before);
        let mcp = template.contains("/mcp-servers/");
        out.push_str(match name {
            "name:path" if mcp => "acme/tool",
            "version:path" | "alias:path" | "key:path" => "v1",
            path if path.ends_with(":path") => "a/b",
            _ => "x1",
        });
        rest = after;
    }
    out + rest
}

#[test]
fn the_catalogue_knows_every_route_of_the_installed_mlflow() {
    let Some(routes) = routes() else { return };
    let unknown: BTreeSet<String> = routes
        .iter()
        .filter(|route| catalogue::find(method(route), &example(text(route, "path"))).is_none())
        .map(|route| format!("{} {}", text(route, "method"), text(route, "path")))
        .collect();
    assert!(unknown.is_empty(), "unknown to the catalogue:\n{unknown:#?}");
}

fn is_admin_only(route: &Route) -> bool {
    route.is_administration()
        || route
            .needs
            .iter()
            .any(|need| matches!(need, catalogue::need::Need::Standing(Standing::SuperAdmin)))
}

fn reads(route: &Route, field: &str) -> bool {
    let last =
        |name: &str| name.rsplit('.').next().unwrap_or(name).trim_end_matches("[]").to_owned();
    let wanted = last(field);
    let declared = route.needs.iter().flat_map(|need| need.fields()).map(|field| field.name);
    let scoped = route.scopes.iter().map(|scope| scope.field.name);
    declared
        .chain(scoped)
        .map(last)
        .any(|name| name == wanted || (name == "run_id" && wanted == "run_uuid"))
}

#[test]
fn the_catalogue_reads_every_id_in_the_messages_of_the_installed_mlflow() {
    let Some(routes) = routes() else { return };
    let mut missed = BTreeSet::new();
    for route in &routes {
        let Some(found) = catalogue::find(method(route), &example(text(route, "path"))) else {
            continue;
        };
        if is_admin_only(found.route) {
            continue;
        }
        for field in route["fields"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let last = field.rsplit('.').next().unwrap_or(field).trim_end_matches("[]");
            let unused = UNUSED.iter().any(|(path, name, _)| {
                *name.trim_end_matches("[]") == *field.trim_end_matches("[]")
                    && *path == found.route.path
            });
            if SELECTORS.contains(&last) && !unused && !reads(found.route, field) {
                missed.insert(format!("{} {}: {field}", text(route, "method"), found.route.path));
            }
        }
    }
    assert!(missed.is_empty(), "ids that the catalogue does not read:\n{missed:#?}");
}

#[test]
fn an_example_of_every_template_leads_back_to_its_line() {
    for route in catalogue::routes() {
        for prefix in route.mount.prefixes() {
            let path = format!("{prefix}{}", route.path).replace("{*", "{");
            let found = catalogue::find(route.method, &example(&path))
                .unwrap_or_else(|| panic!("{path} leads nowhere"));
            assert_eq!(found.route.path, route.path);
        }
    }
}

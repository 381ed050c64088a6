//! GraphQL: every root field is authorized as the REST route that does the same.
//!
//! MLflow answers a denied field with `null`; the gate refuses the request.

use crate::operation::GraphRows;
use crate::refusal::Refusal;
use crate::requirement::{
    Reference, ReferenceKind, Requirement,
    ResourceType::{Experiment, LoggedModel, Run},
    Standing,
};
use crate::surface::artifact;
use crate::surface::graphql::{self, Field};
use crate::surface::id::Form;
use crate::surface::inputs::Inputs;
use crate::surface::json::{Object, Value};

use super::super::Route;
use super::super::field::*;
use super::super::need::{Need, not_denied, on, tier_of_owner};
use super::super::route::{ADMIN, Mount::*, get, post};

/// Selected fields that name logged models or runs beside the object that is authorized.
const MODEL_LINKS: [&str; 3] = ["modelInputs", "modelOutputs", "modelId"];
const RUN_LINKS: [&str; 2] = ["runLink", "sourceRunId"];
/// The rows of model versions, at any depth.
const VERSIONS: &str = "modelVersions";

fn roots(inputs: &Inputs) -> Result<Vec<Field>, Refusal> {
    match &inputs.body {
        Some(body) => graphql::read(body),
        None => Err(Refusal::invalid("query", "is required")),
    }
}

fn authorize(inputs: &Inputs) -> Result<Vec<Requirement>, Refusal> {
    let mut needs = vec![Requirement::Standing(Standing::Authenticated)];
    for field in roots(inputs)? {
        needs.extend(root(&field)?);
        needs.extend(links(&field));
        if !every_row_is_named(&field) {
            needs.push(Requirement::Standing(Standing::SuperAdmin));
        }
    }
    Ok(needs)
}

fn root(field: &Field) -> Result<Vec<Requirement>, Refusal> {
    Ok(match field.name.as_str() {
        "__typename" | "test" | "testMutation" => Vec::new(),
        "mlflowGetExperiment" => {
            let ids = ids(input(field)?, "experimentId", Form::Experiment)?;
            ids.iter().map(|id| on(Experiment, READ, id)).collect()
        }
        "mlflowGetRun" => runs(&run_id(input(field)?)?),
        "mlflowListArtifacts" => {
            let input = input(field)?;
            if let Some(path) = input.get("path").filter(|path| **path != Value::Null) {
                let path = path.as_str().ok_or_else(|| bad("path"))?;
                artifact::read_value("path", path)?;
            }
            runs(&run_id(input)?)
        }
        "mlflowGetMetricHistoryBulkInterval" => runs(&ids(input(field)?, "runIds", Form::Run)?),
        "mlflowSearchRuns" => {
            let mut needs = readable(input(field)?)?;
            needs.push(not_denied(Run));
            needs
        }
        "mlflowSearchDatasets" => readable(input(field)?)?,
        "mlflowSearchModelVersions" => match input(field)?.get("filter") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(filter)) if !filter.to_lowercase().contains("run_id") => Vec::new(),
            Some(Value::String(_)) => vec![not_denied(Run)],
            Some(_) => return Err(bad("filter")),
        },
        // Introspection, and what a newer MLflow may have.
        _ => vec![Requirement::Standing(Standing::SuperAdmin)],
    })
}

/// PD-09: without an id MLflow would answer with experiment 0.
fn input(field: &Field) -> Result<&Object, Refusal> {
    match field.arguments.0.as_slice() {
        [(name, Value::Object(input))] if name == "input" => Ok(input),
        _ => Err(Refusal::invalid("input", "must be the one argument, an object")),
    }
}

fn bad(field: &'static str) -> Refusal {
    Refusal::invalid(field, "must be text")
}

/// One id or a list of them; at least one.
fn ids(input: &Object, name: &'static str, form: Form) -> Result<Vec<String>, Refusal> {
    let read = |value: &Value| match value {
        Value::String(id) => form.check(name, id).map(|()| id.clone()),
        _ => Err(Refusal::invalid(name, form.describe())),
    };
    match input.get(name) {
        Some(Value::Array(items)) if !items.is_empty() => items.iter().map(read).collect(),
        Some(value @ Value::String(_)) => Ok(vec![read(value)?]),
        _ => Err(Refusal::invalid(name, "is required")),
    }
}

/// `runId` and `runUuid` are one id, as in the REST API.
fn run_id(input: &Object) -> Result<Vec<String>, Refusal> {
    let given = |name: &str| input.get(name).is_some_and(|value| *value != Value::Null);
    let mut found = Vec::new();
    for name in ["runId", "runUuid"] {
        if given(name) {
            found.extend(ids(input, name, Form::Run)?);
        }
    }
    found.dedup();
    match found.len() {
        1 => Ok(found),
        0 => Err(Refusal::invalid("runId", "is required")),
        _ => Err(Refusal::ambiguous("runId", "has two different values")),
    }
}

fn runs(ids: &[String]) -> Vec<Requirement> {
    ids.iter()
        .map(|id| Reference::new(ReferenceKind::RunId, id.as_str()))
        .flat_map(|run| tier_of_owner(Run, READ, READ, &run))
        .collect()
}

fn readable(input: &Object) -> Result<Vec<Requirement>, Refusal> {
    let ids = ids(input, "experimentIds", Form::Experiment)?;
    Ok(ids.iter().map(|id| on(Experiment, READ, id)).collect())
}

/// What would have to be blanked for a DENY on a tier is not given at all.
fn links(field: &Field) -> Vec<Requirement> {
    let mut needs = Vec::new();
    if selects(field, &MODEL_LINKS) {
        needs.push(not_denied(LoggedModel));
    }
    if selects(field, &RUN_LINKS) || version_runs(field) {
        needs.push(not_denied(Run));
    }
    needs
}

fn selects(field: &Field, names: &[&str]) -> bool {
    field.fields.iter().any(|child| names.contains(&child.name.as_str()) || selects(child, names))
}

fn version_runs(field: &Field) -> bool {
    (field.name == VERSIONS && selects(field, &["runId"])) || field.fields.iter().any(version_runs)
}

/// Rows of model versions are judged by their name, so it must be in the answer.
fn every_row_is_named(field: &Field) -> bool {
    let named = field.name != VERSIONS || row_name(field).is_some();
    named && field.fields.iter().all(every_row_is_named)
}

fn row_name(versions: &Field) -> Option<&Field> {
    versions.fields.iter().find(|child| child.name == "name" && child.fields.is_empty())
}

fn rows(inputs: &Inputs) -> Result<Vec<GraphRows>, Refusal> {
    let mut found = Vec::new();
    for field in roots(inputs)? {
        collect(&field, &mut Vec::new(), &mut found);
    }
    Ok(found)
}

fn collect(field: &Field, at: &mut Vec<String>, found: &mut Vec<GraphRows>) {
    at.push(field.key.clone());
    if field.name == VERSIONS
        && let Some(name) = row_name(field)
    {
        found.push(GraphRows { at: at.clone(), name: name.key.clone() });
    }
    for child in &field.fields {
        collect(child, at, found);
    }
    at.pop();
}

const AUTHORIZED: Need =
    Need::Rule("each root field as its REST route; introspection for super admins", &[], authorize);

pub const ROUTES: &[Route] = &[
    post(Root, "/graphql", &[AUTHORIZED]).graphed(rows).note("PD-09, CVE-2025-0453"),
    get(Root, "/graphql", ADMIN).note("MLflow executes the body of a GET, which is refused"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::headers::RequestHeaders;
    use crate::surface::json::read_object;
    use crate::surface::method::Method;
    use crate::surface::query::Query;

    const RUN_ID: &str = "0123456789abcdef0123456789abcdef";

    fn inputs(query: &str, variables: &str) -> Inputs {
        let query = serde_json::to_string(query).unwrap();
        let body = format!(r#"{{"query":{query},"variables":{variables}}}"#);
        Inputs {
            method: Method::Post,
            params: Vec::new(),
            query: Query::default(),
            body: Some(read_object(body.as_bytes()).unwrap()),
            raw_body: Vec::new(),
            headers: RequestHeaders::default(),
            looked: Default::default(),
        }
    }

    fn needs(query: &str, variables: &str) -> Result<Vec<Requirement>, Refusal> {
        authorize(&inputs(query, variables))
    }

    fn needs_admin(query: &str) -> bool {
        needs(query, "{}").unwrap().contains(&Requirement::Standing(Standing::SuperAdmin))
    }

    #[test]
    fn the_uis_query_for_a_run_needs_that_run() {
        let query = "query GetRun($data: MlflowGetRunInput!) @component(name: \"x\") {
            mlflowGetRun(input: $data) { apiError { code } run { info { runUuid }
            modelVersions { name version } } } }";
        let inputs = inputs(query, &format!(r#"{{"data":{{"runId":"{RUN_ID}"}}}}"#));
        let needs = authorize(&inputs).unwrap();
        for need in runs(&[RUN_ID.to_owned()]) {
            assert!(needs.contains(&need));
        }
        assert_eq!(
            rows(&inputs).unwrap(),
            [GraphRows {
                at: ["mlflowGetRun", "run", "modelVersions"].map(str::to_owned).to_vec(),
                name: "name".into(),
            }]
        );
    }

    #[test]
    fn every_aliased_root_counts() {
        let needs = needs(
            "{ a: mlflowGetExperiment(input: {experimentId: \"1\"}) { experiment { name } }
               b: mlflowGetExperiment(input: {experimentId: \"2\"}) { experiment { name } } }",
            "{}",
        )
        .unwrap();
        assert!(needs.contains(&on(Experiment, READ, "1")));
        assert!(needs.contains(&on(Experiment, READ, "2")));
    }

    #[test]
    fn an_input_without_ids_is_refused() {
        for query in [
            "{ mlflowGetExperiment(input: {}) { experiment { name } } }",
            "{ mlflowGetExperiment(input: {experimentId: \"\"}) { experiment { name } } }",
            "{ mlflowGetExperiment { experiment { name } } }",
            "{ mlflowGetExperiment(input: {experimentId: \"02\"}) { experiment { name } } }",
            "{ mlflowGetExperiment(input: {experimentId: 2}) { experiment { name } } }",
            "{ mlflowSearchRuns(input: {experimentIds: []}) { runs { info { runUuid } } } }",
            "{ mlflowGetRun(input: {runId: null}) { run { info { runUuid } } } }",
            "query($d: I) { mlflowGetRun(input: $d) { run { info { runUuid } } } }",
        ] {
            assert!(needs(query, "{}").is_err(), "{query}");
        }
    }

    #[test]
    fn two_spellings_of_a_run_must_agree() {
        let other = RUN_ID.replace('0', "f");
        let query = format!(
            "{{ mlflowGetRun(input: {{runId: \"{RUN_ID}\", runUuid: \"{other}\"}}) {{ run {{ info {{ runUuid }} }} }} }}"
        );
        assert!(needs(&query, "{}").is_err());
    }

    #[test]
    fn introspection_and_unknown_fields_need_a_super_admin() {
        assert!(needs_admin("{ __schema { types { name } } }"));
        assert!(needs_admin("{ __type(name: \"Query\") { name } }"));
        assert!(needs_admin("mutation { mlflowDeleteEverything }"));
        assert!(!needs_admin("{ test(inputString: \"x\") { output } }"));
    }

    #[test]
    fn rows_that_could_not_be_judged_need_a_super_admin() {
        let search = "mlflowSearchModelVersions(input: {})";
        assert!(needs_admin(&format!("{{ {search} {{ modelVersions {{ version }} }} }}")));
        assert!(!needs_admin(&format!("{{ {search} {{ modelVersions {{ n: name }} }} }}")));
        let inputs =
            inputs(&format!("{{ s: {search} {{ v: modelVersions {{ n: name }} }} }}"), "{}");
        assert_eq!(
            rows(&inputs).unwrap(),
            [GraphRows { at: vec!["s".into(), "v".into()], name: "n".into() }]
        );
    }
}

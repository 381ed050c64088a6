//! The scripted calls of `tests/admin_api/steps.jsonl`, against what MLflow 3.17.2 answered them.
//! `tests/e2e/support/admin_api.py` says how the answers were recorded and what is left out of them.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::fixture::World;
use crate::admin::AdminRequest;

const STEPS: &str = include_str!("../../../tests/admin_api/steps.jsonl");
const ANSWERS: &str = include_str!("../../../tests/admin_api/mlflow-3.17.2.json");

/// What we add for clients of MLflow before 3.14.
const ADDED_TO_USERS: [&str; 3] =
    ["experiment_permissions", "registered_model_permissions", "scorer_permissions"];

#[tokio::test]
async fn every_scripted_call_is_answered_as_mlflow_answers_it() {
    let world = World::bare().await;
    let answers: Map<String, Value> = serde_json::from_str(ANSWERS).unwrap();
    let steps: Vec<Value> = STEPS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), answers.len(), "record the answers anew");

    let mut saved = HashMap::new();
    let mut different = Vec::new();
    for step in &steps {
        let name = step["step"].as_str().unwrap();
        let who = step["as"].as_str().or_else(|| step["as"][0].as_str()).unwrap();
        let caller = world.caller(who).await;
        let told = world.send(&caller, request(step, &saved)).await;
        for (variable, field) in step["save"].as_object().into_iter().flatten() {
            let path = format!("/{}", field.as_str().unwrap().replace('.', "/"));
            saved.insert(variable.clone(), told.body.pointer(&path).unwrap().clone());
        }
        let mut body = told.body;
        if let Some(user) = body.get_mut("user").and_then(Value::as_object_mut) {
            ADDED_TO_USERS.iter().for_each(|added| drop(user.remove(*added)));
        }
        let expected = &answers[name];
        let same = expected["status"] == told.status
            && (told.status == 403 || expected["body"] == normalised("", &body));
        if !same {
            different.push(format!("{name}:\n  MLflow {expected}\n  ours {} {body}", told.status));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn request(step: &Value, saved: &HashMap<String, Value>) -> AdminRequest {
    let (method, path) = step["call"].as_str().unwrap().split_once(' ').unwrap();
    let fill = |value: &Value| match value.as_str().and_then(|text| text.strip_prefix("${")) {
        Some(variable) => saved[variable.trim_end_matches('}')].clone(),
        None => value.clone(),
    };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let query = match &step["query"] {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), text(fill(value)))).collect()
        }
        Value::Array(pairs) => {
            pairs.iter().map(|pair| (text(pair[0].clone()), text(fill(&pair[1])))).collect()
        }
        _ => Vec::new(),
    };
    let (content_type, body) = match (&step["json"], &step["raw"]) {
        (Value::Object(fields), _) => {
            let filled: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
            ("application/json", Value::Object(filled).to_string())
        }
        (_, Value::String(raw)) => (step["type"].as_str().unwrap(), raw.clone()),
        _ => ("", String::new()),
    };
    AdminRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        content_type: content_type.to_owned(),
        body: body.into_bytes(),
        workspace: String::new(),
    }
}

/// As `normalised_value` in `admin_api.py`.
fn normalised(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), normalised(name, field))).collect()
        }
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(|item| normalised("", item)).collect();
            items.sort_by_key(sorting_key);
            Value::Array(items)
        }
        Value::Number(_) if matches!(key, "id" | "role_id" | "user_id") => "#".into(),
        Value::String(text) => without_ids(text).into(),
        other => other.clone(),
    }
}

/// Python's `json.dumps(value, sort_keys=True)`, closely enough to sort by.
fn sorting_key(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            let fields = names.iter().map(|(name, field)| {
                format!("{}: {}", Value::from(name.as_str()), sorting_key(field))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorting_key).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(at);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = digits.split_at(end);
        let is_id = before.ends_with("__user_") && after.starts_with("__")
            || ["(id=", " id=", "(user_id=", " user_id=", "(role_id=", " role_id="]
                .iter()
                .any(|label| before.ends_with(label));
        out.push_str(before);
        out.push_str(if is_id { "#" } else { number });
        rest = after;
    }
    // The list of types has one more since 3.18.
    (out + rest).replace("'skill', ", "")
}

//! Gateway endpoints that hide in documents handed to jobs.
//!
//! A job runs as the server. An endpoint it is told to use through `gateway:/<name>` would be
//! used without a grant, so the gate looks for such names wherever they can be.

use crate::refusal::Refusal;
use crate::requirement::{
    Reference, ReferenceKind::GatewayEndpointName, Requirement, ResourceType::GatewayEndpoint,
    Standing,
};
use crate::surface::id::Form;
use crate::surface::inputs::Inputs;
use crate::surface::json::{Value, read_value};

use super::super::field::USE;
use super::super::need::{Need, on_owner};

const SCHEME: &str = "gateway:/";
/// Documents inside strings inside documents: more than MLflow ever nests.
const MAX_NESTED: usize = 4;

/// USE on every endpoint that the scorers of a request name.
pub const IN_SCORERS: Need =
    Need::Rule("gateway_endpoint:use for each gateway:/ model in the scorers", &[], |inputs| {
        in_members(inputs, &["serialized_scorer", "serialized_scorers"])
    });

/// USE on every endpoint named anywhere below these members of the body.
pub fn in_members(inputs: &Inputs, members: &[&'static str]) -> Result<Vec<Requirement>, Refusal> {
    let mut names = Vec::new();
    let mut clear = true;
    for name in members {
        if let Some(value) = inputs.member(name)? {
            clear &= collect(value, MAX_NESTED, &mut names);
        }
    }
    let mut needs: Vec<Requirement> = names
        .into_iter()
        .map(|name| on_owner(GatewayEndpoint, USE, &Reference::new(GatewayEndpointName, name)))
        .collect();
    if !clear {
        needs.push(Requirement::Standing(Standing::SuperAdmin));
    }
    Ok(needs)
}

/// Whether everything could be read; `names` are the endpoints found on the way.
fn collect(value: &Value, nested: usize, names: &mut Vec<String>) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(items) => items.iter().all(|item| collect(item, nested, names)),
        Value::Object(object) => object.0.iter().all(|(_, item)| collect(item, nested, names)),
        Value::String(text) => collect_text(text, nested, names),
    }
}

fn collect_text(text: &str, nested: usize, names: &mut Vec<String>) -> bool {
    let trimmed = text.trim();
    if trimmed.starts_with(['{', '[', '"']) {
        return match (read_value(trimmed.as_bytes()), nested.checked_sub(1)) {
            (Ok(inner), Some(nested)) => collect(&inner, nested, names),
            // Python's reader is laxer than ours: what we cannot read may still be a document,
            // but one without an escape would show the name. `{{ inputs }}` is a template.
            _ => !mentions_gateway(trimmed) && !trimmed.contains("\\u"),
        };
    }
    if !mentions_gateway(trimmed) {
        return true;
    }
    match trimmed.strip_prefix(SCHEME) {
        Some(rest) => {
            let name = rest.trim_start_matches('/');
            // MLflow strips no blanks: they would be part of the name.
            let known = Form::NewName.accepts(name) && trimmed == text;
            names.push(name.to_owned());
            known
        }
        None => false,
    }
}

fn mentions_gateway(text: &str) -> bool {
    text.to_ascii_lowercase().contains("gateway:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (bool, Vec<String>) {
        let mut names = Vec::new();
        (collect(&Value::String(text.to_owned()), MAX_NESTED, &mut names), names)
    }

    #[test]
    fn an_endpoint_is_found_however_deep_it_is_written() {
        for text in [
            "gateway:/judge",
            r#"{"model":"gateway:/judge"}"#,
            r#"{"model":"\u0067ateway:/judge"}"#,
            r#"{"a":["{\"model\":\"gateway:/judge\"}"]}"#,
        ] {
            assert_eq!(found(text), (true, vec!["judge".to_owned()]), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_for_sure_is_not_clear() {
        for text in [
            r#"{"model":"gateway:/x","a":NaN}"#,
            r#"{"a":"\u0067","a":2}"#,
            "use Gateway:/x",
            "x gateway:/y",
            "gateway:/y ",
            r#"{"model":"gateway:/y\u00a0"}"#,
        ] {
            assert!(!found(text).0, "{text}");
        }
        assert_eq!(found("openai:/gpt-4o"), (true, Vec::new()));
        assert_eq!(found("{{ inputs }} is polite"), (true, Vec::new()));
    }
}

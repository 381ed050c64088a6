//! Filters and sort keys that would tell, by which rows come back, what a DENY withholds.
//!
//! MLflow parses the filter and looks for the attribute. A filter that compares an attribute has
//! its name in it, whatever the quoting, so looking for the name anywhere asks for at least as
//! much; a filter that does not parse reaches no row at all. Sort keys count too.

use crate::refusal::Refusal;
use crate::requirement::{Action, Requirement, ResourceType};
use crate::surface::id::Form;
use crate::surface::inputs::{Field, Inputs};

use super::need::{Need, not_denied, tier_of};

pub const FILTER: Field = Field::optional("filter", Form::Text);
const FILTER_STRING: Field = Field::optional("filter_string", Form::Text);
const ORDER_BY: Field = Field::many("order_by", Form::Text);

/// `filter` of model versions and logged models: naming a run needs the run tier.
pub const FILTER_ON_RUNS: Need =
    Need::Rule("run '*' not denied if the filter or order names a run", &[FILTER], |inputs| {
        let mut texts = inputs.all(FILTER)?;
        texts.extend(order_by(inputs)?);
        Ok(runs(&texts))
    });

/// `filter_string` of issues.
pub const FILTER_STRING_ON_RUNS: Need =
    Need::Rule("run '*' not denied if the filter names a run", &[FILTER_STRING], |inputs| {
        Ok(runs(&inputs.all(FILTER_STRING)?))
    });

fn runs(texts: &[String]) -> Vec<Requirement> {
    if mentions(texts, &["run_id"]) { vec![not_denied(ResourceType::Run)] } else { Vec::new() }
}

fn mentions(texts: &[String], words: &[&str]) -> bool {
    texts.iter().any(|text| {
        let text = text.to_lowercase();
        words.iter().any(|word| text.contains(word))
    })
}

/// Objects, as logged models' `order_by` has, name their field inside.
fn order_by(inputs: &Inputs) -> Result<Vec<String>, Refusal> {
    use crate::surface::json::Value;
    match inputs.member("order_by")? {
        Some(Value::Array(items)) if items.iter().any(|item| item.as_str().is_none()) => items
            .iter()
            .map(|item| match item {
                Value::Object(object) => {
                    String::from_utf8(object.to_bytes()).map_err(|_| malformed())
                }
                Value::String(text) => Ok(text.clone()),
                _ => Err(malformed()),
            })
            .collect(),
        _ => inputs.all(ORDER_BY),
    }
}

fn malformed() -> Refusal {
    Refusal::invalid("order_by", "must hold strings or objects")
}

/// Which tiers a trace search reaches through its filters and sort keys.
fn trace_tiers(texts: &[String]) -> Vec<ResourceType> {
    let tiers: [(ResourceType, &[&str]); 3] = [
        (ResourceType::Assessment, &["feedback", "expectation", "assessment", "issue"]),
        (ResourceType::Run, &["run_id", "sourcerun"]),
        (ResourceType::LoggedModel, &["modelid", "model_id"]),
    ];
    tiers.into_iter().filter(|(_, words)| mentions(texts, words)).map(|(tier, _)| tier).collect()
}

/// READ on the tiers that the texts reach, in every experiment searched.
pub fn trace_search(experiments: &[String], texts: &[String]) -> Vec<Requirement> {
    let tiers = trace_tiers(texts);
    experiments
        .iter()
        .flat_map(|id| tiers.iter().flat_map(|&tier| tier_of(tier, Action::Read, Action::Read, id)))
        .collect()
}

/// The texts of a trace search: its filters and sort keys.
pub fn trace_texts(inputs: &Inputs, filters: &[Field]) -> Result<Vec<String>, Refusal> {
    let mut texts = order_by(inputs)?;
    for filter in filters {
        texts.extend(inputs.all(*filter)?);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_the_attribute_hides_it() {
        for filter in [
            "attributes.run_id = 'a'",
            "RUN_ID = 'a'",
            "`run_id` IN ('a')",
            "attribute.\"source_run_id\" != 'x'",
            "not a filter run_id",
        ] {
            assert_eq!(runs(&[filter.to_owned()]).len(), 1, "{filter}");
        }
        assert!(runs(&["name = 'x'".to_owned(), String::new()]).is_empty());
    }

    #[test]
    fn a_trace_search_reaches_the_tiers_it_names() {
        let tiers = |text: &str| trace_tiers(&[text.to_owned()]);
        assert_eq!(tiers("feedback.quality = 'good'"), [ResourceType::Assessment]);
        assert_eq!(tiers("metadata.`mlflow.sourceRun` = 'x'"), [ResourceType::Run]);
        assert_eq!(tiers("run_id DESC"), [ResourceType::Run]);
        assert_eq!(tiers("request_metadata.\"mlflow.modelId\" = 'm'"), [ResourceType::LoggedModel]);
        assert!(tiers("trace.status = 'OK'").is_empty());
    }
}

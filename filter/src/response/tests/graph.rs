use super::*;
use crate::operation::GraphRows;

fn operation_for(at: &[&str], name: &str) -> Operation {
    let mut operation = operation(ResponseWork::Graph, get("/graphql"));
    let at = at.iter().map(|key| (*key).to_owned()).collect();
    operation.graph.push(GraphRows { at, name: name.into() });
    operation
}

fn filtered(operation: &Operation, denied: &[ResourceType], body: &str) -> String {
    let mut rewriting = Rewriting::plan(operation, &decision(denied)).unwrap();
    let mut next = rewriting.body(&operation.forward, body.as_bytes()).unwrap();
    if let Next::Ask(questions) = &next {
        assert!(questions.iter().all(|q| q.r#type() == ResourceType::ModelOrPrompt));
        next = rewriting.answered(&answer(questions, &|_, id| id == "mine")).unwrap();
    }
    match next {
        Next::Done(body) => String::from_utf8(body).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn model_versions_are_found_under_their_aliases() {
    let operation = operation_for(&["r", "runs", "mv"], "n");
    let body = r#"{"data":{"r":{"runs":[{"mv":[{"n":"mine"},{"n":"other"}]},{"mv":null},{"mv":[{"n":"other"}]}]}}}"#;
    assert_eq!(
        filtered(&operation, &[], body),
        r#"{"data":{"r":{"runs":[{"mv":[{"n":"mine"}]},{"mv":null},{"mv":[]}]}}}"#
    );
}

#[test]
fn a_row_without_its_name_is_gone() {
    let operation = operation_for(&["v"], "name");
    let body = r#"{"data":{"v":[{"version":"1"},{"name":null},"x"]}}"#;
    assert_eq!(filtered(&operation, &[], body), r#"{"data":{"v":[]}}"#);
}

#[test]
fn a_denied_field_stays_null() {
    let operation = operation_for(&["r", "mv"], "name");
    let body = r#"{"data":{"r":null},"errors":null}"#;
    assert_eq!(filtered(&operation, &[], body), body);
}

#[test]
fn no_version_is_left_where_a_version_tier_is_denied() {
    let operation = operation_for(&["v"], "name");
    let body = r#"{"data":{"v":[{"name":"mine"}]}}"#;
    assert_eq!(filtered(&operation, &[ResourceType::PromptVersion], body), r#"{"data":{"v":[]}}"#);
}

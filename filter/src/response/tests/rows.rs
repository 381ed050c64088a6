use super::*;
use crate::catalogue::{find, rows};
use crate::requirement::{Action, ReferenceKind};
use crate::surface::method::Method;

fn only(ids: &'static [&'static str]) -> impl Fn(&pb::Question, &str) -> bool {
    move |_, id| ids.contains(&id)
}

#[test]
fn rows_the_caller_may_not_read_are_gone_and_the_rest_is_as_it_came() {
    let body = r#"{"experiments":[{"experiment_id":"1","creation_time":1700000000000},{"experiment_id":"2"},{"experiment_id":"3","z":1.50}]}"#;
    assert_eq!(
        rewrite(rows::EXPERIMENTS, &[], body, &only(&["1", "3"])).unwrap(),
        r#"{"experiments":[{"experiment_id":"1","creation_time":1700000000000},{"experiment_id":"3","z":1.50}]}"#
    );
}

#[test]
fn a_row_without_a_readable_id_is_gone() {
    let body = r#"{"experiments":[{"name":"secret"},{"experiment_id":null},{"experiment_id":""},{"experiment_id":["1"]}]}"#;
    assert_eq!(
        rewrite(rows::EXPERIMENTS, &[], body, &|_, _| true).unwrap(),
        "{\"experiments\":[]}"
    );
}

#[test]
fn each_row_is_asked_about_as_the_model_or_the_prompt_that_its_tags_make_it() {
    let body = r#"{"registered_models":[
        {"name":"a"},
        {"name":"a2","tags":[{"key":"mlflow.prompt.is_prompt","value":"TRUE"}]},
        {"name":"b","tags":[{"key":"mlflow.prompt.is_prompt","value":"false"}]}]}"#;
    let prompts_only = |question: &pb::Question, _: &str| question.r#type() == ResourceType::Prompt;
    assert_eq!(
        rewrite(rows::REGISTERED_MODELS, &[], body, &prompts_only).unwrap(),
        r#"{"registered_models":[{"name":"a2","tags":[{"key":"mlflow.prompt.is_prompt","value":"TRUE"}]}]}"#
    );
}

#[test]
fn a_version_is_gone_where_its_own_tier_is_denied() {
    let body = r#"{"model_versions":[{"name":"a","version":"1"},{"name":"p","version":"1","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}],"next_page_token":"t"}"#;
    let left = |denied: &[ResourceType]| {
        rewrite(rows::MODEL_VERSIONS, denied, body, &|_, _| true).unwrap()
    };
    assert!(
        left(&[ResourceType::RegisteredModelVersion])
            .starts_with(r#"{"model_versions":[{"name":"p""#)
    );
    assert!(
        left(&[ResourceType::PromptVersion])
            .starts_with(r#"{"model_versions":[{"name":"a","version":"1"}]"#)
    );
    assert!(left(&[ResourceType::PromptVersion]).ends_with(r#","next_page_token":"t"}"#));
}

#[test]
fn a_scorer_needs_its_experiment_and_its_own_key() {
    let body = r#"{"scorers":[{"experiment_id":1,"scorer_name":"a b/c~é"},{"experiment_id":2,"scorer_name":"x"}]}"#;
    let keys =
        |allowed: &'static [&'static str]| move |_: &pb::Question, id: &str| allowed.contains(&id);
    let key = "1/a%20b%2Fc~%C3%A9";
    assert_eq!(
        rewrite(rows::SCORERS, &[], body, &keys(&["1", "2", "1/a%20b%2Fc~%C3%A9"])).unwrap(),
        r#"{"scorers":[{"experiment_id":1,"scorer_name":"a b/c~é"}]}"#
    );
    assert_eq!(
        rewrite(rows::SCORERS, &[], body, &move |_, id| id == key).unwrap(),
        r#"{"scorers":[]}"#
    );
    assert_eq!(
        rewrite(rows::SCORERS, &[ResourceType::ScorerVersion], body, &|_, _| true).unwrap(),
        r#"{"scorers":[]}"#
    );
}

#[test]
fn jobs_are_those_whose_recorded_creator_asks_whatever_the_row_says() {
    let body = r#"{"jobs":[{"job_id":"1","creator":"ann"},{"job_id":"2","creator":null}]}"#;
    let mine = |question: &pb::Question, id: &str| {
        question.owned && question.reference() == ReferenceKind::JobId && id == "2"
    };
    assert_eq!(
        rewrite(rows::JOBS, &[], body, &mine).unwrap(),
        r#"{"jobs":[{"job_id":"2","creator":null}]}"#
    );
}

#[test]
fn served_models_are_asked_about_by_endpoint_name_and_for_use() {
    let body = r#"{"object":"list","data":[{"id":"chat"},{"id":"secret"}]}"#;
    let use_chat = |question: &pb::Question, id: &str| {
        question.action() == Action::Use
            && question.point
            && question.reference() == ReferenceKind::GatewayEndpointName
            && id == "chat"
    };
    assert_eq!(
        rewrite(rows::GATEWAY_SERVED_MODELS, &[], body, &use_chat).unwrap(),
        r#"{"object":"list","data":[{"id":"chat"}]}"#
    );
}

#[test]
fn an_endpoint_keeps_no_definition_or_secret_that_is_denied() {
    let body = r#"{"endpoints":[{"endpoint_id":"e","model_mappings":[
        {"mapping_id":"1","model_definition_id":"d1","model_definition":{"model_definition_id":"d1","secret_id":"s1","secret_name":"n"}},
        {"mapping_id":"2","model_definition_id":"d2","model_definition":{"model_definition_id":"d2","secret_id":"s2","secret_name":"n"}}]}]}"#;
    let without = |hidden: &'static [&'static str]| {
        rewrite(rows::GATEWAY_ENDPOINTS, &[], body, &move |_, id| !hidden.contains(&id)).unwrap()
    };
    assert_eq!(
        without(&["d1", "s2"]),
        r#"{"endpoints":[{"endpoint_id":"e","model_mappings":[{"mapping_id":"1"},{"mapping_id":"2","model_definition_id":"d2","model_definition":{"model_definition_id":"d2"}}]}]}"#
    );
    assert_eq!(without(&["e"]), r#"{"endpoints":[]}"#);
}

#[test]
fn a_guardrail_keeps_its_scorer_only_for_readers_of_it() {
    let body = r#"{"config":{"guardrail":{"guardrail_id":"g","scorer":{"experiment_id":4,"scorer_name":"s"}}}}"#;
    assert_eq!(rewrite(rows::GATEWAY_GUARDRAIL, &[], body, &only(&["4", "4/s"])).unwrap(), body);
    for allowed in [&["4"], &["4/s"]] {
        assert_eq!(
            rewrite(rows::GATEWAY_GUARDRAIL, &[], body, &move |_, id| allowed.contains(&id))
                .unwrap(),
            r#"{"config":{"guardrail":{"guardrail_id":"g"}}}"#
        );
    }
}

#[test]
fn a_queue_is_listed_to_its_assigned_users_and_to_those_with_the_scope() {
    let body = r#"{"review_queues":[{"queue_id":"1","users":["ann","bo"]},{"queue_id":"2","users":["bo"]}]}"#;
    let operation = operation(rows::REVIEW_QUEUES, get("/x"));
    let left = |scopes: Vec<pb::ScopeResult>, denied: &[ResourceType]| {
        let decision = pb::AuthorizeResponse { scopes, ..decision(denied) };
        let mut rewriting = Rewriting::plan(&operation, &decision).unwrap();
        match rewriting.body(&operation.forward, body.as_bytes()).unwrap() {
            Next::Done(body) => String::from_utf8(body).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let assigned = r#"{"review_queues":[{"queue_id":"1","users":["ann","bo"]}]}"#;
    assert_eq!(left(Vec::new(), &[]), assigned);
    assert_eq!(left(vec![pb::ScopeResult::default()], &[]), assigned);
    let nothing = r#"{"review_queues":[]}"#;
    assert_eq!(left(Vec::new(), &[ResourceType::ReviewQueue]), nothing, "denied to its users too");
    let all = pb::ScopeResult { allowed: vec!["1".into()], ..Default::default() };
    assert_eq!(left(vec![all], &[]), body);
}

#[test]
fn an_experiment_root_shows_no_run_where_runs_are_denied() {
    let run = "0123456789abcdef0123456789abcdef";
    let body = format!(
        r#"{{"files":[{{"path":"{run}","is_dir":true}},{{"path":"models"}},{{"path":"traces"}}]}}"#
    );
    assert_eq!(rewrite(rows::EXPERIMENT_ROOT, &[], &body, &|_, _| false).unwrap(), body);
    assert_eq!(
        rewrite(rows::EXPERIMENT_ROOT, &[ResourceType::Run], &body, &|_, _| false).unwrap(),
        r#"{"files":[{"path":"models"},{"path":"traces"}]}"#
    );
}

#[test]
fn the_artifact_root_shows_only_readable_experiments() {
    let body = r#"{"files":[{"path":"1"},{"path":"2"},{"path":"models"}]}"#;
    assert_eq!(
        rewrite(rows::ARTIFACT_ROOT, &[], body, &only(&["2"])).unwrap(),
        r#"{"files":[{"path":"2"},{"path":"models"}]}"#
    );
}

#[test]
fn an_mcp_server_says_what_its_reader_may_do() {
    let body = r#"{"mcp_servers":[{"name":"a/b","allowed_actions":["MANAGE"]},{"name":"c/d"}],"next_page_token":null}"#;
    let up_to_update = |question: &pb::Question, id: &str| {
        id == "a/b"
            && question.point
            && matches!(question.action(), Action::Read | Action::Use | Action::Update)
    };
    assert_eq!(
        rewrite(rows::MCP_SERVERS, &[], body, &up_to_update).unwrap(),
        r#"{"mcp_servers":[{"name":"a/b","allowed_actions":["USE","UPDATE"]}],"next_page_token":null}"#
    );
    let one = r#"{"name":"c/d"}"#;
    assert_eq!(
        rewrite(rows::MCP_SERVER, &[], one, &|_, _| false).unwrap(),
        r#"{"name":"c/d","allowed_actions":[]}"#
    );
}

/// As MLflow 3.18.0 answers without its auth app, cut down to what is read.
#[test]
fn skills_are_judged_by_organization_and_name() {
    let found = find(Method::Get, "/api/3.0/mlflow/skills").unwrap().route.response;
    let body = r#"{"skills":[{"name":"a","organization":""},{"name":"a","organization":"acme"},{"name":"b"},{"name":"b","organization":null}],"next_page_token":"t"}"#;
    let may = |question: &pb::Question, id: &str| {
        assert!(question.point && question.r#type() == ResourceType::Skill);
        id == "@acme/a" && matches!(question.action(), Action::Read | Action::Use)
    };
    assert_eq!(
        rewrite(found, &[], body, &may).unwrap(),
        r#"{"skills":[{"name":"a","organization":"acme","allowed_actions":["USE"]}],"next_page_token":"t"}"#
    );
    let one = find(Method::Get, "/api/3.0/mlflow/skills/@acme/a").unwrap().route.response;
    assert_eq!(
        rewrite(one, &[], r#"{"name":"a","organization":"acme"}"#, &may).unwrap(),
        r#"{"name":"a","organization":"acme","allowed_actions":["USE"]}"#
    );
}

#[test]
fn a_super_admin_sees_what_mlflow_sent() {
    let operation = operation(rows::EXPERIMENTS, get("/x"));
    let mut answer = decision(&[]);
    answer.principal.as_mut().unwrap().super_admin = true;
    assert!(Rewriting::plan(&operation, &answer).is_none());
}

#[test]
fn what_the_decision_told_is_not_asked_again() {
    let mut operation = operation(rows::EXPERIMENTS, get("/x"));
    operation.scopes.push(every(ResourceType::Experiment));
    let body = br#"{"experiments":[{"experiment_id":"1"},{"experiment_id":"2"}]}"#;
    let left = |result: pb::ScopeResult| {
        let decision = pb::AuthorizeResponse { scopes: vec![result], ..decision(&[]) };
        let mut rewriting = Rewriting::plan(&operation, &decision).unwrap();
        rewriting.body(&operation.forward, body).unwrap()
    };
    let one = Next::Done(br#"{"experiments":[{"experiment_id":"1"}]}"#.to_vec());
    assert_eq!(left(pb::ScopeResult { allowed: vec!["1".into()], ..Default::default() }), one);
    let but = pb::ScopeResult { all_but: true, except: vec!["2".into()], ..Default::default() };
    assert_eq!(left(but), one);
    let unlisted = pb::ScopeResult { unlisted: true, ..Default::default() };
    assert!(matches!(left(unlisted), Next::Ask(_)));
}

#[test]
fn answers_that_do_not_fit_the_questions_are_an_error() {
    let operation = operation(rows::EXPERIMENTS, get("/x"));
    let mut rewriting = Rewriting::plan(&operation, &decision(&[])).unwrap();
    let body = br#"{"experiments":[{"experiment_id":"1"}]}"#;
    assert!(matches!(rewriting.body(&operation.forward, body), Ok(Next::Ask(_))));
    assert_eq!(rewriting.answered(&[]), Err(ResponseError::Answer));
}

#[test]
fn what_is_not_a_json_object_is_not_passed_on() {
    for body in [
        "",
        "[]",
        "<html>",
        "{\"experiments\":[",
        "{}{}",
        "{\"experiments\":7}",
        "{\"a\":1,\"a\":2}",
    ] {
        assert!(rewrite(rows::EXPERIMENTS, &[], body, &|_, _| true).is_err(), "{body}");
    }
}

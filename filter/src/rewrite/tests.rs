use super::*;
use crate::operation::{Paging, Rewrite};
use crate::requirement::ReferenceKind;
use crate::surface::json::read_object;

fn object(json: &str) -> Object {
    read_object(json.as_bytes()).unwrap()
}

fn text_of(object: &Object) -> String {
    String::from_utf8(object.to_bytes()).unwrap()
}

fn work(what: ResponseWork, denied: &[ResourceType]) -> Work {
    Work {
        what,
        graph: Vec::new(),
        denied_tiers: denied.iter().map(|&tier| tier.into()).collect(),
        username: "alice".to_owned(),
        scoped: false,
    }
}

/// Applies the work with a server that lets exactly these ids pass.
fn applied(work: &Work, body: &str, allowed: &[&str]) -> String {
    let body = object(body);
    let questions = work.questions(&body);
    let answers: Vec<pb::Answer> = questions
        .to_contract()
        .into_iter()
        .map(|question| pb::Answer {
            allowed: question.ids.into_iter().filter(|id| allowed.contains(&id.as_str())).collect(),
        })
        .collect();
    text_of(&work.apply(body, &questions.answered(&answers)))
}

macro_rules! rewrite {
    ($rows:expr) => {{
        static REWRITE: Rewrite =
            Rewrite { rows: &$rows, redactions: &[], paging: Paging::AsTheyCome };
        ResponseWork::Rewrite(&REWRITE)
    }};
}

const READ: RowTest = RowTest::May {
    resource: ResourceType::Experiment,
    action: Action::Read,
    id: RowId::Field(&["info", "id"]),
};

fn list() -> ResponseWork {
    rewrite!([Rows { at: &["models", "[]"], keep: &[READ], otherwise: Otherwise::Drop }])
}

#[test]
fn only_allowed_rows_are_kept_and_a_row_without_an_id_is_dropped() {
    let body = r#"{"models":[{"info":{"id":"1"}},{"info":{"id":2}},{"x":1},7,null],"next":"t"}"#;
    let kept = applied(&work(list(), &[]), body, &["2", "9"]);
    assert_eq!(kept, r#"{"models":[{"info":{"id":2}}],"next":"t"}"#);
}

#[test]
fn a_list_that_is_no_list_shows_nothing() {
    let kept = applied(&work(list(), &[]), r#"{"models":{"info":{"id":"1"}}}"#, &["1"]);
    assert_eq!(kept, r#"{"models":[]}"#);
}

#[test]
fn a_question_without_an_answer_lets_nothing_pass() {
    let work = work(list(), &[]);
    let body = object(r#"{"models":[{"info":{"id":"1"}}]}"#);
    let questions = work.questions(&body);
    assert_eq!(questions.to_contract().len(), 1);
    assert_eq!(text_of(&work.apply(body, &questions.answered(&[]))), r#"{"models":[]}"#);
}

#[test]
fn ids_are_asked_once_and_by_kind() {
    let body =
        object(r#"{"models":[{"info":{"id":"1"}},{"info":{"id":"1"}},{"info":{"id":"2"}}]}"#);
    let questions = work(list(), &[]).questions(&body).to_contract();
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].ids, ["1", "2"]);
}

#[test]
fn a_denied_tier_is_cleared_wherever_it_stands_and_others_stay() {
    let redactions = ResponseWork::Redact(&[
        Redaction { when: When::Denied(ResourceType::Run), path: &["rows", "[]", "run_id"] },
        Redaction { when: When::Denied(ResourceType::Trace), path: &["rows", "[]", "trace"] },
        Redaction { when: When::Denied(ResourceType::Run), path: &["rows", "[]", "meta", "=r"] },
    ]);
    let body = r#"{"rows":[{"run_id":"a","trace":"b","meta":[{"key":"r"},{"key":"s"}]},{}]}"#;
    let cleared = applied(&work(redactions, &[ResourceType::Run]), body, &[]);
    assert_eq!(cleared, r#"{"rows":[{"trace":"b","meta":[{"key":"s"}]},{}]}"#);
    assert!(!work(redactions, &[]).is_needed());
}

#[test]
fn the_version_tier_follows_the_tags_of_the_object_that_holds_the_versions() {
    let redactions = ResponseWork::Redact(&[Redaction {
        when: When::Denied(ResourceType::ModelOrPromptVersion),
        path: &["m", "[]", "latest"],
    }]);
    let body = r#"{"m":[{"tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}],"latest":[1]},{"latest":[2]}]}"#;
    let cleared = applied(&work(redactions, &[ResourceType::PromptVersion]), body, &[]);
    assert!(!cleared.contains("[1]") && cleared.contains("[2]"), "{cleared}");
}

#[test]
fn fields_are_cleared_of_rows_that_fail_and_of_no_others() {
    let what = rewrite!([Rows {
        at: &["rows", "[]"],
        keep: &[RowTest::MayByReference {
            resource: ResourceType::GatewayEndpoint,
            action: Action::Use,
            kind: ReferenceKind::GatewayEndpointName,
            id: RowId::Either(&["a"], &["b", "a"]),
        }],
        otherwise: Otherwise::Clear(&[&["secret"]]),
    }]);
    let body = r#"{"rows":[{"a":"x","secret":1},{"b":{"a":"y"},"secret":2},{"secret":3}]}"#;
    let cleared = applied(&work(what, &[]), body, &["y"]);
    assert_eq!(cleared, r#"{"rows":[{"a":"x"},{"b":{"a":"y"},"secret":2},{}]}"#);
}

#[test]
fn allowed_actions_are_what_the_server_says_and_never_what_upstream_says() {
    let what = rewrite!([Rows {
        at: &[],
        keep: &[],
        otherwise: Otherwise::Stamp {
            resource: ResourceType::McpServer,
            id: RowId::Field(&["name"])
        },
    }]);
    let work = work(what, &[]);
    let body = object(r#"{"allowed_actions":["manage"],"name":"s"}"#);
    let questions = work.questions(&body);
    let answers: Vec<pb::Answer> = questions
        .to_contract()
        .iter()
        .map(|question| pb::Answer {
            allowed: if question.action == i32::from(Action::Read) {
                question.ids.clone()
            } else {
                Vec::new()
            },
        })
        .collect();
    let stamped = text_of(&work.apply(body, &questions.answered(&answers)));
    assert_eq!(stamped, r#"{"name":"s","allowed_actions":["read"]}"#);
}

#[test]
fn a_review_queue_is_for_its_users_unless_the_scope_is_held() {
    let what = rewrite!([Rows {
        at: &["q", "[]"],
        keep: &[RowTest::ListedUnlessScoped(&["users"])],
        otherwise: Otherwise::Drop,
    }]);
    let body = r#"{"q":[{"users":["alice"]},{"users":["bob"]},{"users":"alice"}]}"#;
    assert_eq!(applied(&work(what, &[]), body, &[]), r#"{"q":[{"users":["alice"]}]}"#);
    let scoped = Work { scoped: true, ..work(what, &[]) };
    assert_eq!(applied(&scoped, body, &[]), body);
}

#[test]
fn scorer_keys_are_made_as_mlflow_makes_them() {
    let row = object(r#"{"experiment_id":7,"name":"a/b c~é"}"#);
    let id = RowId::Scorer { experiment_id: &["experiment_id"], name: &["name"] };
    assert_eq!(id_of(&row, id).as_deref(), Some("7/a%2Fb%20c~%C3%A9"));
}

#[test]
fn graph_rows_are_judged_through_aliases_and_nested_arrays() {
    let rows = GraphRows { at: vec!["a".to_owned(), "versions".to_owned()], name: "n".to_owned() };
    let work = Work { graph: vec![rows], ..work(ResponseWork::Graph, &[]) };
    let body = r#"{"data":{"a":[{"versions":[{"n":"x"},{"n":"y"},{}]},null],"b":1}}"#;
    assert_eq!(
        applied(&work, body, &["y"]),
        r#"{"data":{"a":[{"versions":[{"n":"y"}]},null],"b":1}}"#
    );
}

#[test]
fn artifact_directories_of_others_are_dropped() {
    let what = rewrite!([Rows {
        at: &["files", "[]"],
        keep: &[RowTest::ExperimentDirectory(&["path"])],
        otherwise: Otherwise::Drop,
    }]);
    let body = r#"{"files":[{"path":"1"},{"path":"2/"},{"path":"shared"},{}]}"#;
    let kept = applied(&work(what, &[]), body, &["2"]);
    assert_eq!(kept, r#"{"files":[{"path":"2/"},{"path":"shared"}]}"#);
}

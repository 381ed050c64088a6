use super::*;
use crate::headers::Headers;

const RUN: &str = "0123456789abcdef0123456789abcdef";

struct Request {
    method: &'static str,
    path: String,
    headers: Headers,
    body: Option<Vec<u8>>,
}

fn get(path: impl Into<String>) -> Request {
    Request { method: "GET", path: path.into(), headers: Headers::new(), body: None }
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Request {
    Request { method: "POST", path: path.into(), headers: Headers::new(), body: Some(body.into()) }
        .with("content-type", "application/json")
}

impl Request {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name.as_bytes(), value.as_bytes());
        self
    }

    fn head(&self, settings: &SurfaceSettings) -> Result<Reading, Refusal> {
        read_head(
            settings,
            RawHead {
                method: self.method.as_bytes(),
                path: self.path.as_bytes(),
                headers: &self.headers,
                end_of_stream: self.body.is_none(),
            },
        )
    }

    fn operation(&self) -> Result<Operation, Refusal> {
        match self.head(&SurfaceSettings::default())? {
            Reading::Routed(routed) => {
                let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
                routed.read(self.body.as_deref().filter(|_| whole))
            }
            other => panic!("not routed: {other:?}"),
        }
    }
}

#[test]
fn the_ui_may_label_a_request_without_body_as_json() {
    let request = get(format!("/ajax-api/2.0/mlflow/runs/get?run_id={RUN}"))
        .with("content-type", "application/json; charset=utf-8");
    assert_eq!(request.operation().unwrap().route, "/2.0/mlflow/runs/get");
}

#[test]
fn the_client_may_send_run_uuid_and_run_id_together() {
    let path = format!("/api/2.0/mlflow/runs/get?run_uuid={RUN}&run_id={RUN}");
    assert_eq!(get(&path).operation().unwrap().forward.path, path);
}

#[test]
fn a_get_with_a_body_is_refused() {
    let mut request = get("/api/2.0/mlflow/experiments/get?experiment_id=1");
    request.body = Some(br#"{"experiment_id":"2"}"#.to_vec());
    assert!(matches!(request.head(&SurfaceSettings::default()), Err(Refusal::Ambiguous { .. })));
}

#[test]
fn a_get_that_announces_an_empty_body_passes() {
    let mut request =
        get("/api/2.0/mlflow/experiments/get?experiment_id=1").with("content-length", "0");
    request.body = Some(Vec::new());
    assert!(request.operation().is_ok());
}

#[test]
fn ids_in_query_and_body_are_refused() {
    let body = r#"{"experiment_id":"1","new_name":"x"}"#;
    for query in ["experiment_id=0", "experimentId=0", "new_name=y", "experiment%5Fid=0"] {
        let path = format!("/api/2.0/mlflow/experiments/update?{query}");
        assert!(post(&path, body).operation().is_err(), "{query}");
    }
    assert!(post("/api/2.0/mlflow/experiments/update", body).operation().is_ok());
}

#[test]
fn a_body_that_is_not_plain_json_is_refused_at_the_head() {
    let path = "/api/2.0/mlflow/experiments/update";
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/vnd.x+json"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "Application/JSON"),
        ("content-type", "application/json; charset=utf-16"),
    ] {
        let mut request = post(path, "{}");
        request.headers = [(name, value)].into_iter().collect();
        assert!(request.head(&SurfaceSettings::default()).is_err(), "{value}");
    }
    let gzip = post(path, "{}").with("content-encoding", "gzip");
    assert!(gzip.head(&SurfaceSettings::default()).is_err());
    let mut bare = post(path, "{}");
    bare.headers = Headers::new();
    assert!(bare.head(&SurfaceSettings::default()).is_err());
}

#[test]
fn a_body_over_the_limit_is_too_large() {
    let settings = SurfaceSettings { body_limit: 10, ..SurfaceSettings::default() };
    let request = post("/api/2.0/mlflow/experiments/update", r#"{"experiment_id":"1"}"#);
    let Ok(Reading::Routed(routed)) = request.head(&settings) else { panic!("not routed") };
    assert_eq!(routed.body_need(), BodyNeed::Whole { limit: 10 });
    assert_eq!(routed.read(request.body.as_deref()).unwrap_err(), Refusal::TooLarge { limit: 10 });
}

#[test]
fn the_id_that_is_authorized_is_the_id_that_is_forwarded() {
    let operation = post(
        "/api/2.0/mlflow/experiments/%75pdate",
        "{ \"experiment\\u005fid\" : \"1\", \"new_name\": \"x\" }",
    )
    .operation()
    .unwrap();
    assert_eq!(operation.forward.path, "/api/2.0/mlflow/experiments/update");
    assert_eq!(
        operation.forward.body.as_deref(),
        Some(&br#"{"experiment_id": "1", "new_name": "x"}"#[..])
    );
}

fn forwarded(path: &str, body: &str) -> String {
    let operation = post(path, body).operation().unwrap();
    String::from_utf8(operation.forward.body.unwrap()).unwrap()
}

#[test]
fn what_was_decided_on_is_forwarded_before_what_mlflows_parser_may_stop_at() {
    const TRACE: &str = "tr-0123456789abcdef0123456789abcdef";
    let location = r#"{"mlflow_experiment": {"experiment_id": "1"}, "type": 5}"#;
    for (path, body, starts) in [
        (
            "/api/3.0/mlflow/issues/search",
            r#"{"max_results":99999999999,"page_token":5,"experiment_id":"1"}"#.to_owned(),
            r#"{"experiment_id": "1", "#.to_owned(),
        ),
        (
            "/api/3.0/mlflow/datasets/search",
            r#"{"order_by":[5],"[x]":1,"experiment_ids":["1"]}"#.to_owned(),
            r#"{"experiment_ids": ["1"], "#.to_owned(),
        ),
        (
            "/api/2.0/mlflow/logged-models",
            r#"{"params":[{"key":5}],"name":"x","experiment_id":"1"}"#.to_owned(),
            r#"{"experiment_id": "1", "#.to_owned(),
        ),
        (
            "/api/2.0/mlflow/logged-models/search",
            r#"{"order_by":[{"field_name":5}],"filter":"x","experiment_ids":["1"]}"#.to_owned(),
            r#"{"experiment_ids": ["1"], "filter": "x", "#.to_owned(),
        ),
        (
            "/api/3.0/mlflow/traces/search",
            r#"{"max_results":-1e99,"locations":[{"type":5,"mlflow_experiment":{"experiment_id":"1"}}]}"#
                .to_owned(),
            format!(r#"{{"locations": [{location}], "#),
        ),
        (
            "/api/3.0/mlflow/traces/metrics",
            r#"{"order_by":[{}],"max_results":true,"view_type":"TRACES","experiment_ids":["1"]}"#
                .to_owned(),
            r#"{"experiment_ids": ["1"], "view_type": "TRACES", "order_by": "#.to_owned(),
        ),
        (
            "/api/3.0/mlflow/traces",
            format!(
                r#"{{"x":1,"trace":{{"y":1,"trace_info":{{"client_request_id":5,"assessments":[{{"a":5}}],
                "trace_location":{{"type":5,"mlflow_experiment":{{"z":1,"experiment_id":"1"}}}},
                "trace_id":"{TRACE}"}}}}}}"#
            ),
            format!(
                r#"{{"trace": {{"trace_info": {{"trace_id": "{TRACE}", "trace_location": {{"mlflow_experiment": {{"experiment_id": "1", "#
            ),
        ),
    ] {
        let sent = forwarded(path, &body);
        assert!(sent.starts_with(&starts), "{path}: {sent}");
        assert_eq!(forwarded(path, &sent), sent, "{path}");
    }
}

#[test]
fn a_list_of_ids_is_not_a_text_and_a_text_no_list() {
    for (path, body) in [
        ("/api/3.0/mlflow/datasets/create", r#"{"name":"x","experiment_ids":"12"}"#),
        ("/api/3.0/mlflow/datasets/search", r#"{"experiment_ids":"1"}"#),
        ("/api/3.0/mlflow/issues/search", r#"{"experiment_id":["1"]}"#),
        ("/api/3.0/mlflow/traces/metrics", r#"{"filters":"x","experiment_ids":["1"]}"#),
        ("/api/3.0/mlflow/traces/metrics", r#"{"metric_name":["x"],"experiment_ids":["1"]}"#),
    ] {
        assert!(post(path, body).operation().is_err(), "{path} {body}");
    }
}

#[test]
fn a_query_beside_a_body_is_refused_in_either_spelling_and_a_body_of_thousands_of_members() {
    let path = "/api/2.0/mlflow/runs/search";
    let beside =
        |query: &str| post(&format!("{path}?{query}"), r#"{"experiment_ids":["1"],"aB":1}"#);
    assert!(beside("x=1&y=2").operation().is_ok());
    for query in ["a_b=1", "aB=1", "experiment_ids=1", "experimentIds=1"] {
        assert!(beside(query).operation().is_err(), "{query}");
    }
    let members = |count: usize| {
        let members: String = (1..count).map(|n| format!(",\"m{n}\":1")).collect();
        post(path, format!(r#"{{"experiment_ids":["1"]{members}}}"#)).operation().is_ok()
    };
    assert!(members(4_096));
    assert!(!members(4_097));
}

#[test]
fn what_mlflows_auth_app_would_not_find_is_not_decided_on() {
    const MINE: &str = r#"{"mlflow_experiment":{"experiment_id":"1"}}"#;
    for (path, body) in [
        ("/api/3.0/mlflow/datasets/create", r#"{"name":"x","experimentIds":["1"]}"#.to_owned()),
        ("/api/3.0/mlflow/datasets/search", r#"{"experimentIds":["1"]}"#.to_owned()),
        ("/api/3.0/mlflow/traces/search", format!(r#"{{"locations":[{{}},{MINE}]}}"#)),
        ("/api/3.0/mlflow/traces/search", format!(r#"{{"locations":[{MINE},{{"x":5}}]}}"#)),
    ] {
        assert!(post(path, body.as_str()).operation().is_err(), "{path} {body}");
    }
}

#[test]
fn a_version_that_mlflow_cannot_read_is_refused_because_the_whole_scorer_would_go() {
    let delete = |version: &str| {
        let body = format!(r#"{{"experiment_id":"1","name":"s","version":{version}}}"#);
        Request { method: "DELETE", ..post("/api/3.0/mlflow/scorers/delete", body) }.operation()
    };
    for version in ["1", "2147483647", "\"7\""] {
        assert_eq!(delete(version).unwrap().effects, [], "{version}");
    }
    assert_eq!(delete("null").unwrap().effects.len(), 1);
    for version in [
        "99999999999",
        "2147483648",
        "\"99999999999\"",
        "\"x\"",
        "\"\"",
        "\" 1\"",
        "\"+1\"",
        "\"1_0\"",
        "0",
        "-1",
        "1.5",
        "1e0",
        "true",
        "[1]",
        "{}",
    ] {
        assert!(delete(version).is_err(), "{version}");
    }
}

#[test]
fn a_tag_that_mlflow_cannot_read_is_refused_because_those_behind_it_would_go() {
    let create = |first: &str| {
        let tags = format!(r#"[{first}{{"key":"mlflow.prompt.is_prompt","value":"true"}}]"#);
        let models = format!(r#"{{"name":"m","tags":{tags}}}"#);
        let versions = format!(r#"{{"name":"m","source":"dummy-source","tags":{tags}}}"#);
        [("registered-models", models), ("model-versions", versions)]
            .map(|(route, body)| post(&format!("/api/2.0/mlflow/{route}/create"), body).operation())
    };
    assert!(create(r#"{"key":"a","value":"b"},{"key":"c"},"#).iter().all(Result::is_ok));
    for first in [
        r#"{"key":"a","value":5},"#,
        r#"{"key":5,"value":"b"},"#,
        r#"{"key":5},"#,
        r#"{"key":"a","[x]":"b"},"#,
        r#"{"key":["a"]},"#,
        "5,",
        "null,",
    ] {
        assert!(create(first).iter().all(Result::is_err), "{first}");
    }
}

#[test]
fn an_upload_streams_through_unread() {
    let path = format!("/ajax-api/2.0/mlflow/upload-artifact?run_uuid={RUN}&path=a/b.txt");
    let mut request = post(&path, "anything");
    request.headers = Headers::new();
    let Ok(Reading::Routed(routed)) = request.head(&SurfaceSettings::default()) else {
        panic!("not routed")
    };
    assert_eq!(routed.body_need(), BodyNeed::Unread);
    let operation = routed.read(None).unwrap();
    assert_eq!(operation.requirements.len(), 2);
    assert_eq!(operation.forward.body, None);
}

#[test]
fn an_unknown_route_needs_a_super_admin() {
    for request in [
        get("/api/2.0/mlflow/nothing"),
        get("/api/2.0/mlflow/runs/get/"),
        Request { method: "HEAD", ..get("/get-artifact?run_id=x") },
    ] {
        let Ok(Reading::Unknown(operation)) = request.head(&SurfaceSettings::default()) else {
            panic!("{} is known", request.path)
        };
        assert_eq!(operation.requirements, [Requirement::Standing(Standing::SuperAdmin)]);
    }
}

#[test]
fn health_version_and_server_info_are_public_and_nothing_else_is() {
    let settings = SurfaceSettings::default();
    for path in ["/health", "/version", "/api/3.0/mlflow/server-info"] {
        assert!(matches!(get(path).head(&settings), Ok(Reading::Public(_))), "{path}");
    }
    let head = Request { method: "HEAD", ..get("/health") };
    assert!(matches!(head.head(&settings), Ok(Reading::Public(_))));
    for path in ["/healthz", "/health/../get-artifact", "/", "/static-files/x.js"] {
        assert!(!matches!(get(path).head(&settings), Ok(Reading::Public(_))), "{path}");
    }
}

#[test]
fn a_setting_cannot_make_a_guarded_route_public() {
    let settings = SurfaceSettings {
        public_routes: vec!["/2.0/mlflow/experiments/get".into()],
        ..SurfaceSettings::default()
    };
    let request = get("/api/2.0/mlflow/experiments/get?experiment_id=1");
    assert!(matches!(request.head(&settings), Ok(Reading::Routed(_))));
}

#[test]
fn only_a_real_preflight_is_a_preflight() {
    let settings = SurfaceSettings::default();
    let options = || Request { method: "OPTIONS", ..get("/api/2.0/mlflow/runs/search") };
    let preflight =
        options().with("origin", "https://a.example").with("access-control-request-method", "POST");
    assert!(matches!(preflight.head(&settings), Ok(Reading::Preflight(_))));
    assert!(matches!(options().head(&settings), Ok(Reading::Unknown(_))));
    let mut with_body = preflight;
    with_body.body = Some(b"{}".to_vec());
    assert!(with_body.head(&settings).is_err());
}

#[test]
fn the_static_prefix_and_the_path_prefix_are_matched_and_kept() {
    let settings = SurfaceSettings {
        path_prefix: "/team".into(),
        static_prefix: "/ui".into(),
        ..SurfaceSettings::default()
    };
    let path = "/team/ui/api/2.0/mlflow/experiments/get?experiment_id=1";
    let Ok(Reading::Routed(routed)) = get(path).head(&settings) else { panic!("not routed") };
    assert_eq!(routed.read(None).unwrap().forward.path, path);
    assert!(matches!(get("/other").head(&settings), Ok(Reading::OutOfScope)));
    assert!(get("/%2574eam/ui/health").head(&settings).is_err());
    assert!(matches!(get("/%74eam/ui/health").head(&settings), Ok(Reading::Public(_))));
}

#[test]
fn another_host_is_out_of_scope() {
    let settings =
        SurfaceSettings { hosts: vec!["ml.example".into()], ..SurfaceSettings::default() };
    let at = |host| get("/api/2.0/mlflow/x").with(":authority", host).head(&settings);
    assert!(matches!(at("other.example"), Ok(Reading::OutOfScope)));
    for host in ["ml.example", "ML.example:8443", "ml.example."] {
        assert!(matches!(at(host), Ok(Reading::Unknown(_))), "{host}");
    }
}

#[test]
fn a_search_is_cut_down_to_readable_experiments() {
    let operation =
        post("/api/2.0/mlflow/runs/search", r#"{"experimentIds":["1","2"],"max_results":5}"#)
            .operation()
            .unwrap();
    assert_eq!(operation.scopes[0].ids, ["1", "2"]);
    assert_eq!(operation.forward.scoped[0].field, "experimentIds");
    let bad = post("/api/2.0/mlflow/runs/search", r#"{"experiment_ids":["01"," 1"]}"#);
    assert!(bad.operation().is_err());
}

//! The holes that are known of MLflow and of gateways before it, each by its name: what can be
//! decided without a network. The rest is tested end to end.

mod asking;

use asking::{A, B, JSON, get, is_closed, json, mentions, needs, post, send};
use mlgate_filter::refusal::Refusal;
use mlgate_filter::requirement::Action::{Delete, Manage, Read, Update, Use};
use mlgate_filter::requirement::ResourceType::{
    Assessment, Experiment, GatewayEndpoint, LoggedModel, ModelOrPrompt, Run, Trace,
};
use mlgate_filter::requirement::{Action, Requirement, Standing};
use mlgate_filter::surface::SurfaceSettings;

// --- holes in MLflow's own checks ----------------------------------------------------------

#[test]
fn pd_03_a_delete_takes_its_ids_from_one_place() {
    for route in [
        "2.0/mlflow/registered-models/delete",
        "2.0/mlflow/registered-models/delete-tag",
        "2.0/mlflow/registered-models/alias",
        "2.0/mlflow/model-versions/delete",
        "2.0/mlflow/model-versions/delete-tag",
        "3.0/mlflow/scorers/delete",
        "3.0/mlflow/label-schemas/delete",
    ] {
        let path = format!("/api/{route}?name=mine&schema_id=ls-1&experiment_id=1");
        let body = r#"{"name":"victim","schema_id":"ls-2","experiment_id":"2"}"#;
        assert!(json("DELETE", &path, body).is_err(), "{route}");
        assert!(send("DELETE", &path, &[], Some(body.as_bytes())).is_err(), "{route}");
        assert!(send("DELETE", &path, &[], None).is_err(), "{route}");
    }
}

#[test]
fn pd_04_path_and_body_must_name_one_model() {
    let path = format!("/api/2.0/mlflow/logged-models/m-{A}");
    assert!(json("PATCH", &path, &format!(r#"{{"model_id":"m-{B}","status":2}}"#)).is_err());
    assert!(json("PATCH", &path, &format!(r#"{{"modelId":"m-{B}"}}"#)).is_err());
    let same = json("PATCH", &path, &format!(r#"{{"model_id":"m-{A}","status":2}}"#)).unwrap();
    assert!(needs(&same, LoggedModel, Update, "*"));
}

#[test]
fn pd_10_a_trace_that_exists_is_not_taken_over() {
    let body = format!(
        r#"{{"trace":{{"trace_info":{{"trace_id":"tr-{A}","trace_location":
        {{"mlflow_experiment":{{"experiment_id":"1"}}}}}}}}}}"#
    );
    let operation = post("/api/3.0/mlflow/traces", &body).unwrap();
    let guarded = operation.requirements.iter().any(|need| {
        matches!(need, Requirement::AnyOf(items)
            if items.iter().any(|item| matches!(item, Requirement::Absent(_)))
                && mentions(need, Trace, Update, "*"))
    });
    assert!(guarded && needs(&operation, Experiment, Update, "1"));
}

#[test]
fn pd_11_spans_and_runs_of_others_are_authorized() {
    let body =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{A}"}}]}}]}}]}}"#);
    let headers = [JSON, ("x-mlflow-experiment-id", &b"1"[..]), ("x-mlflow-run-id", B.as_bytes())];
    let operation = send("POST", "/v1/traces", &headers, Some(body.as_bytes())).unwrap();
    assert!(needs(&operation, Run, Update, "*") && needs(&operation, Experiment, Update, B));
    assert!(needs(&operation, Experiment, Update, &format!("tr-{A}")));
    assert!(send("POST", "/v1/traces", &[JSON], Some(body.as_bytes())).is_err());
}

#[test]
fn the_traces_in_a_compressed_export_are_authorized_too() {
    use std::io::Write;

    let body =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{A}"}}]}}]}}]}}"#);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let export = |coding: &[u8], body: &[u8]| {
        let headers = [JSON, ("x-mlflow-experiment-id", &b"1"[..]), ("content-encoding", coding)];
        send("POST", "/v1/traces", &headers, Some(body))
    };
    let operation = export(b"gzip", &body).unwrap();
    assert!(needs(&operation, Experiment, Update, &format!("tr-{A}")));
    assert_eq!(operation.forward.body, None, "the bytes go on as they came");
    for coding in [&b"deflate"[..], b"zstd", b"gzip, gzip"] {
        assert!(export(coding, &body).is_err());
    }
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; SurfaceSettings::default().body_limit + 1]).unwrap();
    let refusal = export(b"gzip", &bomb.finish().unwrap()).unwrap_err();
    assert!(matches!(refusal, Refusal::TooLarge { .. }));
}

#[test]
fn pd_12_nothing_is_called_star() {
    for (path, body) in [
        ("/api/2.0/mlflow/registered-models/create", r#"{"name":"*"}"#),
        ("/api/2.0/mlflow/registered-models/rename", r#"{"name":"a","new_name":"*"}"#),
        ("/api/2.0/mlflow/registered-models/rename", r#"{"name":"a","newName":"*"}"#),
        ("/api/3.0/mlflow/mcp-servers", r#"{"name":"*"}"#),
    ] {
        assert!(post(path, body).is_err(), "{body}");
    }
}

#[test]
fn pd_13_nobody_submits_jobs_at_will() {
    let job = r#"{"job_name":"invoke_scorer","params":{"experiment_id":"2"}}"#;
    assert!(is_closed(&post("/ajax-api/3.0/jobs/", job)));
}

#[test]
fn cve_2024_4263_deleting_artifacts_takes_manage() {
    let path = format!("/api/2.0/mlflow-artifacts/artifacts/1/{A}/artifacts/x");
    let operation = send("DELETE", &path, &[], None).unwrap();
    assert!(needs(&operation, Run, Manage, "*") && needs(&operation, Experiment, Manage, "1"));
    let root = send("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1", &[], None).unwrap();
    for tier in [Run, Trace, LoggedModel] {
        assert!(needs(&root, tier, Manage, "*"), "{tier:?}");
    }
}

#[test]
fn cve_2025_14297_ajax_routes_need_the_run_or_experiment() {
    let bulk = get(&format!("/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={A}&run_id={B}"));
    let bulk = bulk.unwrap();
    assert!(needs(&bulk, Experiment, Read, A) && needs(&bulk, Experiment, Read, B));
    let datasets =
        post("/ajax-api/2.0/mlflow/experiments/search-datasets", r#"{"experiment_ids":["1","2"]}"#)
            .unwrap();
    assert!(needs(&datasets, Experiment, Read, "1") && needs(&datasets, Experiment, Read, "2"));
    let promptlab =
        post("/ajax-api/2.0/mlflow/runs/create-promptlab-run", r#"{"experiment_id":"1"}"#).unwrap();
    assert!(needs(&promptlab, Experiment, Update, "1"));
    let artifact =
        get(&format!("/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-{A}")).unwrap();
    assert!(needs(&artifact, Trace, Read, "*"));
}

#[test]
fn cve_2026_8147_every_trace_route_needs_the_trace() {
    let id = format!("tr-{A}");
    let operation = get(&format!("/api/3.0/mlflow/traces/{id}")).unwrap();
    assert!(needs(&operation, Experiment, Read, &id));
    let delete = post(
        "/api/3.0/mlflow/traces/delete-traces",
        &format!(r#"{{"experiment_id":"1","request_ids":["{id}"]}}"#),
    )
    .unwrap();
    assert!(needs(&delete, Trace, Delete, "*") && needs(&delete, Experiment, Delete, "1"));
    let batch =
        get(&format!("/ajax-api/3.0/mlflow/traces/batchGet?trace_ids={id}&trace_ids=tr-{B}"));
    let batch = batch.unwrap();
    assert!(needs(&batch, Experiment, Read, &id));
    assert!(needs(&batch, Experiment, Read, &format!("tr-{B}")));
    assert!(is_closed(&get("/ajax-api/3.0/mlflow/traces/batchGet")));
}

#[test]
fn cve_2026_2651_multipart_uploads_need_update_under_both_prefixes() {
    for prefix in ["/api", "/ajax-api"] {
        for step in ["create", "complete", "abort"] {
            let path = format!("{prefix}/2.0/mlflow-artifacts/mpu/{step}/1/{A}/artifacts");
            let operation = post(&path, r#"{"path":"model.bin"}"#).unwrap();
            assert!(needs(&operation, Run, Update, "*"), "{path}");
        }
    }
}

#[test]
fn cve_2026_2614_a_source_outside_of_what_is_readable_is_not_registered() {
    for source in ["/etc", "file:///etc/passwd", "s3://bucket/other"] {
        let body = format!(
            r#"{{"name":"m","source":"{source}","tags":[{{"key":"mlflow.prompt.is_prompt","value":"true"}}]}}"#
        );
        let operation = post("/api/2.0/mlflow/model-versions/create", &body).unwrap();
        assert!(needs(&operation, Experiment, Read, source), "{source}");
    }
    for source in ["/a/../etc", "s3://b/x#/../y", "file:///a;b", "s3://b/%2e%2e/x"] {
        let body = format!(r#"{{"name":"m","source":"{source}"}}"#);
        assert!(post("/api/2.0/mlflow/model-versions/create", &body).is_err(), "{source}");
    }
}

#[test]
fn references_are_authorized_with_what_refers_to_them() {
    let version = |source: &str| {
        let body = format!(r#"{{"name":"m","source":"{source}"}}"#);
        post("/api/2.0/mlflow/model-versions/create", &body).unwrap()
    };
    assert!(needs(&version(&format!("models:/m-{B}")), LoggedModel, Read, "*"));
    assert!(needs(&version(&format!("runs:/{B}/model")), Experiment, Read, B));
    assert!(needs(&version("models:/other/1"), ModelOrPrompt, Read, "other"));
    let metric = post(
        "/api/2.0/mlflow/runs/log-metric",
        &format!(r#"{{"run_id":"{A}","model_id":"m-{B}","key":"k","value":1.0}}"#),
    )
    .unwrap();
    assert!(needs(&metric, LoggedModel, Update, "*"));
    let issue = post(
        "/api/3.0/mlflow/issues",
        &format!(r#"{{"experiment_id":"1","source_run_id":"{B}"}}"#),
    )
    .unwrap();
    assert!(needs(&issue, Experiment, Read, B));
    let detection = post(
        "/ajax-api/3.0/mlflow/issues/invoke",
        r#"{"experiment_id":"1","endpoint_name":"judge"}"#,
    )
    .unwrap();
    assert!(needs(&detection, GatewayEndpoint, Use, "judge"));
    let linked = post(
        "/api/2.0/mlflow/traces/link-prompts",
        &format!(
            r#"{{"trace_id":"tr-{A}","prompt_versions":[{{"name":"secret","version":"1"}}]}}"#
        ),
    )
    .unwrap();
    assert!(needs(&linked, ModelOrPrompt, Read, "secret"));
}

#[test]
fn a_gateway_call_names_one_endpoint() {
    let call = |path: &str| send("POST", path, &[], Some(b"{}"));
    let invoked = call("/gateway/judge/mlflow/invocations").unwrap();
    assert!(needs(&invoked, GatewayEndpoint, Use, "judge"));
    assert!(call("/gateway/proxy/mlflow/invocations").is_err());
    let gemini = call("/gateway/gemini/v1beta/models/judge:generateContent").unwrap();
    assert!(needs(&gemini, GatewayEndpoint, Use, "judge"));
    assert!(call("/gateway/gemini/v1beta/models/a:b:generateContent").is_err());
    let chat = post("/gateway/openai/v1/chat/completions", r#"{"model":"judge"}"#).unwrap();
    assert!(needs(&chat, GatewayEndpoint, Use, "judge"));
    assert!(post("/gateway/openai/v1/chat/completions", "{}").is_err());
}

#[test]
fn privileged_routes_are_for_super_admins() {
    for (method, path) in [
        ("GET", "/api/2.0/mlflow/webhooks"),
        ("DELETE", "/api/2.0/mlflow/webhooks/w1"),
        ("GET", "/metrics"),
        ("GET", "/build/index.html"),
        ("DELETE", "/api/3.0/mlflow/workspaces/team"),
        ("GET", "/api/3.0/mlflow/prompt-optimization/jobs/j1"),
        ("GET", "/ajax-api/3.0/mlflow/assistant/sessions/s1/stream"),
        ("GET", "/api/3.0/mlflow/gateway/guardrails/list"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/skills/@acme"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts?path=skills"),
        ("POST", "/api/2.0mlflow/experiments/search-datasets"),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=anything"),
        ("OPTIONS", "/api/2.0/mlflow/runs/search"),
    ] {
        assert!(is_closed(&send(method, path, &[], None)), "{method} {path}");
    }
}

#[test]
fn mirror_headers_are_refused() {
    for name in ["x_mlflow_experiment_id", "x_mlflow_workspace", "x_forwarded_for"] {
        assert!(send("GET", "/", &[(name, b"1")], None).is_err(), "{name}");
    }
    for name in ["authorization", "x-mlflow-workspace", "x-mlflow-run-id"] {
        let twice: [(&str, &[u8]); 2] = [(name, A.as_bytes()), (name, A.as_bytes())];
        assert!(send("GET", "/", &twice, None).is_err(), "{name}");
    }
}

/// What a filter or a sort key reaches, it tells one comparison at a time.
#[test]
fn filters_do_not_tell_what_is_denied() {
    let versions = "/api/2.0/mlflow/model-versions/search";
    for query in ["filter=run_id%3D%27x%27", "filter=RUN_ID+IN+(%27x%27)", "order_by=run_id+DESC"] {
        let search = get(&format!("{versions}?{query}")).unwrap();
        assert!(needs(&search, Run, Action::NotDenied, "*"), "{query}");
    }
    let models = "/api/2.0/mlflow/logged-models/search";
    for part in [
        r#""filter":"attributes.source_run_id = 'x'""#,
        r#""order_by":[{"field_name":"source_run_id"}]"#,
        r#""orderBy":[{"fieldName":"attributes.source_run_id"}]"#,
    ] {
        let search = post(models, &format!(r#"{{"experiment_ids":["1"],{part}}}"#)).unwrap();
        assert!(needs(&search, Run, Action::NotDenied, "*"), "{part}");
    }
    let issues = r#"{"experiment_id":"1","filter_string":"source_run_id = 'x'"}"#;
    let search = post("/api/3.0/mlflow/issues/search", issues).unwrap();
    assert!(needs(&search, Run, Action::NotDenied, "*"));
    let plain = get(&format!("{versions}?filter=name%3D%27x%27")).unwrap();
    assert!(!needs(&plain, Run, Action::NotDenied, "*"), "only what is named");
}

#[test]
fn who_registers_a_scorer_may_use_the_endpoint_that_it_names() {
    let path = "/api/3.0/mlflow/scorers/register";
    let scorer = |model: &str| {
        let inner = format!("{{\\\"judge\\\":{{\\\"model\\\":\\\"{model}\\\"}}}}");
        post(path, &format!(r#"{{"experiment_id":"1","name":"s","serialized_scorer":"{inner}"}}"#))
    };
    let paid = scorer("gateway:/paid").unwrap();
    assert!(format!("{:?}", paid.requirements).contains("\"paid\""));
    assert!(!format!("{:?}", scorer("openai:/x").unwrap().requirements).contains("Gateway"));
}

#[test]
fn only_super_admins_tag_an_experiment_with_a_schedule_of_jobs() {
    let open = |path: &str, body: &str| {
        let operation = post(&format!("/api/2.0/mlflow/experiments/{path}"), body).unwrap();
        !operation.requirements.contains(&Requirement::Standing(Standing::SuperAdmin))
    };
    let key = "mlflow.issueDetection.schedule";
    for key in [key.to_owned(), format!(" {key}.x"), key.to_uppercase()] {
        let tag = format!(r#"{{"key":"{key}","value":"v"}}"#);
        let set = format!(r#"{{"experiment_id":"1","key":"{key}","value":"v"}}"#);
        assert!(!open("set-experiment-tag", &set), "{key}");
        assert!(!open("create", &format!(r#"{{"name":"x","tags":[{tag}]}}"#)), "{key}");
    }
    assert!(open("set-experiment-tag", r#"{"experiment_id":"1","key":"mlflow.note","value":"v"}"#));
    assert!(open("create", r#"{"name":"x","tags":[{"key":"a","value":"b"}]}"#));
}

#[test]
fn filters_over_traces_need_the_tiers_that_they_name() {
    let location = r#""locations":[{"mlflow_experiment":{"experiment_id":"1"}}]"#;
    let ids = r#""experiment_ids":["1"]"#;
    let (v3, one, two) = (
        "/api/3.0/mlflow/traces/search",
        "/api/3.0/mlflow/traces/calculate-filter-correlation",
        "/api/3.0/mlflow/traces/metrics",
    );
    for (path, body, tier) in [
        (v3, format!(r#"{{{location},"order_by":["run_id DESC"]}}"#), Run),
        (v3, format!(r#"{{{location},"filter":"metadata.`mlflow.sourceRun` = 'x'"}}"#), Run),
        (v3, format!(r#"{{{location},"filter":"metadata.mlflow.modelId = 'x'"}}"#), LoggedModel),
        (v3, format!(r#"{{{location},"filter":"feedback.good = 'true'"}}"#), Assessment),
        (v3, format!(r#"{{{location},"filter":"expectation.right = 'x'"}}"#), Assessment),
        (one, format!(r#"{{{ids},"filter_string1":"run_id = 'x'","filter_string2":"a"}}"#), Run),
        (
            one,
            format!(r#"{{{ids},"filterString1":"a","filterString2":"feedback.x = 'y'"}}"#),
            Assessment,
        ),
        (one, format!(r#"{{{ids},"base_filter":"assessment.x = 'y'"}}"#), Assessment),
        (two, format!(r#"{{{ids},"view_type":"TRACES","filters":["run_id = 'x'"]}}"#), Run),
        (
            two,
            format!(r#"{{{ids},"view_type":"SPANS","dimensions":["assessment_name"]}}"#),
            Assessment,
        ),
        (two, format!(r#"{{{ids},"view_type":"ASSESSMENTS"}}"#), Assessment),
        (two, format!(r#"{{{ids},"view_type":"SOMETHING_NEW"}}"#), Assessment),
        (two, format!("{{{ids}}}"), Assessment),
    ] {
        let search = post(path, &body).unwrap();
        assert!(needs(&search, tier, Read, "*"), "{path} {body}");
    }
    let filter = "experiment_ids=1&filter=request_metadata.%60mlflow.sourceRun%60%3D%27x%27";
    let old = get(&format!("/api/2.0/mlflow/traces?{filter}")).unwrap();
    assert!(needs(&old, Run, Read, "*"));
    let plain = format!(r#"{{{location},"filter":"trace.status = 'OK'"}}"#);
    let plain = post(v3, &plain).unwrap();
    for tier in [Run, LoggedModel, Assessment] {
        assert!(!needs(&plain, tier, Read, "*"), "only what is named");
    }
}

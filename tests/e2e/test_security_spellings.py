"""Every spelling that MLflow has been seen to accept, sent as raw bytes by a user without grants.

The gate may refuse the spelling (400) or read it as what it is (403); MLflow must hear nothing.
"""

import base64
import gzip
import json
import zlib

import pytest
from support import raw, scene
from support.envoy import another_envoy, manager
from support.gate import basic
from support.spellings import BODIES, JSON, TARGETS, body

HEAD = "Host: 127.0.0.1\r\nConnection: close\r\n"

ARABIC = str.maketrans("0123456789", "".join(f"{chr(0x660 + n)}" for n in range(10)))

METHODS = ["HEAD", "get", "Get", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "PUT", "PATCH", "DELETE"]


@pytest.fixture(scope="module")
def acting(gate):
    return scene.make(gate, "spelling")


def filled(acting, target):
    return acting.fill(target).replace("{arabic}", acting.experiment.translate(ARABIC))


def send(acting, who, method, target, data="", further="X-None: 1", encoding="utf-8", port=None):
    fill = acting.fill
    target = filled(acting, target)
    payload = fill(data).encode(encoding)
    length = f"Content-Length: {len(payload)}\r\n" if data else ""
    login = f"Authorization: {acting.authorization(who)}\r\n" if who != "nobody" else ""
    head = f"{method} {target} HTTP/1.1\r\n{HEAD}{length}{fill(further)}\r\n{login}\r\n"
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


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_opens_nothing(acting, coding):
    data = acting.fill(body(run_id="{run}", key="k", value="v")).encode()
    packed = zlib.compress(data) if coding == "deflate" else gzip.compress(data)
    for who in ["eve", "mallory"]:
        login = [("Authorization", acting.authorization(who)), ("Content-Encoding", coding)]
        login += [("Content-Type", "application/json")]
        with acting.gate.recorder.silence():
            answers = raw.both(
                acting.gate.ready["ports"]["gate"], "POST", "/api/2.0/mlflow/runs/set-tag", login, packed
            )
        for answer in answers:
            assert_refused(answer)


@pytest.mark.parametrize("further", ["X-None: 1", "Expect: 100-continue"])
def test_a_body_that_trickles_in_is_judged_whole(acting, further):
    """Its last bytes name the run."""
    data = acting.fill(body(key="k", value="v", run_id="{run}")).encode()
    head = (
        f"POST /api/2.0/mlflow/runs/set-tag HTTP/1.1\r\n{HEAD}{JSON}\r\n{further}\r\n"
        f"Authorization: {acting.authorization('mallory')}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    pieces = [head.encode(), *(data[at : at + 12] for at in range(0, len(data), 12))]
    with acting.gate.recorder.silence():
        answer = raw.trickled(acting.gate.ready["ports"]["gate"], pieces)
    assert answer.status == 403, answer


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
        "X_MLFLOW_WORKSPACE: other",
        "x-mlflow-workspace: DEFAULT",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 0\r\nContent-Length: 5",
        "Expect: 100-continue",
    ],
)
def test_a_header_opens_nothing(acting, header):
    target = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    assert_refused(send(acting, "eve", "GET", target, further=header))


@pytest.mark.parametrize("host", ["127.0.0.1/static-files?", "127.0.0.1:1/health#", "x@127.0.0.1"])
def test_a_host_that_continues_as_a_path_opens_nothing(acting, host):
    """MLflow once rebuilt the path from such a Host."""
    request = (
        f"GET /api/2.0/mlflow/experiments/get?experiment_id={acting.experiment} HTTP/1.1\r\n"
        f"Host: {host}\r\nAuthorization: {acting.authorization('eve')}\r\nConnection: close\r\n\r\n"
    )
    with acting.gate.recorder.silence():
        assert_refused(raw.http1(acting.gate.ready["ports"]["gate"], request.encode()))


SPLIT = "%0d%0aX-Injected:%201%0d%0a%0d%0a<script>"


@pytest.mark.parametrize(
    "method, target, data, further",
    [
        ("GET", f"/{SPLIT}", "", "X-None: 1"),
        ("GET", f"/api/2.0/mlflow/experiments/get{SPLIT}?experiment_id={{victim}}", "", "X-None: 1"),
        ("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={SPLIT}", "", "X-None: 1"),
        ("GET", f"/api/2.0/mlflow/experiments/get?{SPLIT}=1&{SPLIT}=2", "", "X-None: 1"),
        ("GET", "/graphql%E2%80%A8", "", "X-None: 1"),
        ("POST", "/api/2.0/mlflow/experiments/update",
         '{"\\r\\nX-Injected: 1":1,"\\r\\nX-Injected: 1":2}', JSON),
        ("POST", "/api/2.0/mlflow/experiments/update",
         '{"a_b\\r\\nX-Injected: 1":1,"aB\\r\\nX-Injected: 1":2}', JSON),
        ("GET", "/api/2.0/mlflow/experiments/get?experiment_id={victim}", "",
         'X-Request-Id: "\\r\\nX-Injected: 1\r\nOrigin: https://a\tX-Injected: 1'),
        ("GET", "/api/2.0/mlflow/experiments/get?experiment_id={victim}", "",
         'X-MLFLOW-WORKSPACE: a"\tX-Injected: 1'),
        ("GET", "/signup%0d%0aLocation:%20https://attacker.example", "", "X-None: 1"),
    ],
)
@pytest.mark.parametrize("who", ["eve", "nobody"])
def test_no_request_writes_headers_of_its_answer(acting, who, method, target, data, further):
    """What a refusal repeats of the request stays within its JSON."""
    answer = send(acting, who, method, target, data, further)
    assert answer.status in (400, 401, 403), answer
    assert "x-injected" not in answer.headers and "location" not in answer.headers, answer
    assert not any("injected" in value.lower() for value in answer.headers.values()), answer
    if answer.headers.get("content-type", "").startswith("application/json"):
        assert json.loads(answer.body)["error_code"], answer
        assert b"\r" not in answer.body and b"\n" not in answer.body, "as JSON escapes it"


@pytest.mark.parametrize("who", ["a\r\nX-Injected: 1", "a\nWWW-Authenticate: Basic realm=x"])
def test_no_username_writes_headers_of_its_answer(acting, who):
    target = "/api/2.0/mlflow/experiments/search?max_results=1"
    encoded = base64.b64encode(f"{who}:wrong horse battery".encode()).decode()
    request = f"GET {target} HTTP/1.1\r\n{HEAD}Authorization: Basic {encoded}\r\n\r\n"
    with acting.gate.recorder.silence():
        answer = raw.http1(acting.gate.ready["ports"]["gate"], request.encode())
    assert answer.status in (400, 401), answer
    assert not any("injected" in value.lower() for value in answer.headers.values()), answer
    assert "x-injected" not in answer.headers and "realm=x" not in str(answer.headers), answer


def test_trailers_behind_a_chunked_body_do_not_open_the_gate(acting):
    data = acting.fill(body(run_id="{run}", key="k", value="v"))
    request = (
        f"POST /api/2.0/mlflow/runs/set-tag HTTP/1.1\r\n{HEAD}{JSON}\r\n"
        f"Authorization: {acting.authorization('eve')}\r\n"
        "Transfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n"
        f"{len(data):x}\r\n{data}\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    with acting.gate.recorder.silence():
        assert_refused(raw.http1(acting.gate.ready["ports"]["gate"], request.encode()))


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: {length}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: {length}",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\tchunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: {length}",
        "Content-Length: 5, {length}",
        "Content-Length: +5",
        "Content-Length: 0\nX: y",
    ],
)
def test_a_smuggled_second_request_is_never_let_through(acting, framing):
    """Whatever is made of the first one, which is refused too."""
    hidden = f"GET /api/2.0/mlflow/experiments/get?experiment_id={acting.experiment} HTTP/1.1\r\nHost: x\r\n\r\n"
    head = (
        f"POST /api/2.0/mlflow/runs/set-tag HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}\r\n"
        f"{framing.format(length=5 + len(hidden))}\r\n"
        f"Authorization: {acting.authorization('eve')}\r\n\r\n0\r\n\r\n"
    )
    with acting.gate.recorder.silence():
        answer = raw.http1(acting.gate.ready["ports"]["gate"], (head + hidden).encode())
        assert_refused(answer)


def test_a_filter_does_not_tell_what_a_denial_withholds(acting):
    """Which rows come back would answer it: with READ on the experiment, and DENY on all runs."""
    gate = acting.gate
    reader = gate.create_user("spelling-reader")
    gate.grant(reader[0], "READ", "experiment", acting.experiment)
    gate.grant(reader[0], "READ", "registered_model", acting.model)
    gate.grant(reader[0], "DENY", "run", "*")
    location = '"locations":[{"mlflow_experiment":{"experiment_id":"{victim}"}}]'
    ids = '"experiment_ids":["{victim}"]'
    login = [("Authorization", basic(*reader)), ("Content-Type", "application/json")]
    versions = "/api/2.0/mlflow/model-versions/search?filter="
    for method, target, data in [
        ("GET", versions + "run_id%20%3D%20%27{run}%27", None),
        ("GET", "/ajax-api" + versions.removeprefix("/api") + "RUN_ID%20IN%20%28%27{run}%27%29", None),
        ("POST", "/api/2.0/mlflow/logged-models/search", "{" + ids + ',"filter":"source_run_id = \'{run}\'"}'),
        ("POST", "/api/2.0/mlflow/logged-models/search", "{" + ids + ',"order_by":[{"field_name":"source_run_id"}]}'),
        ("POST", "/api/3.0/mlflow/issues/search", '{"experiment_id":"{victim}","filter_string":"source_run_id = \'{run}\'"}'),
        ("POST", "/api/3.0/mlflow/traces/search", "{" + location + ',"filter":"run_id = \'{run}\'"}'),
        ("POST", "/api/3.0/mlflow/traces/search", "{" + location + ',"order_by":["run_id DESC"]}'),
        ("GET", "/api/2.0/mlflow/traces?experiment_ids={victim}&filter=run_id%3D%27{run}%27", None),
    ]:
        sent = None if data is None else acting.fill(data).encode()
        with gate.recorder.silence():
            for answer in raw.both(gate.ready["ports"]["gate"], method, acting.fill(target), login, sent):
                assert answer.status == 403, (target, answer)
    plain = gate.get(acting.fill(versions + "name%3D%27{model}%27"), reader)
    assert plain.status_code == 200, "only what is named"


# --- HTTP/2 ---------------------------------------------------------------------------------


def h2_headers(acting, who, method, path, *further):
    return [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", b"127.0.0.1"),
        (b":path", filled(acting, path).encode()),
        (b"authorization", acting.authorization(who).encode()),
        *further,
    ]


def test_http2_serves_those_who_may(acting):
    path = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    port = acting.gate.ready["ports"]["gate"]
    assert raw.http2(port, h2_headers(acting, "alice", "GET", path)).status == 200


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_a_spelling_of_the_path_or_query_opens_nothing_over_http2_either(acting, name, who):
    headers = h2_headers(acting, who, "GET", TARGETS[name])
    with acting.gate.recorder.silence():
        assert_refused(raw.http2(acting.gate.ready["ports"]["gate"], headers))


@pytest.mark.parametrize("name", BODIES)
def test_a_spelling_of_the_body_opens_nothing_over_http2_either(acting, name):
    method, target, data, further = BODIES[name]
    pairs = [line.split(": ", 1) for line in acting.fill(further).split("\r\n")]
    more = [(name.lower().encode(), value.encode()) for name, value in pairs]
    headers = h2_headers(acting, "mallory", method, target, *more)
    with acting.gate.recorder.silence():
        answer = raw.http2(acting.gate.ready["ports"]["gate"], headers, acting.fill(data).encode())
    if name.startswith("search"):
        # What is not readable is cut from a search.
        assert answer.status in (200, 400, 403), answer
    else:
        assert_refused(answer)


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
        (b":authority", b"127.0.0.1/static-files?"),
        (b":protocol", b"websocket"),
        (b":protocol", b"connect-udp"),
        (b"authorization", b"Basic YWRtaW46YWRtaW4="),
        (b"x-mlflow-workspace", b" default"),
        (b"expect", b"100-continue"),
    ],
    ids=str,
)
def test_an_odd_http2_request_opens_nothing(acting, change):
    name, value = change
    path = "/api/2.0/mlflow/experiments/get?experiment_id={victim}"
    headers = h2_headers(acting, "eve", "GET", path)
    if name == b":protocol":
        # CONNECT as WebSockets use it over HTTP/2.
        headers = [(n, b"CONNECT" if n == b":method" else v) for n, v in headers[:4]]
        headers += [change, (b"authorization", acting.authorization("eve").encode())]
    elif name.startswith(b":"):
        headers = [(n, value if n == name else v) for n, v in headers]
    else:
        headers.append(change)
    with acting.gate.recorder.silence():
        answer = raw.http2(acting.gate.ready["ports"]["gate"], headers)
    assert answer is None or answer.status >= 400, answer

"""MLflow's own history of holes, each request shape sent by nobody and by a user without grants.

The requests are raw bytes, because a client's library would tidy them, over HTTP/1.1 and HTTP/2.
"""

import json
from urllib.parse import urlencode

import pytest
from support import raw, scene
from support.gate import basic


@pytest.fixture(scope="module")
def acting(gate):
    return scene.make(gate, "cve")


API = ["/api", "/ajax-api"]


def both(method, path, **options):
    return [(method, prefix + path, options) for prefix in API]


# What nobody may do without a credential.
ANONYMOUS = {
    "CVE-2023-6014": [
        ("GET", "/signup", {}),
        *both("POST", "/2.0/mlflow/users/create", json={"username": "x", "password": "x" * 12}),
        *both("POST", "/2.0/mlflow/users/create-ui", data={"username": "x", "password": "x" * 12}),
    ],
    "CVE-2026-0545 and CVE-2026-2652": [
        ("POST", "/ajax-api/3.0/jobs/", {"json": {"job_name": "x", "params": {}}}),
        ("GET", "/ajax-api/3.0/jobs/x", {}),
        ("PATCH", "/ajax-api/3.0/jobs/cancel/x", {}),
        ("POST", "/v1/traces", {"data": b"", "headers": {"X-Mlflow-Experiment-Id": "{victim}"}}),
    ],
}

# What a valid user without any grant may not do.
STRANGER = {
    "CVE-2024-4263": both(
        "DELETE", "/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt"
    ),
    "CVE-2025-14297": [
        ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=m", {}),
        *both("POST", "/2.0/mlflow/experiments/search-datasets", json={"experiment_ids": ["{victim}"]}),
        ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run", {"json": {"experiment_id": "{victim}"}}),
        ("GET", "/ajax-api/2.0/mlflow/get-trace-artifact?request_id={trace}", {}),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x", {"data": b"x"}),
    ],
    "CVE-2025-15381": [
        *both("GET", "/3.0/mlflow/traces/{trace}"),
        *both("POST", "/3.0/mlflow/traces/{trace}/assessments", json={}),
    ],
    "CVE-2026-8147": [
        *both("POST", "/2.0/mlflow/traces/delete-traces", json={"experiment_id": "{victim}"}),
        *both("POST", "/3.0/mlflow/traces/delete-traces", json={"experiment_id": "{victim}"}),
        *both("GET", "/2.0/mlflow/traces?experiment_ids={victim}"),
        *both("POST", "/3.0/mlflow/traces/search", json={"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{victim}"}}]}),
        *both("PATCH", "/2.0/mlflow/traces/{trace}/tags", json={"key": "k", "value": "v"}),
        *both("GET", "/3.0/mlflow/traces/batchGet?trace_ids={trace}"),
        *both("GET", "/2.0/mlflow/traces/{trace}/info"),
        *both("DELETE", "/2.0/mlflow/traces/{trace}/tags", json={"key": "k"}),
        *both("PATCH", "/3.0/mlflow/traces/{trace}/tags", json={"key": "k", "value": "v"}),
        *both("POST", "/2.0/mlflow/traces/link-to-run", json={"run_id": "{run}", "trace_ids": ["{trace}"]}),
    ],
    "CVE-2026-0545": [
        ("GET", "/ajax-api/3.0/jobs/x", {}),
        ("PATCH", "/ajax-api/3.0/jobs/cancel/x", {}),
        ("POST", "/ajax-api/3.0/jobs/", {"json": {"job_name": "x", "params": {"experiment_id": "{victim}"}}}),
    ],
    "CVE-2026-2652": [
        ("POST", "/v1/traces", {"data": b"", "headers": {"X-Mlflow-Experiment-Id": "{victim}", "Content-Type": "application/x-protobuf"}}),
    ],
    "CVE-2026-2651": [
        *both("POST", "/2.0/mlflow-artifacts/mpu/create/{victim}/{run}/artifacts", json={"path": "a.txt", "num_parts": 1}),
        *both("POST", "/2.0/mlflow-artifacts/mpu/complete/{victim}/{run}/artifacts", json={"path": "a.txt", "upload_id": "x", "parts": []}),
        *both("POST", "/2.0/mlflow-artifacts/mpu/abort/{victim}/{run}/artifacts", json={"path": "a.txt", "upload_id": "x"}),
        *both("GET", "/2.0/mlflow-artifacts/presigned/{victim}/{run}/artifacts/a.txt"),
        *both("POST", "/2.0/mlflow/artifacts/presigned-upload-url", json={"run_id": "{run}", "path": "a.txt"}),
        *both("POST", "/2.0/mlflow/artifacts/presigned-download-url", json={"run_id": "{run}", "path": "a.txt"}),
    ],
    "CVE-2026-33866": [
        ("GET", "/ajax-api/2.0/mlflow/logged-models/{logged_model}/artifacts/files?artifact_file_path=x", {}),
    ],
    "CVE-2026-69146": [
        *both("POST", "/2.0/mlflow/runs/log-inputs", json={"run_id": "{run}", "datasets": []}),
        *both("POST", "/2.0/mlflow/runs/outputs", json={"run_id": "{run}", "models": []}),
        *both("POST", "/2.0/mlflow/runs/log-model", json={"run_id": "{run}", "model_json": "{}"}),
    ],
    "CVE-2026-13484": [
        *both("POST", "/3.0/mlflow/label-schemas", json={"experiment_id": "{victim}", "name": "x"}),
        *both("GET", "/3.0/mlflow/label-schemas/list?experiment_id={victim}"),
    ],
    "CVE-2025-52967": [
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=../../../etc/passwd", {}),
        ("POST", "/ajax-api/2.0/mlflow/gateway-proxy", {"json": {"gateway_path": "http://127.0.0.1:1/"}}),
    ],
    "privileged writes": [
        *both("POST", "/2.0/mlflow/webhooks", json={"name": "x", "url": "http://127.0.0.1:1", "events": []}),
        *both("GET", "/2.0/mlflow/webhooks"),
        *both("POST", "/3.0/mlflow/gateway/budgets/create", json={}),
        *both("POST", "/3.0/mlflow/workspaces", json={"name": "x"}),
        *both("POST", "/3.0/mlflow/demo/delete", json={}),
    ],
}


def cases(table):
    return [
        pytest.param(*case, id=f"{name}: {case[0]} {case[1].split('?')[0]}")
        for name, requests in table.items()
        for case in requests
    ]


def send(acting, who, method, path, options):
    """The answers over HTTP/1.1 and HTTP/2, to which MLflow must not have heard anything."""
    headers = {name: acting.fill(value) for name, value in options.get("headers", {}).items()}
    data = _body(acting, options, headers)
    if who:
        headers["Authorization"] = acting.authorization(who)
    return silent(acting.gate, method, acting.fill(path), headers, data)


def silent(gate, method, target, headers, data=None, host="127.0.0.1"):
    port = gate.ready["ports"]["gate"]
    with gate.recorder.silence():
        return raw.both(port, method, target, headers.items(), data, host)


def _body(acting, options, headers):
    if "json" in options:
        headers["Content-Type"] = "application/json"
        return acting.fill(json.dumps(options["json"])).encode()
    match options.get("data"):
        case dict() as form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return urlencode(form).encode()
        case data:
            return data


@pytest.mark.parametrize("method, path, options", cases(ANONYMOUS) + cases(STRANGER))
def test_nobody_gets_401(acting, method, path, options):
    # A form where MLflow takes JSON is refused before anybody is asked who they are.
    expected = (400, 401) if "data" in options else (401,)
    for answer in send(acting, None, method, path, options):
        assert answer.status in expected, answer


@pytest.mark.parametrize("method, path, options", cases(STRANGER))
def test_a_stranger_gets_nothing(acting, method, path, options):
    for answer in send(acting, "eve", method, path, options):
        assert answer.status == 403, answer


def test_an_unknown_host_gets_nothing(gate, admin):
    """CVE-2025-14279: a page that has rebound its own name to this address."""
    for target in ["/health", "/api/2.0/mlflow/experiments/search?max_results=1"]:
        login = {"Authorization": basic(*admin)}
        for answer in silent(gate, "GET", target, login, host="attacker.example"):
            assert answer.status in (403, 404, 421), answer


@pytest.mark.parametrize("password", ["", "p", "password1234"])
@pytest.mark.parametrize("user", ["", "admin", "empty"])
def test_empty_and_default_passwords_never_work(gate, user, password):
    """CVE-2025-1474, CVE-2025-11200 and CVE-2026-2635."""
    login = {"Authorization": basic(user, password)}
    target = "/api/2.0/mlflow/experiments/search?max_results=1"
    for answer in silent(gate, "GET", target, login):
        assert answer.status == 401, answer


FOREIGN = [
    {"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "X-Forwarded-Host": "attacker.example"},
]
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("who", ["alice", "admin"])
def test_a_form_on_another_site_cannot_write(acting, gate, who):
    """CVE-2025-1473: the browser adds the password by itself."""
    credential = gate.admin if who == "admin" else acting.alice
    path = "/api/2.0/mlflow/experiments/create"
    login = {"Authorization": basic(*credential)}
    body = {"name": f"foreign {who}"}
    # The policy server's own routes have nothing of MLflow's before them.
    account = {"username": f"foreign-{who}", "password": "correct horse battery"}
    for headers in FOREIGN:
        for target, sent in [
            (path, body),
            ("/ajax-api/2.0/mlflow/users/create", account),
            ("/ajax-api/2.0/mlflow/users/create-ui", account),
        ]:
            for kind, data in [("application/json", json.dumps(sent)), (FORM, urlencode(sent))]:
                fields = {**login, **headers, "Content-Type": kind}
                for answer in silent(gate, "POST", target, fields, data.encode()):
                    # A form where MLflow takes JSON is refused as such.
                    assert answer.status == 403 or (kind == FORM and answer.status == 400), answer
    own = {"Origin": gate.url, "Sec-Fetch-Site": "same-origin"}
    answer = gate.post(path, credential, json=body, headers=own)
    assert answer.status_code == 200, answer.text


def test_hidden_models_are_not_listed(acting, gate):
    """CVE-2026-2734."""
    version = {"name": acting.model, "source": f"runs:/{acting.run}/model", "run_id": acting.run}
    made = gate.post("/api/2.0/mlflow/model-versions/create", acting.alice, json=version)
    assert made.status_code == 200, made.text
    query = {"query": "{ mlflowSearchModelVersions(input: {}) { modelVersions { name } } }"}
    assert acting.model in gate.post("/graphql", acting.alice, json=query).text
    answer = gate.post("/graphql", acting.eve, json=query)
    assert answer.status_code in (200, 403)
    assert acting.model not in answer.text
    for path in [
        "/api/2.0/mlflow/model-versions/search",
        "/api/2.0/mlflow/registered-models/search",
    ]:
        answer = gate.get(path, acting.eve)
        assert answer.status_code in (200, 403)
        assert acting.model not in answer.text


@pytest.mark.parametrize("prefix", API)
@pytest.mark.parametrize("kind", ["secrets", "endpoints", "model-definitions"])
def test_the_gateways_things_of_others_are_not_listed(acting, gate, kind, prefix):
    """CVE-2026-3198."""
    name = f"cve-secret-{prefix.strip('/')}-{kind}"
    body = {"secret_name": name, "secret_value": {"api_key": "x"}, "provider": "openai"}
    made = gate.post("/api/3.0/mlflow/gateway/secrets/create", acting.alice, json=body)
    assert made.status_code == 200, made.text
    path = f"{prefix}/3.0/mlflow/gateway/{kind}/list"
    if kind == "secrets":
        assert name in gate.get(path, acting.alice).text, "its owner sees it"
    answer = gate.get(path, acting.eve)
    assert answer.status_code == 200, answer.text
    assert "cve-secret" not in answer.text
    assert not any(answer.json().values()), answer.text


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "file:///etc",
        "mlflow-artifacts:/../../etc",
        "s3://bucket/a#/../../etc",
        "s3://bucket/a;/../../etc",
        "s3://bucket/%2e%2e/etc",
    ],
)
def test_a_prompt_tag_does_not_excuse_a_source_outside(acting, gate, source):
    """CVE-2026-2614: afterwards get-artifact would read from there."""
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    body = {"name": acting.model, "source": source, "tags": tags}
    for answer in send(acting, "alice", "POST", "/api/2.0/mlflow/model-versions/create", {"json": body}):
        assert answer.status in (400, 403), answer


def test_a_model_that_is_called_like_a_query_opens_no_other(acting, gate):
    """MLflow drops what is behind the question mark; anybody may own a model of the whole name."""
    twins = [f"{acting.model}@latest?", f"{acting.logged_model}?"]
    for twin in twins:
        made = gate.post("/api/2.0/mlflow/registered-models/create", acting.mallory, json={"name": twin})
        assert made.status_code == 200, made.text
        body = {"name": acting.own_model, "source": f"models:/{twin}@x"}
        for further in ({}, {"model_id": acting.logged_model, "run_id": acting.run}):
            sent = {"json": body | further}
            path = "/api/2.0/mlflow/model-versions/create"
            for answer in send(acting, "mallory", "POST", path, sent):
                assert answer.status == 400, answer


@pytest.mark.parametrize(
    "method, yours, absent",
    [
        ("GET", "/api/2.0/mlflow/runs/get?run_id={run}", "/api/2.0/mlflow/runs/get?run_id=" + "0" * 32),
        ("GET", "/api/2.0/mlflow/experiments/get?experiment_id={victim}",
         "/api/2.0/mlflow/experiments/get?experiment_id=987654321"),
        ("GET", "/api/2.0/mlflow/registered-models/get?name={model}",
         "/api/2.0/mlflow/registered-models/get?name=absent"),
        ("GET", "/api/3.0/mlflow/traces/{trace}", "/api/3.0/mlflow/traces/tr-" + "0" * 32),
        ("GET", "/api/2.0/mlflow/logged-models/{logged_model}",
         "/api/2.0/mlflow/logged-models/m-" + "0" * 32),
        ("HEAD", "/get-artifact?run_id={run}&path=a.txt", "/get-artifact?run_id={run}&path=b.txt"),
        ("HEAD", "/get-artifact?run_id={run}&path=a.txt",
         f"/get-artifact?run_id={'0' * 32}&path=a.txt"),
    ],
)
def test_an_absent_object_is_answered_like_another_users(acting, method, yours, absent):
    pairs = zip(*(send(acting, "eve", method, target, {}) for target in (yours, absent)), strict=True)
    for first, second in pairs:
        told = [
            {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
            for answer in (first, second)
        ]
        assert (first.status, told[0], first.body) == (second.status, told[1], second.body)
        assert first.status == 403


def test_search_results_hold_nothing_of_others(acting, gate):
    path = "/api/2.0/mlflow/runs/search"
    answer = gate.post(path, acting.eve, json={"experiment_ids": [acting.experiment]})
    assert answer.status_code == 200, answer.text
    assert acting.run not in answer.text

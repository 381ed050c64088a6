"""What an operator sees: metrics, logs, and why something was refused."""

import json
import re
import uuid

import promql_parser
import pytest
import requests
import yaml
from support.envoy import SHIPPED, another_envoy, manager
from support.gate import basic, wait_until

METRIC = re.compile(r"`(mlgate_[a-z0-9_]+)`")
SERIES = re.compile(r'^(mlgate_[a-z0-9_]+?)(?:\{(.*)\})? \S+', re.M)
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
KIND = re.compile(r"_(bucket|count|sum)$")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def get(url):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=20).text


def series(text):
    """Names and labels of what is exposed, histograms by the name of the whole."""
    return [(name, dict(LABEL.findall(labels or ""))) for name, labels in SERIES.findall(text)]


@pytest.fixture(scope="module")
def exposed(gate):
    """Everything that both sides expose after something has happened."""
    user = gate.create_user("seen")
    gate.create_experiment("seen", user)
    gate.get("/api/2.0/mlflow/experiments/get?experiment_id=0", user)
    envoy = series(get(gate.ready["envoy_admin_url"] + "/stats/prometheus"))
    server = series(get(f"http://127.0.0.1:{gate.metrics_port}/metrics"))
    assert envoy and server
    return envoy, server


def names(exposed):
    return {KIND.sub("", name) for side in exposed for name, _ in side}


# Exposed only where the policy server was told of identity providers.
WITH_ISSUERS = {"mlgate_oidc_fetches_total"}


def test_the_documented_metrics_are_those_that_there_are(exposed):
    documented = set(METRIC.findall((SHIPPED / "guide" / "metrics.md").read_text()))
    assert documented - WITH_ISSUERS == names(exposed) - WITH_ISSUERS
    assert WITH_ISSUERS <= documented


def test_no_label_has_a_value_that_a_client_can_choose(exposed):
    envoy, server = exposed
    assert {key for _, labels in envoy for key in labels} <= {"le"}
    found = {}
    for _, labels in server:
        for key, value in labels.items():
            found.setdefault(key, set()).add(value)
    found.pop("le")
    assert set(found) == {"outcome", "method", "result", "cache"}
    for key, values in found.items():
        assert len(values) <= 12, key
        assert all(re.fullmatch(r"[A-Za-z_]+", value) for value in values), (key, values)


def expressions():
    dashboard = json.loads((SHIPPED / "monitoring" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    alerts = yaml.safe_load((SHIPPED / "monitoring" / "alerts.yaml").read_text())
    for rule in alerts["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]


@pytest.mark.parametrize("title, expression", list(expressions()))
def test_every_expression_can_be_read_and_asks_for_metrics_that_there_are(
    exposed, title, expression
):
    expression = re.sub(r"\$__(rate_interval|range)", "5m", expression)
    promql_parser.parse(expression)
    asked = {KIND.sub("", name) for name in re.findall(r"mlgate_[a-z0-9_]+", expression)}
    assert asked and asked <= names(exposed), title


def test_panels_do_not_lie_on_each_other():
    dashboard = json.loads((SHIPPED / "monitoring" / "dashboard.json").read_text())
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


# --- logs ---


def filters_lines(log, request_id):
    """The filter's decisions in one of Envoy's logs."""
    lines = (line[line.index("{") :] for line in log.read_text().splitlines() if "{" in line)
    lines = (line for line in lines if line.startswith('{"log":"mlgate.decision"'))
    return [d for d in map(json.loads, lines) if d["request_id"] == request_id]


def servers_lines(gate, request_id):
    found = []
    for log in gate.logs("policy-server"):
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("target") == "mlgate::decision":
                found.append(entry["fields"])
    return [entry for entry in found if entry["request_id"] == request_id]


def envoys_log(gate):
    (log,) = gate.logs("envoy")
    return log


def request_id_of(heard):
    return re.search(rb"(?i)x-request-id: (\S+)", heard).group(1).decode()


@pytest.fixture
def refused(gate, unique):
    """A request that was refused: its id, and what the client got."""
    owner, stranger = gate.create_user("sight-owner"), gate.create_user("sight-stranger")
    experiment = gate.create_experiment(unique, owner)
    gate.grant("sight-stranger", "READ", "experiment", experiment)
    body = {"experiment_id": experiment, "new_name": unique + "-new"}

    def refuse(times=1):
        before = envoys_log(gate).read_text()
        for _ in range(times):
            answer = gate.post("/api/2.0/mlflow/experiments/update", stranger, json=body)
            assert answer.status_code == 403
        lines = envoys_log(gate).read_text()[len(before) :].splitlines()
        lines = [line for line in lines if "mlgate.decision" in line and "sight-stranger" in line]
        return [json.loads(line[line.index("{") :]) for line in lines], experiment

    wait_until(
        lambda: gate.get(f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}", stranger)
        .status_code
        == 200,
        "the grant is in force",
    )
    return refuse


def test_a_refusal_is_logged_by_both_sides_under_one_id(gate, refused):
    (entry,), experiment = refused()
    assert entry["decision"] == "deny" and entry["status"] == 403
    assert entry["user"] == "sight-stranger" and entry["method"] == "POST"
    assert entry["route"] == "/2.0/mlflow/experiments/update"
    assert entry["reason"] == "insufficient_grant" and entry["source"] == "policy_server"
    (other,) = servers_lines(gate, entry["request_id"])
    assert other["principal"] == "sight-stranger" and other["credential"] == "basic"
    assert other["required"] == f"update on experiment {experiment}"
    assert other["grant"] == f"READ on experiment {experiment}"
    assert other["revision"] == entry["revision"] > 0


def test_a_refusal_from_the_cache_says_so(gate, refused):
    entries, _ = refused(times=3)
    assert entries[0]["source"] == "policy_server"
    assert {entry["source"] for entry in entries[1:]} <= {"worker_cache", "shared_cache"}
    assert len({entry["request_id"] for entry in entries}) == 3
    assert not servers_lines(gate, entries[1]["request_id"])


def test_explain_tells_why_from_the_requests_id(gate, refused):
    entries, experiment = refused(times=2)
    logs = [argument for log in [envoys_log(gate), *gate.logs("policy-server")]
            for argument in ("--log", str(log))]
    told = gate.mlgate("explain", "--request-id", entries[0]["request_id"], *logs).stdout
    assert "refused with 403 (insufficient_grant)" in told
    assert "a lower level than is needed" in told
    assert f"required: update on experiment {experiment}" in told
    assert f"the grant that decided: READ on experiment {experiment}" in told
    # What came from the cache, the server knows nothing of; the catalogue still tells the need.
    cached = gate.mlgate("explain", "--request-id", entries[1]["request_id"], *logs).stdout
    assert "an earlier answer in Envoy's cache" in cached
    assert "the route needs: update on experiment experiment_id" in cached
    unknown = gate.mlgate("explain", "--request-id", str(uuid.uuid4()), *logs, check=False)
    assert unknown.returncode == 2 and "no decision" in unknown.stderr


def test_some_of_what_is_allowed_is_logged(gate, unique):
    owner = gate.create_user("sight-sampled")
    experiment = gate.create_experiment(unique, owner)
    before = len(envoys_log(gate).read_text())
    workers = requests.get(gate.ready["envoy_admin_url"] + "/server_info").json()
    workers = workers["command_line_options"]["concurrency"]
    for _ in range(100 * workers + 1):
        path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
        assert gate.get(path, owner).status_code == 200
    assert '"decision":"allow"' in envoys_log(gate).read_text()[before:]


def test_no_log_has_a_credential(gate, unique):
    password = f"secret-of-{uuid.uuid4()}"
    token = f"header.{uuid.uuid4()}.signature"
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    before = sum(len(log.read_text()) for log in gate.logs("envoy"))
    assert gate.get(path, ("sight-nobody", password)).status_code == 401
    assert gate.get(path, token).status_code == 401
    logs = "".join(log.read_text() for name in ("envoy", "policy-server") for log in gate.logs(name))
    assert sum(len(log.read_text()) for log in gate.logs("envoy")) > before
    for secret in (password, token, basic("sight-nobody", password).removeprefix("Basic ")):
        assert secret not in logs


def test_the_request_id_and_the_trace_reach_mlflow_and_the_policy_server(gate, unique):
    owner = gate.create_user("sight-traced")
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    with gate.recorder.listening() as heard:
        experiment = gate.create_experiment(unique, owner)
    assert re.search(rb"(?i)x-request-id: \S{36}", heard[0])
    headers = {"traceparent": parent, "tracestate": "a=1"}
    stranger = gate.create_user("sight-untraced")
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    with gate.recorder.listening() as heard:
        assert gate.get(path, owner, headers=headers).status_code == 200
    assert parent.encode() in heard[0] and b"tracestate: a=1" in heard[0]
    assert gate.get(path, stranger, headers=headers).status_code == 403
    logs = "".join(log.read_text() for log in gate.logs("policy-server"))
    assert f'"trace_id":"{TRACE}"' in logs


def test_every_change_of_the_policy_is_in_the_audit_log(gate, unique):
    gate.create_user("sight-audited")
    gate.grant("sight-audited", "EDIT", "experiment", "4711")
    gate.revoke("sight-audited", "experiment", "4711")
    found = [e for e in json.loads(gate.mlgate("--json", "audit").stdout)
             if "sight-audited" in json.dumps(e)]
    assert len(found) >= 3
    assert all(entry["revision"] for entry in found)


# --- modes ---


def changed(gate, vm_id, **settings):
    def change(configuration):
        plugin = manager(configuration)["http_filters"][0]["typed_config"]["config"]
        plugin["vm_config"]["vm_id"] = vm_id
        plugin["configuration"]["value"] = json.dumps(
            {**json.loads(plugin["configuration"]["value"]), **settings}
        )

    return change


def ask(port, method, path, who, **options):
    with requests.Session() as session:
        session.trust_env = False
        url = f"http://127.0.0.1:{port}{path}"
        return session.request(method, url, auth=who, timeout=30, **options)


def test_the_reason_is_in_a_header_where_that_is_wanted(gate, tmp_path, unique):
    owner, stranger = gate.create_user("reason-owner"), gate.create_user("reason-stranger")
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={gate.create_experiment(unique, owner)}"
    assert "x-mlgate-reason" not in gate.get(path, stranger).headers
    with another_envoy(gate, changed(gate, "reasons", reason_header=True), tmp_path) as port:
        assert ask(port, "GET", path, stranger).headers["x-mlgate-reason"] == "no_grant"
        assert ask(port, "GET", path, None).headers["x-mlgate-reason"] == "no_credential"
        answer = ask(port, "GET", path, owner)
        assert answer.status_code == 200 and "x-mlgate-reason" not in answer.headers


def test_shadow_mode_refuses_nothing_and_tells_what_it_would_have_refused(gate, tmp_path, unique):
    owner, stranger = gate.create_user("shadow-owner"), gate.create_user("shadow-stranger")
    experiment = gate.create_experiment(unique, owner)
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    rename = {"experiment_id": experiment, "new_name": f"{unique}-renamed"}
    with another_envoy(gate, changed(gate, "shadow", mode="shadow"), tmp_path) as port:
        assert ask(port, "GET", path, owner).status_code == 200
        for who in (stranger, None, ("shadow-owner", "wrong password")):
            assert ask(port, "GET", path, who).status_code == 200, who
        update = "/api/2.0/mlflow/experiments/update"
        assert ask(port, "POST", update, stranger, json=rename).status_code == 200
        # What is malformed stays refused: MLflow would read it otherwise than it was decided on.
        double = f"{path}&experiment_id=0"
        assert ask(port, "GET", double, owner).status_code == 400
        # Identity headers are the gate's alone, here too.
        with gate.recorder.listening() as heard:
            spoofed = {"X-Mlgate-User": "admin"}
            assert ask(port, "GET", path, stranger, headers=spoofed).status_code == 200
        assert b"x-mlgate-user: admin" not in heard[0].lower()
    log = (tmp_path / "envoy.log").read_text()
    decisions = [
        json.loads(line[line.index('{"log"') :])
        for line in log.splitlines()
        if '{"log":"mlgate.decision"' in line
    ]
    shadow = [entry for entry in decisions if entry["decision"] == "shadow_deny"]
    assert [entry["status"] for entry in shadow[:4]] == [403, 401, 401, 403]
    assert shadow[0]["user"] == "shadow-stranger" and shadow[0]["reason"] == "no_grant"
    assert not [entry for entry in decisions if entry["decision"] == "deny"]

"""MLflow under a static prefix that begins like what it serves to anybody.

MLflow once compared the beginnings of paths, and was open to all under such a prefix. The MLflow
behind has none, so that what the gate lets through is seen to arrive and answered with 404.
"""

import json

import pytest
from support import raw, scene
from support.envoy import another_envoy, manager

PREFIXES = ["/static-ui", "/health-x"]

INSIDE = [
    "/api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=m",
    "/get-artifact?run_id={run}&path=a.txt",
    "/api/2.0/mlflow-artifacts/artifacts/{victim}/{run}/artifacts/a.txt",
    "/static-files/../api/2.0/mlflow/experiments/get?experiment_id={victim}",
    "/health/api/2.0/mlflow/experiments/get?experiment_id={victim}",
]


@pytest.fixture(scope="module")
def acting(gate):
    return scene.make(gate, "prefix")


@pytest.fixture(scope="module", params=PREFIXES)
def prefixed(request, gate, tmp_path_factory):
    """A prefix, and the port of an Envoy that has been told of it."""

    def change(configuration):
        plugin = manager(configuration)["http_filters"][0]["typed_config"]["config"]
        settings = json.loads(plugin["configuration"]["value"])
        plugin["configuration"]["value"] = json.dumps(
            {**settings, "scope": {**settings.get("scope", {}), "static_prefix": request.param}}
        )
        plugin["vm_config"]["vm_id"] = request.param.strip("/")

    with another_envoy(gate, change, tmp_path_factory.mktemp("prefixed")) as port:
        yield request.param, port


def test_nobody_and_no_stranger_gets_through(acting, prefixed):
    prefix, port = prefixed
    targets = [prefix + inside for inside in INSIDE]
    # Into it from beside it, by another spelling, and without it.
    targets += [f"{prefix}-x{INSIDE[0]}", f"/{prefix}{INSIDE[0]}", f"{prefix}/.{INSIDE[0]}"]
    targets += [f"/%{ord(prefix[1]):x}{prefix[2:]}{INSIDE[0]}", f"{prefix}{prefix}{INSIDE[0]}"]
    targets += INSIDE
    stranger = [("Authorization", acting.authorization("eve"))]
    for target in map(acting.fill, targets):
        with acting.gate.recorder.silence():
            for answer in raw.both(port, "GET", target):
                assert answer.status in (400, 401, 403), (target, answer)
            for answer in raw.both(port, "GET", target, stranger):
                assert answer.status in (400, 403), (target, answer)


def test_who_may_is_let_through(acting, prefixed):
    prefix, port = prefixed
    target = acting.fill(prefix + INSIDE[0])
    with acting.gate.recorder.listening() as heard:
        answers = raw.both(port, "GET", target, [("Authorization", acting.authorization("alice"))])
    assert [answer.status for answer in answers] == [404, 404]
    assert heard[0].count(f"GET {target} HTTP".encode()) == 2

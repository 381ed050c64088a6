"""What happens while the policy server is away, and afterwards."""

import pytest
from support.gate import wait_until


@pytest.fixture
def outage(gate):
    """Stops the policy server for the test; it is back afterwards, whatever happens."""
    processes = []

    def start():
        processes.append(gate.start_policy_server())

    yield gate.stop_policy_server, start
    if not processes:
        start()


def test_cached_decisions_serve_and_others_get_503_until_it_is_back(gate, outage, unique):
    stop, start = outage
    owner = gate.create_user("outage-owner")
    other = gate.create_user("outage-other")
    experiment = gate.create_experiment(unique, owner)
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    # Every worker of Envoy shares what one of them has learnt.
    assert gate.get(path, owner).status_code == 200

    stop()
    assert gate.get(path, owner).status_code == 200, "a cached decision serves"
    with gate.recorder.silence():
        unknown = gate.get(path, other)
        assert unknown.status_code == 503, unknown.text
        assert int(unknown.headers["Retry-After"]) > 0
        assert unknown.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"

    start()
    wait_until(lambda: gate.get(path, other).status_code == 403, "decisions are made again")
    assert gate.get(path, owner).status_code == 200
    assert gate.create_run(experiment, owner)


def test_public_paths_need_no_policy_server(gate, outage):
    stop, _ = outage
    stop()
    assert gate.get("/health").status_code == 200


def test_nothing_is_served_from_the_cache_for_longer_than_the_promised_staleness(
    gate, outage, unique
):
    stop, _ = outage
    owner = gate.create_user("stale-owner")
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={gate.create_experiment(unique, owner)}"
    assert gate.get(path, owner).status_code == 200
    stop()
    wait_until(lambda: gate.get(path, owner).status_code == 503, "the cache is distrusted", 12)

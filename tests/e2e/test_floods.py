"""Much of one thing: equal questions are asked once, and what is different each time neither fills
the memory nor slows down whoever is known."""

import concurrent.futures
import statistics
import time

import pytest
from support.rig import EXPERIMENT, WORKERS, request_text, statuses_between
from support.tokens import forged
from support.wires import HELD

BURST = 200
# In linear memory and shared data nothing may be left of a request: a kilobyte of each would be
# more than this.
FLOOD = 4000
MEMORY = 4 << 20


def test_a_burst_on_one_cold_key_asks_once_per_worker(rig):
    envoy = rig.envoys[0]
    authorization = rig.create_user("burst", experiment="READ")
    path = EXPERIMENT.format("1")
    # The password is known then: verifying it takes longer than anything else.
    assert rig.get(envoy.port, EXPERIMENT.format("2"), authorization).status_code == 200
    calls, shared = (envoy.counted(n) for n in ("policy_calls_total", "cache_shared_flight_total"))
    job = {"port": envoy.port, "text": request_text(path, authorization), "connections": BURST}
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        # Nobody is answered before all have asked.
        with envoy.policy(HELD):
            statuses = threads.submit(rig.lanes.do, "burst", **job)
            time.sleep(0.5)
        assert statuses.result() == {"200": BURST}
    calls = envoy.counted("policy_calls_total") - calls
    shared = envoy.counted("cache_shared_flight_total") - shared
    print(f"\n{calls} calls, {shared} requests waited for the answer to another one's")
    assert 1 <= calls <= WORKERS
    assert calls + shared == BURST


def bad_tokens(rig):
    return request_text(EXPERIMENT.format("1"), "Bearer mlg_never-issued-{n}", address="10.66.0.1")


def unknown_runs(rig):
    authorization = rig.create_user("seeks-runs", experiment="READ")
    path = "/api/2.0/mlflow/runs/get?run_id=" + "a" * 23 + "{n}"
    return request_text(path, authorization)


def granted_experiments(rig):
    return request_text(EXPERIMENT.format("{n}"), rig.create_user("sees-all", experiment="READ"))


def forged_tokens(rig):
    genuine = rig.identity_provider.token("somebody")
    head, claims, signature = genuine.split(".")
    return request_text(EXPERIMENT.format("1"), f"Bearer {head}.{claims}.{{n}}{signature[9:]}")


FLOODS = {
    bad_tokens: {"401", "429"},
    unknown_runs: {"403", "404"},
    granted_experiments: {"200"},
    forged_tokens: {"401", "429"},
}


def known(rig):
    """A lane to each worker, whose requests need no policy server: by password and by JWT."""
    experiment, text = rig.reader("known-by-password")
    lanes = rig.open_lanes("known-by-password", text, 0.02, rig.envoys[:1])
    rig.create_user("known-by-token", experiment="READ")
    token = rig.identity_provider.token("known-by-token")
    text = request_text(EXPERIMENT.format(experiment), f"Bearer {token}")
    return lanes + rig.open_lanes("known-by-token", text, 0.02, rig.envoys[:1])


@pytest.fixture(scope="module")
def traffic(session_rig):
    lanes = known(session_rig)
    time.sleep(0.5)
    session_rig.lanes.take(*lanes)
    yield lanes
    session_rig.lanes.do("close", lanes=lanes)


def latencies(records):
    return [answered - sent for some in records.values() for sent, answered, _ in some]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__.replace("_", "-"))
def test_a_flood_leaves_memory_and_known_users_as_they_were(rig, traffic, flood):
    envoy = rig.envoys[0]
    job = {"port": envoy.port, "text": flood(rig), "connections": 8}
    rig.lanes.take(*traffic)
    time.sleep(2)
    calm = latencies(rig.lanes.take(*traffic))
    # Until every slot that there is has been used, and every buffer has its size.
    rig.lanes.do("flood", count=FLOOD // 2, **job)
    before, start = envoy.resident(), time.time()
    rig.lanes.take(*traffic)
    statuses = rig.lanes.do("flood", count=FLOOD, **job)
    records = rig.lanes.take(*traffic)
    grown, flooded = envoy.resident() - before, latencies(records)
    calm, flooded = statistics.median(calm), statistics.median(flooded)
    print(
        f"\n{flood.__name__}: {FLOOD / (time.time() - start):.0f} a second, {statuses};"
        f" memory {grown / 1024:+.0f} KiB of {before >> 20} MiB;"
        f" known users' p50 {calm * 1000:.1f} ms before, {flooded * 1000:.1f} ms meanwhile"
    )
    assert sum(statuses.values()) == FLOOD and set(statuses) <= FLOODS[flood]
    for lane, some in records.items():
        assert statuses_between(some, start) == {200}, lane
    assert grown < MEMORY
    # The processors are shared: that requests waited for the flood's would be far more.
    assert flooded < 10 * calm + 0.02


def test_more_tokens_than_are_checked_are_answered_429_with_the_time_to_wait(rig):
    envoy = rig.envoys[0]
    job = {"port": envoy.port, "text": forged_tokens(rig), "connections": 4, "count": 1500}
    claims = rig.identity_provider.claims("somebody")
    token = forged({"alg": "RS256", "kid": "rs256"}, claims, b"x" * 256)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        statuses = threads.submit(rig.lanes.do, "flood", **job)
        answers = []
        while not statuses.done() or not answers:
            answers.append(rig.get(envoy.port, EXPERIMENT.format(1), f"Bearer {token}"))
    assert statuses.result()["429"] > 0
    assert {answer.status_code for answer in answers} <= {401, 429}
    throttled = [answer for answer in answers if answer.status_code == 429]
    assert throttled, "none of mine was answered 429"
    for answer in throttled:
        assert answer.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
        assert int(answer.headers["Retry-After"]) == 1

"""Whatever fails under load, nothing is allowed that should not be, what is known goes on serving
as long as it may, and all is well again within seconds, without help.

`UnderLoad.recovered`, with which each test ends, counts the requests that reached the upstream.
"""

import time

import pytest
from support.gate import wait_until
from support.rig import EXPERIMENT, MAX_STALENESS, last_allowed
from support.under_load import RECOVERY, under_load
from support.wires import REFUSED

# How long a revocation takes at most while streams are opened anew; far below `max_staleness`.
SOON = 2.0
# From the last heartbeat on, what is known serves for `max_staleness`; one comes every second.
SURELY_FRESH = MAX_STALENESS - 1.5


def test_policy_servers_that_are_killed_one_after_the_other_interrupt_nobody_who_is_known(rig):
    with under_load(rig, "killed") as load:
        start = time.time()
        # Each in turn, because one of them has an Envoy's stream.
        for server in rig.servers:
            server.kill()
            time.sleep(0.7)
            if server is rig.servers[0]:
                load.revoke()
            server.start()
            time.sleep(1)
        load.recovered()
        assert load.statuses("reader", start) == {200}
        assert load.last_allowed("revoked") < load.revoked_at + SOON


def test_without_any_policy_server_what_is_known_serves_while_it_is_fresh_then_nothing(rig):
    with under_load(rig, "gone") as load:
        gone = time.time()
        for server in rig.servers:
            server.kill()
        load.revoke()
        load.wait("all is distrusted", 3 * MAX_STALENESS, reader={503}, seeker={503}, revoked={503})
        time.sleep(0.5)
        assert load.statuses("reader", gone, gone + SURELY_FRESH) == {200}
        assert load.last_allowed("revoked") < gone + MAX_STALENESS + 0.5
        answer = rig.get(rig.envoys[0].port, EXPERIMENT.format(1), "Bearer mlg_x")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        for server in rig.servers:
            server.start()
        load.recovered()
        assert load.last_allowed("revoked") < gone + MAX_STALENESS + 0.5, "and never again"


def test_postgres_that_is_restarted_interrupts_nobody_who_is_known(rig):
    with under_load(rig, "postgres") as load:
        start = time.time()
        rig.postgres.stop()
        time.sleep(1)
        rig.postgres.start()
        revoked = load.revoke()
        load.recovered()
        assert load.statuses("reader", start) == {200}
        assert load.last_allowed("revoked") < revoked + SOON


def lose_every_notification(rig):
    for server in rig.servers:
        server.store.swallows_notifications = True


def end_the_listening_sessions(rig):
    ended = rig.postgres.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%%'"
    )
    assert len(ended) == len(rig.servers)


@pytest.mark.parametrize("lose", [lose_every_notification, end_the_listening_sessions])
def test_polling_finds_what_no_notification_told(rig, lose):
    swallowed = [server.store.swallowed for server in rig.servers]
    name = lose.__name__.replace("_", "-")
    with under_load(rig, name) as load:
        lose(rig)
        try:
            latencies = []
            for _ in range(5):
                records = {lane: load.records[lane] for lane in load.lanes["revoked"]}
                revoked = load.revoke()
                load.wait("it is revoked", SOON, revoked={403})
                time.sleep(0.1)
                load.take()
                latencies += [last_allowed(some) - revoked for some in records.values()]
                load.restore()
            load.revoke()
            load.recovered()
        finally:
            for server in rig.servers:
                server.store.swallows_notifications = False
        print(f"\n{name}: felt after {max(latencies) * 1000:.0f} ms at most")
        assert max(latencies) < SOON / 2
    if lose is lose_every_notification:
        assert all(s.store.swallowed > old for s, old in zip(rig.servers, swallowed))


def test_a_network_that_is_cut_and_healed_interrupts_nobody_who_is_known(rig):
    envoy = rig.envoys[0]
    with under_load(rig, "cut") as load:
        for _ in range(2):
            start = time.time()
            with envoy.policy(REFUSED):
                time.sleep(SURELY_FRESH)
            healed = time.time()
            assert load.statuses("reader", start) == {200}
            rig.wait_for_stream(envoy, RECOVERY)
            assert time.time() < healed + 5, "the stream is there again"
        load.revoke()
        load.recovered()
        assert load.last_allowed("revoked") < load.revoked_at + SOON


def test_a_configuration_that_is_exchanged_brings_no_revoked_decision_back(rig):
    with rig.another_envoy("hot", hot=True) as envoy, under_load(rig, "swap", [envoy]) as load:
        start = time.time()
        for number in range(4):
            if number == 2:
                load.revoke()
                load.wait("it is revoked", SOON, revoked={403})
            before = reloads(envoy)
            # The first one again: what it knew before has been missing changes since.
            envoy.deliver(realm=f"realm {number % 2}")
            wait_until(lambda: reloads(envoy) > before, "the change is there", 30)
            time.sleep(0.5)
        load.recovered()
        assert load.statuses("reader", start) == {200}
        assert load.statuses("seeker", start) == {200}
        assert load.last_allowed("revoked") < load.revoked_at + SOON


def reloads(envoy):
    found = envoy.stats("extension_config_discovery")
    return sum(value for key, value in found.items() if key.endswith(".config_reload"))


def test_the_rest_of_the_gate_knows_nothing_of_a_fault_at_one_envoy(rig):
    """The load of the other Envoy, while one is cut off for longer than its cache is trusted."""
    with under_load(rig, "elsewhere", [rig.envoys[1]]) as load:
        start = time.time()
        with rig.envoys[0].policy(REFUSED):
            time.sleep(MAX_STALENESS + 1)
            load.revoke()
            load.wait("it is revoked", SOON, revoked={403})
        load.recovered()
        for role in ("reader", "seeker"):
            assert load.statuses(role, start) == {200}

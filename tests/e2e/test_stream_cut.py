"""Whoever cannot hear of changes does not use what they know for longer than `max_staleness`."""

import contextlib
import time

import pytest
from support.rig import MAX_STALENESS
from support.under_load import RECOVERY, under_load
from support.wires import HELD, REFUSED

# An answer may be on its way for so long.
ON_THE_WAY = 0.5


@contextlib.contextmanager
def policy_servers_stopped(rig):
    with rig.servers[0].stopped(), rig.servers[1].stopped():
        yield


@contextlib.contextmanager
def stores_held(rig):
    """The policy servers do not learn anything themselves, and still talk to Envoy."""
    with rig.servers[0].store.being(HELD), rig.servers[1].store.being(HELD):
        yield


CUTS = {
    "packets-lost": lambda rig: rig.envoys[0].policy(HELD),
    "connections-refused": lambda rig: rig.envoys[0].policy(REFUSED),
    "policy-servers-stopped": policy_servers_stopped,
    "policy-servers-cut-off-from-the-store": stores_held,
}


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_is_allowed_for_longer_than_the_promised_staleness(rig, cut):
    envoy = rig.envoys[0]
    with under_load(rig, cut) as load:
        start = time.time()
        with CUTS[cut](rig):
            load.revoke()
            # As long as it is fresh enough, what is known serves.
            load.wait("it is distrusted", 3 * MAX_STALENESS, revoked={403, 503}, reader={200, 503})
            time.sleep(1)
        assert load.statuses("reader", start, start + MAX_STALENESS - 1.5) == {200}
        assert load.last_allowed("revoked", envoy) < start + MAX_STALENESS + ON_THE_WAY
        load.recovered()
        assert load.last_allowed("revoked") < start + MAX_STALENESS + ON_THE_WAY, "and never again"


def test_one_policy_server_that_hangs_delays_no_revocation_and_stops_nobody_for_long(rig):
    for server in rig.servers:
        with under_load(rig, f"hangs-{rig.servers.index(server)}") as load, server.stopped():
            start = time.time()
            load.revoke()
            load.wait("it is revoked", MAX_STALENESS + 1, revoked={403, 503})
            load.wait("the other one answers", RECOVERY, reader={200}, seeker={200}, revoked={403})
            load.recovered()
            assert load.last_allowed("revoked") < start + MAX_STALENESS + ON_THE_WAY

"""Envoy's memory does not grow with the number of different questions it was asked.

By default some tens of thousands of requests over a million keys, in less than a minute;
`MLGATE_TEST_MANY_KEYS=10000000` sends that many, which takes hours with the policy server as the
tests build it.
"""

import os
import time

from support.rig import EXPERIMENT, request_text

REQUESTS = int(os.environ.get("MLGATE_TEST_MANY_KEYS", "0"))
SECONDS = 35
STEP = 2000
# Slots of the cache in Envoy's shared data, as shipped. All but a few have been used by then.
SLOTS = 4096
WARM = 0.9 * SLOTS
GROWTH = 4 << 20


def test_memory_is_flat_once_every_slot_of_the_cache_was_used(rig):
    envoy = rig.envoys[1]
    text = request_text(EXPERIMENT.format("{k}"), rig.create_user("asks-much", experiment="READ"))
    start, sent, sizes = time.monotonic(), 0, []
    while sent < REQUESTS if REQUESTS else time.monotonic() - start < SECONDS:
        job = {"port": envoy.port, "text": text, "count": STEP, "connections": 8}
        statuses = rig.lanes.do("flood", **job)
        # A policy server that is not scheduled for a second answers nobody.
        assert set(statuses) <= {"200", "503"} and statuses["200"] > 0.9 * STEP, statuses
        sent += STEP
        if envoy.counted("cache_slots_used") >= WARM:
            sizes.append(envoy.resident())
    print(
        f"\n{sent} requests in {time.monotonic() - start:.0f} s; once warm,"
        f" {sizes[0] / 2**20:.1f} MiB, then {[f'{(s - sizes[0]) / 2**20:+.2f}' for s in sizes]}"
    )
    assert envoy.counted("cache_slots_used") <= SLOTS
    assert len(sizes) >= 5, "it was measured when it was warm"
    # The first ones may still fill the last slots and buffers.
    warm = max(sizes[: len(sizes) // 3])
    assert max(sizes) - warm < GROWTH

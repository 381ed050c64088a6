"""A trap costs the requests that were in that virtual machine, and nobody a wrong answer."""

import pytest
from support.gate import wait_until
from support.raw import http2
from support.rig import MAX_STALENESS, WASM, WORKERS
from support.trap import trapping
from support.under_load import under_load

ON_TRAILERS = "proxy_on_request_trailers"


@pytest.fixture(scope="module")
def trapping_module(tmp_path_factory):
    file = tmp_path_factory.mktemp("trap") / "filter.wasm"
    file.write_bytes(trapping(WASM.read_bytes(), ON_TRAILERS))
    return file


def poison(envoy, authorization):
    """A request whose body is ended by trailers, at which the module traps: undecided."""
    body = b'{"experiment_id":"1"}'
    headers = [
        (b":method", b"POST"),
        (b":path", b"/api/2.0/mlflow/runs/create"),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b"authorization", authorization.encode()),
        (b"content-type", b"application/json"),
    ]
    return http2(envoy.port, headers, body, trailers=[(b"x-end", b"1")])


def reloaded(envoy):
    found = envoy.stats("vm_reload_success")
    return sum(found.values())


def test_a_trap_in_each_worker_lets_nothing_pass_and_the_gate_comes_back(rig, trapping_module):
    with rig.another_envoy("trap", module=trapping_module) as envoy:
        authorization = rig.create_user("poisoner", experiment="MANAGE")
        with under_load(rig, "trap", [envoy]) as load:
            for attack in range(3):
                if attack == 1:
                    load.revoke()
                before = reloaded(envoy)
                # New connections go to the workers in turn.
                for _ in range(WORKERS):
                    answer = poison(envoy, authorization)
                    assert answer is None or answer.status == 503, answer
                wait_until(lambda: reloaded(envoy) > before, "a virtual machine is made anew")
                load.wait("known requests are served again", reader={200})
            load.recovered(hanging=True)
            assert "poisoner" not in rig.seen(), "what trapped went nowhere"
            assert load.last_allowed("revoked") < load.revoked_at + MAX_STALENESS + 0.5

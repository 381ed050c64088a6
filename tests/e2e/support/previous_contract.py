"""A gate whose filter and policy server talk through the contract's version before."""

import contextlib
import functools
import os
import subprocess
from pathlib import Path

from .envoy import another_envoy
from .gate import ROOT, Gate, accepts, free_port, wait_until

EXAMPLE = "previous_contract"


@functools.cache
def program():
    """Built by `cargo test` already, wherever that ran before."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--quiet"]
    command += ["--package", "mlgate-policy-server", "--example", EXAMPLE]
    subprocess.run(command, cwd=ROOT, check=True, timeout=1200)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "debug" / "examples" / EXAMPLE


@contextlib.contextmanager
def through(gate, directory, contract):
    """The gate again, behind an Envoy of its own; calls name the given contract."""
    port, policy = free_port(), gate.ready["ports"]["policy"]
    command = [program(), f"127.0.0.1:{port}", f"127.0.0.1:{policy}", str(contract)]

    def between(configuration):
        for cluster in configuration["static_resources"]["clusters"]:
            for place in cluster["load_assignment"]["endpoints"]:
                for endpoint in place["lb_endpoints"]:
                    address = endpoint["endpoint"]["address"]["socket_address"]
                    if address["port_value"] == policy:
                        address["port_value"] = port

    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port), "the versions meet")
        with another_envoy(gate, between, directory) as listening:
            other = Gate(gate.demo, gate.recorder, gate.metrics_port)
            other.url = f"http://127.0.0.1:{listening}"
            yield other
    finally:
        process.kill()
        process.wait(timeout=20)

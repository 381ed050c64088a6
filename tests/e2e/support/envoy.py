"""Further Envoys in front of the same MLflow and policy server, configured differently."""

import contextlib
import copy
import json
import subprocess

from .gate import accepts, free_port, wait_until


def manager(configuration):
    """The HTTP connection manager of a configuration."""
    listener = configuration["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@contextlib.contextmanager
def another_envoy(gate, change, directory):
    """Runs an Envoy whose configuration `change` has altered; yields its port."""
    configuration = json.loads(open(gate.ready["envoy_config"]).read())
    configuration = copy.deepcopy(configuration)
    port = free_port()
    listener = configuration["static_resources"]["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = port
    configuration["admin"]["address"]["socket_address"]["port_value"] = free_port()
    change(configuration)
    file = directory / "envoy.json"
    file.write_text(json.dumps(configuration))
    with open(directory / "envoy.log", "wb") as log:
        process = subprocess.Popen(
            [gate.ready["envoy"], "-c", str(file), "--disable-hot-restart", "--concurrency", "1"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: accepts(port), "the other Envoy listens", 60)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def validate(gate, file):
    """Envoy's own verdict on a configuration: exit status and messages."""
    result = subprocess.run(
        [gate.ready["envoy"], "--mode", "validate", "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.returncode, result.stdout + result.stderr

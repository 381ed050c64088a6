"""Further Envoys in front of the same MLflow and policy server, configured differently."""

import contextlib
import copy
import json
import subprocess

import requests

from .gate import ROOT, accepts, free_port, wait_until

SHIPPED = ROOT / "envoy"
MODULE = "/etc/envoy/mlgate_filter.wasm"


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
    with running(gate, file, port):
        yield port


@contextlib.contextmanager
def running(gate, file, port, concurrency=1, options=()):
    """Runs an Envoy until the end of the block; it listens on `port` by then. Yields its process."""
    log_file = file.with_suffix(".log")
    with open(log_file, "wb") as log:
        process = subprocess.Popen(
            [gate.ready["envoy"], "-c", str(file), "--disable-hot-restart"]
            + ["--concurrency", str(concurrency), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or accepts(port), "the other Envoy listens", 90
        )
        assert process.poll() is None, log_file.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def localised(file, changes):
    """A shipped file with other addresses and paths; fails if it has none of one."""
    text = file.read_text()
    for shipped, here in changes.items():
        assert shipped in text, f"{file} has no {shipped!r}"
        text = text.replace(shipped, str(here))
    return text


def addresses(gate, admin_port):
    """What is changed of every shipped configuration: ports, and the path of the module."""
    return {
        "port_value: 9901": f"port_value: {admin_port}",
        "port_value: 5000 ": f"port_value: {gate.recorder.port} ",
        "port_value: 50051": f"port_value: {gate.ready['ports']['policy']}",
        MODULE: gate.ready["wasm"],
    }


def stats(admin_port, text):
    """Envoy's counters and gauges whose names contain a text."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(
            f"http://127.0.0.1:{admin_port}/stats", params={"filter": text}, timeout=20
        )
    lines = (line.split(": ", 1) for line in answer.text.splitlines())
    return {name: int(value) for name, value in lines if value.isdigit()}


def validate(gate, file):
    """Envoy's own verdict on a configuration: exit status and messages."""
    result = subprocess.run(
        [gate.ready["envoy"], "--mode", "validate", "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.returncode, result.stdout + result.stderr

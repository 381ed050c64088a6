"""`cargo xtask demo` itself: what it keeps, what it leaves behind, how it complains."""

import json
import os
import signal
import socket
import subprocess

import psutil
import pytest
import requests
from support.gate import Demo, Gate, wait_until, xtask


@pytest.fixture
def start(tmp_path, store):
    """Starts demos on one data directory; whatever is left of them is ended afterwards."""
    demos = []

    def start(*options, environment=None):
        demo = Demo(
            tmp_path / "data",
            *("--listen", "127.0.0.1:0", "--store", store),
            *options,
            environment=environment,
        )
        demos.append(demo)
        return demo

    yield start
    for demo in demos:
        demo.stop()


def family(demo):
    """Every process of a demo, wherever it has moved to."""
    return psutil.Process(demo.process.pid).children(recursive=True)


def is_alive(process):
    """A zombie has ended; that its new parent has not noticed is not the demo's doing."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_second_start_keeps_the_data_and_a_stop_leaves_no_process(start):
    first = start("--admin-user", "root-of-all")
    gate = Gate(first)
    experiment = gate.create_experiment("kept", gate.admin)
    owner = gate.create_user("keeper")
    gate.grant("keeper", "READ", "experiment", experiment)
    processes = family(first)
    assert len(processes) >= 3
    assert first.stop() == 0
    assert not [process for process in processes if is_alive(process)]
    for port in first.ready["ports"].values():
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1)

    second = start("--admin-user", "root-of-all")
    gate = Gate(second)
    assert second.ready["admin_password"] == first.ready["admin_password"]
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    assert gate.get(path, gate.admin).json()["experiment"]["name"] == "kept"
    assert gate.get(path, owner).status_code == 200
    assert "export MLFLOW_TRACKING_URI=" + gate.url in "".join(second.output)


@pytest.mark.parametrize("which", ["mlflow", "envoy", "policy"])
def test_the_demo_ends_and_names_the_part_that_ended(start, which):
    names = {"mlflow": "MLflow", "envoy": "Envoy", "policy": "policy server"}
    demo = start()
    processes = family(demo)
    os.kill(demo.ready["pids"][which], signal.SIGKILL)
    assert demo.process.wait(timeout=60) == 1
    assert f"{names[which]} ended" in demo.messages()
    assert not [process for process in processes if is_alive(process)]


def test_options_and_the_environment_reach_the_parts(start, tmp_path):
    plugin = tmp_path / "plugin.json"
    plugin.write_text(json.dumps({"realm": "elsewhere"}))
    server = tmp_path / "server.toml"
    server.write_text('heartbeat = "250ms"\n')
    demo = start(
        *("--plugin-config", plugin, "--server-config", server),
        *("--default-permission", "READ", "--concurrency", 1, "--admin-password", "opened by sesame"),
        environment={"MLFLOW_SERVER_GRAPHQL_MAX_ALIASES": "7", "MLFLOW_MARK": "here"},
    )
    gate = Gate(demo)
    assert gate.admin == ("admin", "opened by sesame")
    assert 'realm="elsewhere"' in gate.get("/").headers["WWW-Authenticate"]
    assert 'heartbeat = "250ms"' in open(demo.ready["policy_config"]).read()
    experiment = gate.create_experiment("readable", gate.admin)
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    assert gate.get(path, gate.create_user("anyone")).status_code == 200
    workers = requests.get(demo.ready["envoy_admin_url"] + "/server_info").json()
    assert workers["command_line_options"]["concurrency"] == 1
    assert psutil.Process(demo.ready["pids"]["mlflow"]).environ()["MLFLOW_MARK"] == "here"


def test_a_bad_plugin_configuration_stops_the_start_and_names_the_field(tmp_path, store):
    plugin = tmp_path / "plugin.json"
    plugin.write_text(json.dumps({"polcy": {}}))
    with pytest.raises(RuntimeError, match="polcy"):
        Demo(tmp_path / "data", "--listen", "127.0.0.1:0", "--plugin-config", plugin)


def complaint(*options):
    command = [xtask(), "demo", "--no-build", "--profile", "dev", *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    return result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--listen", "nonsense"],
        ["--listen", "127.0.0.1:99999"],
        ["--store", "mysql://x"],
        ["--default-permission", "ALL"],
        ["--concurrency", "0"],
        ["--admin-password", "short"],
        ["--admin-user", "a:b"],
        ["--data-dir", "/proc/nowhere"],
    ],
    ids=lambda options: options[0][2:],
)
def test_a_bad_option_is_refused_by_its_name(tmp_path, options):
    rest = [] if options[0] == "--data-dir" else ["--data-dir", tmp_path / "data"]
    assert options[0] in complaint(*options, *rest)


def test_an_address_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:%d" % server.getsockname()[1]
        assert f"--listen {address}" in complaint("--listen", address, "--data-dir", tmp_path / "d")


def test_two_demos_do_not_share_a_data_directory(start, tmp_path):
    start()
    message = complaint("--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    assert "--data-dir" in message and "another demo" in message


def test_an_interrupt_while_starting_leaves_no_process(tmp_path, store):
    command = [xtask(), "demo", "--no-build", "--profile", "dev", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--store", store, "--data-dir", tmp_path / "data"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: psutil.Process(process.pid).children(recursive=True), "it has begun")
    processes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert not [process for process in processes if is_alive(process)]

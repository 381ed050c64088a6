"""The module and its configuration are exchanged while Envoy runs, the way Istio delivers them:
through extension configuration discovery."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import requests
import yaml
from support import load
from support.envoy import MODULE, SHIPPED, addresses, localised, manager, running, stats
from support.gate import accepts, basic, free_port, wait_until

UPSTREAM = Path(__file__).parent / "support" / "quick_upstream.py"
SWAPS = 10
RATE = 1000
SECONDS = 40


class Hot:
    """envoy/plain with envoy/hot instead of its filter, in front of an upstream that is quick."""

    def __init__(self, gate, directory, upstream_port):
        self.gate, self.directory = gate, directory
        self.port, self.admin_port = free_port(), free_port()
        self.delivered = directory / "mlgate.yaml"
        self.modules = self.versions = 0
        changes = addresses(gate, self.admin_port)
        changes["port_value: 5000 "] = f"port_value: {upstream_port} "
        configuration = yaml.safe_load(localised(SHIPPED / "plain" / "envoy.yaml", changes))
        chain = configuration["static_resources"]["listeners"][0]["filter_chains"][0]
        chain.pop("transport_socket")
        listener = configuration["static_resources"]["listeners"][0]
        listener["address"]["socket_address"].update(address="127.0.0.1", port_value=self.port)
        hosts = manager(configuration)["route_config"]["virtual_hosts"][0]
        hosts["domains"] = ["127.0.0.1"]
        shipped = localised(
            SHIPPED / "hot" / "filter.yaml", {"/etc/envoy/mlgate.yaml": self.delivered}
        )
        manager(configuration)["http_filters"][0] = yaml.safe_load(shipped)
        self.file = directory / "envoy.yaml"
        self.file.write_text(yaml.safe_dump(configuration))
        self.module = gate.ready["wasm"]
        self.settings = {"policy": {"cluster": "mlgate_policy"}}

    def deliver(self, module=None, **settings):
        """Moves a new version over the old one, as an operator would; returns nothing."""
        self.versions += 1
        resource = yaml.safe_load((SHIPPED / "hot" / "mlgate.yaml").read_text())
        resource["version_info"] = str(self.versions)
        config = resource["resources"][0]["typed_config"]["config"]
        assert config["vm_config"]["code"]["local"]["filename"] == MODULE
        config["vm_config"]["code"]["local"]["filename"] = str(module or self.module)
        config["configuration"]["value"] = json.dumps({**self.settings, **settings})
        new = self.directory / "new.yaml"
        new.write_text(yaml.safe_dump(resource))
        os.replace(new, self.delivered)

    def another_module(self):
        """The same code with another custom section: other bytes, so a new VM."""
        self.modules += 1
        name, content = b"build", str(self.modules).encode()
        section = bytes([len(name)]) + name + content
        file = self.directory / f"filter-{self.modules}.wasm"
        shipped = Path(self.gate.ready["wasm"]).read_bytes()
        file.write_bytes(shipped + bytes([0, len(section)]) + section)
        return file

    def count(self, name):
        found = stats(self.admin_port, "extension_config_discovery")
        return sum(value for key, value in found.items() if key.endswith("." + name))

    def realm(self):
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"http://127.0.0.1:{self.port}/api/2.0/mlflow/runs/get")
        assert answer.status_code == 401
        return answer.headers["WWW-Authenticate"]

    def swap(self, number, module=False):
        """Exchanges the configuration, and the module if that is wanted, and waits for it."""
        if module:
            self.module = self.another_module()
        before = self.count("config_reload")
        self.deliver(realm=f"swap {number}")
        wait_until(lambda: self.count("config_reload") > before, "the change is there", 60)
        assert f"swap {number}" in self.realm()


@pytest.fixture(scope="module")
def hot(gate, tmp_path_factory):
    port = free_port()
    upstream = subprocess.Popen([sys.executable, str(UPSTREAM), str(port)])
    hot = Hot(gate, tmp_path_factory.mktemp("hot"), port)
    hot.deliver()
    try:
        wait_until(lambda: accepts(port), "the upstream listens")
        with running(gate, hot.file, hot.port, concurrency=2):
            wait_until(lambda: "mlflow" in hot.realm(), "the gate is there")
            yield hot
    finally:
        upstream.kill()
        upstream.wait(timeout=20)


def test_a_new_configuration_takes_effect_without_a_restart(hot):
    hot.swap("alone")


def test_a_new_module_takes_effect_without_a_restart(hot):
    created = sum(stats(hot.admin_port, "wasm.envoy.wasm.runtime.v8.created").values())
    hot.swap("with-module", module=True)
    now = sum(stats(hot.admin_port, "wasm.envoy.wasm.runtime.v8.created").values())
    assert now > created, "virtual machines were made for it"


def broken_module(hot):
    file = hot.directory / "broken.wasm"
    file.write_bytes(Path(hot.gate.ready["wasm"]).read_bytes()[:100_000])
    return {"module": file}


@pytest.mark.parametrize(
    "what",
    [
        lambda hot: {"surprise": 1},
        lambda hot: {"policy": {"cluster": ""}},
        broken_module,
        lambda hot: {"module": hot.directory / "absent.wasm"},
    ],
    ids=["unknown-field", "bad-value", "truncated-module", "absent-module"],
)
def test_a_bad_one_is_refused_and_the_old_one_stays(hot, what):
    hot.deliver(realm="good")
    wait_until(lambda: "good" in hot.realm(), "the good one is there", 60)
    refused = hot.count("config_fail") + hot.count("update_rejected")
    hot.deliver(**{"realm": "bad", **what(hot)})
    wait_until(
        lambda: hot.count("config_fail") + hot.count("update_rejected") > refused, "it is refused"
    )
    for _ in range(5):
        assert "good" in hot.realm()
    hot.deliver(realm="better")
    wait_until(lambda: "better" in hot.realm(), "the next good one is taken", 60)


def message(gate, method, path, who, body=""):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: {basic(*who)}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


def test_no_request_fails_while_settings_and_module_are_exchanged_ten_times(gate, hot, unique):
    owner, stranger = gate.create_user("hot-owner"), gate.create_user("hot-stranger")
    run = gate.create_run(gate.create_experiment(unique, owner), owner)
    read = f"/api/2.0/mlflow/runs/get?run_id={run}"
    tag = json.dumps({"run_id": run, "key": "k", "value": "v"})
    write = ("POST", "/api/2.0/mlflow/runs/set-tag")
    jobs = [
        {"text": message(gate, "GET", read, owner), "status": 200},
        {"text": message(gate, *write, owner, tag), "status": 200},
        {"text": message(gate, "GET", read, stranger), "status": 403},
        {"text": message(gate, *write, stranger, tag), "status": 403},
    ]
    process = load.run_in_background(
        port=hot.port, rate=RATE, count=RATE * SECONDS, connections=32, requests=jobs, timeout=20
    )
    start, swaps = time.monotonic(), 0
    for number in range(SWAPS):
        hot.swap(f"{number}-settings")
        hot.swap(f"{number}-module", module=True)
        swaps += process.poll() is None
        pause = start + (number + 1) * (SECONDS - 5) / SWAPS - time.monotonic()
        time.sleep(max(0, pause))
    report = load.finish(process)
    print(textwrap.shorten(json.dumps(report), 500))
    assert report["others"] == {}
    assert report["as_expected"] == RATE * SECONDS
    assert swaps == SWAPS, "the load outlasted the changes"
    assert report["seconds"] < SECONDS * 1.3, "the rate was kept"

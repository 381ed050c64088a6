"""The gate as the operations guide finds it: a directory with a policy server that a supervisor
keeps running, and an Envoy that takes its filter from a file (envoy/plain with envoy/hot)."""

import contextlib
import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import yaml

from .canaries import PASSWORD
from .envoy import MODULE, SHIPPED, addresses, localised, manager, running
from .gate import accepts, free_port, wait_until

# `systemctl restart`, for a supervisor that starts again what has ended.
RESTART = """#!/bin/sh
old=$(cat server.pid)
kill -TERM "$old"
while [ "$(cat server.pid)" = "$old" ]; do sleep 0.05; done
"""


class Supervised:
    """`Restart=always`: the program of that moment is started again whenever it ends."""

    def __init__(self, directory, port):
        self.directory, self.port = directory, port
        self._wanted = True
        self._start()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLGATE_")}
        with open(self.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                ["./mlgate", "--config", "server.toml", "serve"],
                cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        listens = lambda: accepts(self.port) or self.process.poll() is not None
        wait_until(listens, "the policy server listens", 60)
        log = (self.directory / "server.log").read_text()
        assert self.process.poll() is None, log[-2000:]
        pid = self.directory / "server.pid.new"
        pid.write_text(str(self.process.pid))
        os.replace(pid, self.directory / "server.pid")

    def _keep(self):
        while self._wanted:
            self.process.wait()
            if self._wanted:
                self._start()

    def close(self):
        self._wanted = False
        self.process.kill()
        self._thread.join(timeout=30)


class Installed:
    def __init__(self, gate, directory):
        self.directory = directory
        self.ports = {name: free_port() for name in ("gate", "admin", "policy", "metrics")}
        self.program = Path(gate.ready["mlgate"])
        shutil.copy2(self.program, directory / "mlgate")
        restart = directory / "restart"
        restart.write_text(RESTART)
        restart.chmod(restart.stat().st_mode | stat.S_IXUSR)
        (directory / "server.toml").write_text(
            f'listen = "127.0.0.1:{self.ports["policy"]}"\nstore = "sqlite:policy.db"\n'
            f'metrics_listen = "127.0.0.1:{self.ports["metrics"]}"\nlog_format = "json"\n'
            f'tracking_uri = "{gate.ready["tracking_uri"]}"\n'
        )
        (directory / "mlgate_filter.wasm").write_bytes(Path(gate.ready["wasm"]).read_bytes())
        # As shipped, but for the directory.
        here = {MODULE: directory / "mlgate_filter.wasm"}
        (directory / "mlgate.yaml").write_text(localised(SHIPPED / "hot" / "mlgate.yaml", here))
        self._write_envoys_configuration(gate)
        self.password = PASSWORD.format("alice")
        self._user("alice")
        self._user("admin", "--admin")

    def _write_envoys_configuration(self, gate):
        changes = addresses(gate, self.ports["admin"])
        changes["port_value: 50051"] = f"port_value: {self.ports['policy']}"
        configuration = yaml.safe_load(localised(SHIPPED / "plain" / "envoy.yaml", changes))
        listener = configuration["static_resources"]["listeners"][0]
        listener["address"]["socket_address"].update(
            address="127.0.0.1", port_value=self.ports["gate"]
        )
        listener["filter_chains"][0].pop("transport_socket")
        connections = manager(configuration)
        connections["route_config"]["virtual_hosts"][0]["domains"] = ["127.0.0.1"]
        here = {"/etc/envoy/mlgate.yaml": self.directory / "mlgate.yaml"}
        shipped = localised(SHIPPED / "hot" / "filter.yaml", here)
        connections["http_filters"][0] = yaml.safe_load(shipped)
        (self.directory / "envoy.yaml").write_text(yaml.safe_dump(configuration))

    def _user(self, name, *options):
        command = ["./mlgate", "--config", "server.toml", "user", "create", name]
        subprocess.run(
            [*command, "--password-stdin", *options],
            cwd=self.directory, input=PASSWORD.format(name) + "\n", text=True, check=True,
            capture_output=True, timeout=60,
        )  # fmt: skip

    def environment(self):
        """What the pages say that their variables are."""
        at = lambda name: f"http://127.0.0.1:{self.ports[name]}"
        pid = (self.directory / "server.pid").read_text()
        return {
            "ENVOY": at("admin"), "GATE": at("gate"), "SERVER": at("metrics"),
            "PASSWORD": self.password, "RESTART": "./restart", "PID": pid,
            "MLGATE_CONFIG": "server.toml", "no_proxy": "127.0.0.1",
        }  # fmt: skip

    @contextlib.contextmanager
    def running(self, gate):
        with contextlib.closing(Supervised(self.directory, self.ports["policy"])):
            with running(gate, self.directory / "envoy.yaml", self.ports["gate"], concurrency=2):
                yield self
        # The logs stay, to be searched for secrets; the programs are large.
        for program in ("mlgate", "mlgate.old", "new/mlgate"):
            (self.directory / program).unlink(missing_ok=True)

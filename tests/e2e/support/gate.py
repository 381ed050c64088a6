"""Starts `cargo xtask demo` as a user would, and gives tests a handle on it."""

import base64
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

from .canaries import CANARIES, PASSWORD

ROOT = Path(__file__).parents[3]


def xtask():
    default = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "xtask"
    return os.environ.get("MLGATE_TEST_XTASK", str(default))


# What `cargo xtask test` has built, and in its place parts of another version: whether both sides of
# the contract go together is tested with these, see policy-server/README.md.
TARGET = Path(xtask()).parents[1]
BUILT = {
    "policy-server": TARGET / "debug" / "mlgate",
    "filter": TARGET / "wasm32-wasip1" / "filter" / "mlgate_filter.wasm",
}
OTHERS = {
    part: Path(file).absolute()
    for part in BUILT
    if (file := os.environ.get(f"MLGATE_TEST_{part.upper().replace('-', '_')}"))
}
PARTS = BUILT | OTHERS


def package(name):
    """The directory of an installed Python package, which is not imported for it."""
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Demo:
    """A running demo. Options are those of `cargo xtask demo`, and its hidden ones."""

    def __init__(self, data_dir, *options, environment=None):
        self.log = open(Path(data_dir).with_suffix(".log"), "w+b")
        command = [xtask(), "demo", "--no-build", "--profile", "dev", "--data-dir", str(data_dir)]
        others = [word for part, file in OTHERS.items() for word in (f"--{part}", str(file))]
        self.process = subprocess.Popen(
            [*command, *others, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **(environment or {})},
        )
        self.output = []
        for line in self.process.stdout:
            self.output.append(line.decode())
            if line.startswith(b'{"ready":'):
                self.ready = json.loads(line)["ready"]
                return
        self.process.wait()
        raise RuntimeError("the demo did not start:\n" + self.messages())

    def messages(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def stop(self):
        """Ends it by SIGTERM and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


class Gate:
    """The gate of a demo, its admin, and the users that tests make."""

    def __init__(self, demo, recorder=None, metrics_port=None):
        self.demo = demo
        self.recorder = recorder
        self.metrics_port = metrics_port
        self.started = []
        self.url = demo.ready["url"]
        self.admin = (demo.ready["admin_user"], demo.ready["admin_password"])
        CANARIES.watch_for("the administrator's password", self.admin[1])
        # Beside the logs, for the search for secrets in what a session leaves.
        self.written = Path(demo.ready["data_dir"]) / "logs"

    @property
    def ready(self):
        return self.demo.ready

    def mlgate(self, *arguments, check=True, **options):
        """Runs the `mlgate` command against this gate's store."""
        command = [self.ready["mlgate"], "--config", self.ready["policy_config"], *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
        assert not check or result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
        return result

    def create_user(self, name):
        """Returns the credential of a new user; an existing one is left as it is."""
        password = PASSWORD.format(name)
        result = self.mlgate(
            "user", "create", name, "--password-stdin", input=password + "\n", check=False
        )
        assert result.returncode == 0 or "exists" in result.stderr, result.stderr
        return name, password

    def grant(self, user, level, resource, pattern):
        self.mlgate("grant", user, resource, pattern, level)

    def revoke(self, user, resource, pattern):
        self.mlgate("revoke", user, resource, pattern)

    def request(self, method, path, credential=None, **options):
        """One request with Basic credentials, a bearer token (a string), or nothing."""
        headers, timeout = dict(options.pop("headers", {})), options.pop("timeout", 60)
        if isinstance(credential, tuple):
            headers["Authorization"] = basic(*credential)
        elif credential:
            headers["Authorization"] = f"Bearer {credential}"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method, self.url + path, headers=headers, timeout=timeout, **options
            )
        self._keep_refusal(answer)
        return answer

    def _keep_refusal(self, answer):
        """What refusals tell is searched for secrets as the logs are. An answer that is streamed
        is its test's to read."""
        if answer.status_code >= 400 and answer._content_consumed:
            head = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
            with open(self.written / "refusals.log", "ab") as refusals:
                refusals.write(head.encode("latin-1", "replace") + answer.content + b"\n")

    def _keep_statistics(self):
        urls = {
            "envoy-stats": self.ready["envoy_admin_url"] + "/stats",
            "envoy-prometheus": self.ready["envoy_admin_url"] + "/stats/prometheus",
        }
        if self.metrics_port:
            urls["policy-metrics"] = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with requests.Session() as session:
            session.trust_env = False
            for name, url in urls.items():
                # A test may have ended one of them for good.
                with contextlib.suppress(requests.ConnectionError):
                    text = session.get(url, timeout=20).content
                    (self.written / f"{name}.log").write_bytes(text)

    def get(self, path, credential=None, **options):
        return self.request("GET", path, credential, **options)

    def post(self, path, credential=None, **options):
        return self.request("POST", path, credential, **options)

    def create_experiment(self, name, credential):
        answer = self.post("/api/2.0/mlflow/experiments/create", credential, json={"name": name})
        assert answer.status_code == 200, answer.text
        return answer.json()["experiment_id"]

    def create_run(self, experiment_id, credential):
        body = {"experiment_id": experiment_id, "start_time": int(time.time() * 1000)}
        answer = self.post("/api/2.0/mlflow/runs/create", credential, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["run"]["info"]["run_id"]

    def logs(self, name):
        """The log files of a part, also of those that tests have started."""
        return sorted((Path(self.ready["data_dir"]) / "logs").glob(f"{name}*.log"))

    # The policy server, for tests that take it away.

    def stop_policy_server(self):
        pid = self.ready["pids"]["policy"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not accepts(self.ready["ports"]["policy"]), "the policy server is gone")

    def close(self):
        """Stops the demo, and the policy servers that tests have started."""
        self._keep_statistics()
        self.demo.stop()
        for process in self.started:
            process.kill()
            process.wait(timeout=20)

    def start_policy_server(self):
        log = open(Path(self.ready["data_dir"]) / "logs" / "policy-server-again.log", "ab")
        process = subprocess.Popen(
            self.ready["policy_command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self.ready["pids"]["policy"] = process.pid
        self.started.append(process)
        wait_until(lambda: accepts(self.ready["ports"]["policy"]), "the policy server is back")
        return process


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)

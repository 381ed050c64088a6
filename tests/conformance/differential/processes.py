"""MLflow servers as child processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS = 180
STOP_SECONDS = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A child in its own process group, so that its workers end with it."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str], stdout=None):
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                command,
                stdout=stdout or output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **env},
                start_new_session=True,
            )

    def wait_for(self, url: str) -> None:
        """Until `url` answers with anything below 500."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}; see {self.log}")
            try:
                urllib.request.urlopen(url, timeout=5)
                return
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} did not answer in {READY_SECONDS} s; see {self.log}")

    def stop(self) -> None:
        if self.child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGTERM)
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


# The same for all servers, because what one encrypts another must read.
COMMON_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "differential-run-only-passphrase",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "differential-run-only",
    "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    # No model catalogue from the network.
    "MLFLOW_MODEL_CATALOG_URI": "",
    # A request that reaches an LLM provider must fail at once and not over the network.
    "MLFLOW_GATEWAY_REQUEST_TIMEOUT": "2",
}


def start_mlflow(data: Path, port: int, *, env: dict[str, str] | None = None, arguments: tuple[str, ...] = ()) -> Process:
    """`mlflow server` on `data/mlflow.db` and `data/artifacts`."""
    command = [
        sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{data}/mlflow.db",
        "--serve-artifacts", "--artifacts-destination", str(data / "artifacts"),
        *arguments,
    ]  # fmt: skip
    process = Process(
        f"MLflow on port {port}",
        command,
        data / "mlflow.log",
        {**COMMON_ENVIRONMENT, **(env or {})},
    )
    process.wait_for(f"http://127.0.0.1:{port}/health")
    return process

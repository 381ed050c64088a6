"""The gate under test, started by the project's own `demo` command."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from .http_client import Admin
from .processes import COMMON_ENVIRONMENT, STOP_SECONDS, Process, free_port
from .provision import ADMIN_NAME, ADMIN_PASSWORD, create_users, renew_somebody
from .recorder import Recorder
from .users import User


# By default the gate tells its MLflow's version to everybody, as health checks want it; the
# reference asks for a login.
# A busy machine must not turn decisions into 503.
PLUGIN_CONFIG = {
    "public_routes": ["/health", "/3.0/mlflow/server-info"],
    "policy": {"timeout_ms": 10_000},
}


class Gate:
    """Envoy with the filter, the policy server, a recorder, and an MLflow without auth."""

    def __init__(self, demo: list[str], data: Path, default_permission: str):
        mlflow_port = free_port()
        self.recorder = Recorder(mlflow_port)
        plugin_config = data.with_name("plugin-config.json")
        plugin_config.write_text(json.dumps(PLUGIN_CONFIG))
        # An MLflow URI and the port settings of this run decide, not those of the caller's shell.
        environment = {**COMMON_ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{data}/mlflow.db"}
        command = [
            *demo,
            "--data-dir", str(data),
            "--listen", "127.0.0.1:0",
            "--mlflow-port", str(mlflow_port),
            "--mlflow-through", str(self.recorder.port),
            "--default-permission", default_permission,
            "--admin-user", ADMIN_NAME,
            "--admin-password", ADMIN_PASSWORD,
            "--plugin-config", str(plugin_config),
        ]  # fmt: skip
        log = data.with_name(data.name + ".log")
        self.process = Process("the gate", command, log, environment, stdout=subprocess.PIPE)
        self.url = self.ready_line(log)["url"]

    def ready_line(self, log: Path) -> dict:
        for line in self.process.child.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if "ready" in message:
                    return message["ready"]
        self.stop()
        raise RuntimeError(f"the gate did not become ready; see {log}")

    def admin(self) -> Admin:
        return Admin(self.url, ADMIN_NAME, ADMIN_PASSWORD)

    def stop(self) -> None:
        # The demo stops what it started; only if it does not is the group killed.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.child.pid, 15)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.child.wait(3 * STOP_SECONDS)
        self.process.stop()
        self.recorder.stop()


def prepare(demo: list[str], world: Path, data: Path, worlds: dict[str, dict], users: list[User]) -> dict[str, int]:
    """The gate's data directory with the users in it; started again for every default permission."""
    shutil.copytree(world, data)
    gate = Gate(demo, data, "NO_PERMISSIONS")
    try:
        create_users(gate.admin(), worlds, users)
        return renew_somebody(gate.admin(), worlds)
    finally:
        gate.stop()

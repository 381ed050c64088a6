"""MLflow's own auth app, to compare with."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import requests

from .gate import free_port

ADMIN = ("admin", "reference-admin-password")

CONFIG = """[mlflow]
default_permission = {default_permission}
database_uri = sqlite:///{directory}/auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


@contextlib.contextmanager
def running_reference(directory, default_permission="NO_PERMISSIONS"):
    """Yields the URL of `mlflow server --app-name basic-auth` on empty databases."""
    config = directory / "basic_auth.ini"
    config.write_text(CONFIG.format(directory=directory, default_permission=default_permission))
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    command += ["--artifacts-destination", str(directory / "artifacts")]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
    }
    with open(directory / "reference.log", "w+b") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for_health(url, process, directory / "reference.log")
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def wait_for_health(url, process, log):
    session = requests.Session()
    session.trust_env = False
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if session.get(f"{url}/health", timeout=5).ok:
                return
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)

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
database_uri = {auth_uri}
admin_username = {admin[0]}
admin_password = {admin[1]}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


@contextlib.contextmanager
def running_reference(
    directory,
    default_permission="NO_PERMISSIONS",
    python=sys.executable,
    admin=ADMIN,
    auth_uri=None,
    tracking_uri=None,
    options=(),
    settings="",
):
    """Yields the URL of `mlflow server --app-name basic-auth`; on empty databases if not told of
    others."""
    config = directory / "basic_auth.ini"
    text = CONFIG.format(
        auth_uri=auth_uri or f"sqlite:///{directory}/auth.db",
        default_permission=default_permission,
        admin=admin,
    )
    config.write_text(text + settings)
    port = free_port()
    command = [python, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options]
    command += ["--backend-store-uri", tracking_uri or f"sqlite:///{directory}/mlflow.db"]
    command += ["--artifacts-destination", str(directory / "artifacts")]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
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

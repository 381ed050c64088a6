"""The reference: `mlflow server --app-name basic-auth`, unmodified."""

import shutil
import sqlite3
from pathlib import Path

from .http_client import Admin
from .processes import free_port, start_mlflow
from .provision import ADMIN_NAME, ADMIN_PASSWORD, create_users, renew_somebody
from .users import User

DATABASES = ("mlflow.db", "auth.db")
# Longer than any run: passwords are hashed once per user and server.
AUTH_CACHE_SECONDS = 24 * 3600


class Reference:
    """One server on its own copy of the world, for one thread."""

    def __init__(self, data: Path, default_permission: str):
        self.data = data
        # What a server of an earlier run left in this directory is not known.
        self.changed = True
        config = data / "basic_auth.ini"
        config.write_text(
            "[mlflow]\n"
            f"default_permission = {default_permission}\n"
            f"database_uri = sqlite:///{data}/auth.db\n"
            f"admin_username = {ADMIN_NAME}\n"
            f"admin_password = {ADMIN_PASSWORD}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            f"auth_cache_ttl_seconds = {AUTH_CACHE_SECONDS}\n"
        )
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = start_mlflow(
            data,
            port,
            env={"MLFLOW_AUTH_CONFIG_PATH": str(config), "HOME": str(data)},
            arguments=("--app-name", "basic-auth"),
        )

    def admin(self) -> Admin:
        return Admin(self.url, ADMIN_NAME, ADMIN_PASSWORD)

    def forget_changes(self) -> None:
        if self.changed:
            self.restore()

    def restore(self) -> None:
        """Databases and artifacts as they were; through SQLite, under the server's feet."""
        for name in DATABASES:
            source = sqlite3.connect(self.data / "snapshot" / name)
            target = sqlite3.connect(self.data / name, timeout=30)
            with source, target:
                source.backup(target)
            source.close()
            target.close()
        artifacts = self.data / "artifacts"
        shutil.rmtree(artifacts, ignore_errors=True)
        shutil.copytree(self.data / "snapshot" / "artifacts", artifacts)
        self.changed = False

    def stop(self) -> None:
        self.process.stop()


def prepare(world: Path, data: Path, worlds: dict[str, dict], users: list[User]) -> dict[str, int]:
    """A data directory with the users in it and a snapshot of itself; to be copied per server."""
    shutil.copytree(world, data)
    server = Reference(data, "NO_PERMISSIONS")
    try:
        create_users(server.admin(), worlds, users)
        ids = renew_somebody(server.admin(), worlds)
    finally:
        server.stop()
    snapshot = data / "snapshot"
    snapshot.mkdir()
    for name in DATABASES:
        shutil.copy(data / name, snapshot / name)
    shutil.copytree(data / "artifacts", snapshot / "artifacts")
    return ids


def copies(prepared: Path, number: int) -> list[Path]:
    made = []
    for index in range(number):
        data = prepared.with_name(f"{prepared.name}-{index}")
        shutil.copytree(prepared, data)
        made.append(data)
    return made

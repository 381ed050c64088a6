"""A team on MLflow's own auth app: what it granted, and what each of its members may do."""

import itertools
import os
import re
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import requests

V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"

# Not the gate's own admin: this one comes with the import.
ADMIN = ("former-admin", "former-admin-password")

PASSWORD = "password of {}"

LEVELS = ("READ", "EDIT", "MANAGE")


@dataclass(frozen=True)
class Mlflow:
    """An installed MLflow."""

    version: str
    python: str

    @property
    def has_roles(self):
        return int(self.version.split(".")[0]) >= 3


def installed(pinned):
    """The pinned MLflow and, where `cargo xtask test` names it, one of the 2 line."""
    found = [Mlflow(pinned, sys.executable)]
    if python := os.environ.get("MLGATE_TEST_MLFLOW_2_PYTHON"):
        parts = Path(python).parents[1].glob("lib/*/site-packages/mlflow-*.dist-info")
        found.append(Mlflow(re.search(r"mlflow-([\d.]+)\.dist-info", str(next(parts)))[1], python))
    return found


class AuthDatabase:
    """An empty database beside the gate's: a file, or one more in the gate's Postgres."""

    def __init__(self, tracking_uri, directory, name):
        self.tracking_uri = tracking_uri
        if tracking_uri.startswith("sqlite:"):
            self.uri = f"sqlite:///{directory}/{name}.db"
            return
        server = tracking_uri.replace("+psycopg2", "").rsplit("/", 1)[0]
        connection = psycopg2.connect(f"{server}/postgres")
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name}"')
        connection.close()
        self.uri = f"{tracking_uri.rsplit('/', 1)[0]}/{name}"


def column(uri, statement):
    """The first column of what a database answers."""
    if uri.startswith("sqlite:"):
        # Three slashes as SQLAlchemy writes an absolute path, two as the gate does.
        connection = sqlite3.connect("/" + uri.removeprefix("sqlite:").lstrip("/"))
    else:
        connection = psycopg2.connect(uri.replace("+psycopg2", ""))
    cursor = connection.cursor()
    cursor.execute(statement)
    rows = [row[0] for row in cursor.fetchall()]
    connection.close()
    return rows


class Http:
    """Requests to one server."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, who, method, path, body):
        how = {"params": body} if method == "GET" else {"json": body}
        return self.session.request(method, self.url + path, auth=who, timeout=60, **how)

    def done(self, who, method, path, body):
        answer = self.call(who, method, path, body)
        assert answer.status_code == 200, f"{method} {path} {body}: {answer.text}"
        return answer.json()


class Team:
    """Users with grants of every kind that the version has, written by the version itself."""

    def __init__(self, mlflow, url):
        self.mlflow = mlflow
        self.server = Http(url)
        self.users = {}
        self.names = itertools.count()
        self.experiments = {name: self.create_experiment(name) for name in ("one", "two", "three")}
        for model in ("first", "second", "third"):
            self.administer("POST", f"{V2}/registered-models/create", {"name": model})
        self.add_users()
        if mlflow.has_roles:
            self.grant_by_roles()
        else:
            self.grant_by_tables()

    def administer(self, method, path, body):
        return self.server.done(ADMIN, method, path, body)

    def create_experiment(self, name):
        body = {"name": f"{name} of {self.mlflow.version}"}
        return self.administer("POST", f"{V2}/experiments/create", body)["experiment_id"]

    def add_users(self):
        for name in (*map(str.lower, LEVELS), "refused", "unmentioned", "second-admin"):
            self.users[name] = (name, PASSWORD.format(name))
            body = {"username": name, "password": PASSWORD.format(name)}
            self.administer("POST", f"{V2}/users/create", body)
        body = {"username": "second-admin", "is_admin": True}
        self.administer("PATCH", f"{V2}/users/update-admin", body)
        self.users["former-admin"] = ADMIN

    def grant_by_tables(self):
        """MLflow 2: each on the first experiment and model by name; one denied explicitly."""
        for level in (*LEVELS, "NO_PERMISSIONS"):
            user = {"NO_PERMISSIONS": "refused"}.get(level, level.lower())
            body = {"experiment_id": self.experiments["one"], "username": user}
            body["permission"] = level
            self.administer("POST", f"{V2}/experiments/permissions/create", body)
            body = {"name": "first", "username": user, "permission": level}
            self.administer("POST", f"{V2}/registered-models/permissions/create", body)

    def grant_by_roles(self):
        """MLflow 3: users' own permissions, denials, tiers, and roles in two workspaces."""
        for level in (*LEVELS, "DENY"):
            user = {"DENY": "refused"}.get(level, level.lower())
            body = {"username": user, "permission": level}
            one = {"resource_type": "experiment", "resource_id": self.experiments["one"]}
            self.administer("POST", f"{V3}/users/permissions/grant", {**body, **one})
            first = {"resource_type": "registered_model", "resource_id": "first"}
            self.administer("POST", f"{V3}/users/permissions/grant", {**body, **first})
        editors = self.create_role("default", "editors", ["unmentioned"])
        self.permit(editors, "experiment", self.experiments["two"], "EDIT")
        self.permit(editors, "registered_model", "*", "EDIT")
        self.permit(editors, "prompt", "*", "DENY")
        # Takes away what EDIT on the experiment gives for its runs.
        capped = self.create_role("default", "capped", ["edit"])
        self.permit(capped, "run", "*", "READ")
        elsewhere = self.create_role("elsewhere", "managers", ["read"])
        self.permit(elsewhere, "experiment", "*", "MANAGE")

    def create_role(self, workspace, name, members):
        body = {"workspace": workspace, "name": name, "description": f"the {name}"}
        role = self.administer("POST", f"{V3}/roles/create", body)["role"]["id"]
        for member in members:
            body = {"username": member, "role_id": role}
            self.administer("POST", f"{V3}/roles/assign", body)
        return role

    def permit(self, role, resource, pattern, permission):
        body = {"role_id": role, "resource_type": resource, "resource_pattern": pattern}
        body["permission"] = permission
        self.administer("POST", f"{V3}/roles/permissions/add", body)

    def attempts(self, server):
        """Every user's attempts at every object: (who, what) and whether it was let through."""
        self.server = server
        return {
            (name, what): attempt(server, credential)
            for name, credential in self.users.items()
            for what, attempt in self.kinds_of_attempts()
        }

    def kinds_of_attempts(self):
        """Reading, changing and deleting; what is deleted is made by the admin for that."""
        for name, experiment in self.experiments.items():
            of = {"experiment_id": experiment}
            yield f"get {name}", self.asking("GET", f"{V2}/experiments/get", lambda of=of: of)
            yield f"tag {name}", self.asking(
                "POST",
                f"{V2}/experiments/set-experiment-tag",
                lambda of=of: {**of, "key": "k", "value": "v"},
            )
            yield f"run in {name}", self.asking("POST", f"{V2}/runs/create", lambda of=of: of)
            yield f"delete run of {name}", self.asking(
                "POST", f"{V2}/runs/delete", lambda of=of: {"run_id": self.new_run(of)}
            )
        for model in ("first", "second"):
            of = {"name": model}
            yield f"get {model}", self.asking("GET", f"{V2}/registered-models/get", lambda of=of: of)
            yield f"describe {model}", self.asking(
                "PATCH",
                f"{V2}/registered-models/update",
                lambda of=of: {**of, "description": "d"},
            )
            yield f"untag {model}", self.asking(
                "DELETE", f"{V2}/registered-models/delete-tag", lambda of=of: self.new_tag(of)
            )

    def asking(self, method, path, body):
        def attempt(server, who):
            answer = server.call(who, method, path, body())
            assert answer.status_code in (200, 403), f"{who} {method} {path}: {answer.text}"
            return answer.status_code == 200

        return attempt

    def new_run(self, of):
        return self.administer("POST", f"{V2}/runs/create", of)["run"]["info"]["run_id"]

    def new_tag(self, of):
        tag = {**of, "key": f"tag-{next(self.names)}"}
        self.administer("POST", f"{V2}/registered-models/set-tag", {**tag, "value": "v"})
        return tag

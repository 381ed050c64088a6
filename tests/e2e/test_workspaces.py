"""MLflow with workspaces: the gate lets through what MLflow's own auth app lets through, in the
workspace that a request names, and both keep grants within their workspace."""

import itertools
import json

import pytest
from support.gate import Demo, Gate
from support.migration import ADMIN, V2, V3, AuthDatabase, Http
from support.reference import running_reference

PASSWORD = "password in workspaces"

# Of the request; None is no header.
NAMED = (None, "default", "red", "blue")


@pytest.fixture(scope="module", params=["false", "true"], ids=["closed-default", "open-default"])
def workspaces(request, tmp_path_factory, store):
    """Two workspaces beside `default`, guarded by MLflow and then by the gate."""
    directory = tmp_path_factory.mktemp("workspaces")
    config = directory / "server.toml"
    config.write_text(
        f"workspaces = true\ngrant_default_workspace_access = {request.param}\n"
    )
    demo = Demo(
        directory / "data",
        *("--listen", "127.0.0.1:0", "--store", store, "--default-permission", "READ"),
        *("--server-config", config),
        environment={"MLFLOW_ENABLE_WORKSPACES": "true"},
    )
    try:
        yield Workspaces(Gate(demo), directory, request.param)
    finally:
        demo.stop()


class Workspaces:
    def __init__(self, gate, directory, open_default):
        self.gate = gate
        self.names = itertools.count()
        tracking_uri = gate.ready["tracking_uri"]
        auth = AuthDatabase(tracking_uri, directory, "auth_with_workspaces")
        reference = running_reference(
            directory,
            default_permission="READ",
            admin=ADMIN,
            auth_uri=auth.uri,
            tracking_uri=tracking_uri,
            options=("--enable-workspaces",),
            settings=f"grant_default_workspace_access = {open_default}\n",
        )
        with reference as url:
            self.server = InWorkspaces(url)
            self.provision()
            self.of_mlflow = self.attempts()
        imported = ("import", "mlflow", "--from", auth.uri, "--apply")
        self.imported = json.loads(gate.mlgate("--json", *imported).stdout)
        self.server = InWorkspaces(gate.url)
        self.of_the_gate = self.attempts()

    def admin(self, workspace, method, path, body):
        answer = self.server.call(ADMIN, workspace, method, path, body)
        assert answer.status_code < 300, f"{method} {path} {body}: {answer.text}"
        return answer.json()

    def provision(self):
        for name in ("red", "blue"):
            self.admin(None, "POST", f"{V3}/workspaces", {"name": name})
        self.experiments = {}
        for name in ("default", "red", "blue"):
            made = self.admin(name, "POST", f"{V2}/experiments/create", {"name": "same name"})
            self.experiments[name] = made["experiment_id"]
            self.admin(name, "POST", f"{V2}/registered-models/create", {"name": "same-model"})
        self.users = {"admin": ADMIN}
        for user in (
            *("nobody", "member-of-red", "chief-of-red", "denied-chief-of-red"),
            *("editor-of-blue", "reader-of-one-in-red", "denied-in-red"),
        ):
            self.users[user] = (user, PASSWORD)
            body = {"username": user, "password": PASSWORD}
            self.admin(None, "POST", f"{V2}/users/create", body)
        self.role("red", "member-of-red", ("workspace", "*", "USE"))
        self.role("red", "chief-of-red", ("workspace", "*", "MANAGE"))
        deny = ("experiment", "*", "DENY")
        self.role("red", "denied-chief-of-red", ("workspace", "*", "MANAGE"), deny)
        self.role("blue", "editor-of-blue", ("experiment", "*", "EDIT"))
        self.role("red", "denied-in-red", ("workspace", "*", "USE"), deny)
        # Per user, in the workspace that the request names.
        for resource, name in (
            ("experiment", self.experiments["red"]),
            ("registered_model", "same-model"),
        ):
            body = {"username": "reader-of-one-in-red", "resource_type": resource}
            body.update(resource_id=name, permission="READ")
            self.admin("red", "POST", f"{V3}/users/permissions/grant", body)

    def role(self, workspace, user, *permissions):
        body = {"workspace": workspace, "name": f"of {user}"}
        role = self.admin(workspace, "POST", f"{V3}/roles/create", body)["role"]["id"]
        for resource, pattern, permission in permissions:
            body = {"role_id": role, "resource_type": resource, "resource_pattern": pattern}
            body["permission"] = permission
            self.admin(workspace, "POST", f"{V3}/roles/permissions/add", body)
        body = {"username": user, "role_id": role}
        self.admin(workspace, "POST", f"{V3}/roles/assign", body)

    def attempts(self):
        """(who, workspace of the request, what) and whether it was let through."""
        return {
            (name, workspace, what): ask(credential, workspace)
            for name, credential in self.users.items()
            for workspace in NAMED
            for what, ask in self.questions()
        }

    def questions(self):
        for of, experiment in self.experiments.items():
            id_ = {"experiment_id": experiment}
            yield f"get the one of {of}", self.asking("GET", f"{V2}/experiments/get", id_)
            yield f"run in {of}", self.asking("POST", f"{V2}/runs/create", id_)
        named = {"name": "same-model"}
        yield "get the model", self.asking("GET", f"{V2}/registered-models/get", named)
        yield "describe the model", self.asking(
            "PATCH", f"{V2}/registered-models/update", {**named, "description": "d"}
        )
        yield "create", self.asking("POST", f"{V2}/experiments/create", self.new_name)
        yield "list", self.listing
        for of in ("red", "blue"):
            yield f"role in {of}", self.asking(
                "POST", f"{V3}/roles/create", lambda of=of: {**self.new_name(), "workspace": of}
            )
        yield "roles of red", self.asking("GET", f"{V3}/roles/list", {"workspace": "red"})

    def new_name(self):
        return {"name": f"new-{next(self.names)}"}

    def asking(self, method, path, body):
        def ask(who, workspace):
            made = body() if callable(body) else body
            answer = self.server.call(who, workspace, method, path, made)
            # What is in another workspace is absent there: 404 for an admin.
            assert answer.status_code in (200, 403, 404), f"{who} {method} {path} {answer.text}"
            return answer.status_code == 200

        return ask

    def listing(self, who, workspace):
        path, body = f"{V2}/experiments/search", {"max_results": 1000}
        answer = self.server.call(who, workspace, "POST", path, body)
        if answer.status_code != 200:
            return answer.status_code
        found = {row["experiment_id"] for row in answer.json().get("experiments", [])}
        return sorted(of for of, experiment in self.experiments.items() if experiment in found)


class InWorkspaces(Http):
    def call(self, who, workspace, method, path, body):
        self.session.headers.pop("X-MLFLOW-WORKSPACE", None)
        if workspace:
            self.session.headers["X-MLFLOW-WORKSPACE"] = workspace
        return super().call(who, method, path, body)


def test_mlflow_tells_the_users_and_the_workspaces_apart(workspaces):
    told = workspaces.of_mlflow
    assert told["chief-of-red", "red", "run in red"] and not told["nobody", "red", "list"]
    assert told["denied-chief-of-red", "red", "get the one of red"]
    assert told["reader-of-one-in-red", "red", "get the one of red"]
    assert told["reader-of-one-in-red", "red", "get the model"]
    assert not told["reader-of-one-in-red", "blue", "get the model"]
    assert not told["member-of-red", "red", "get the one of red"]
    assert told["member-of-red", "red", "create"] and not told["member-of-red", "blue", "create"]
    assert told["chief-of-red", "red", "role in red"]
    assert not told["chief-of-red", "red", "role in blue"]
    assert told["editor-of-blue", "blue", "list"] == ["blue"]


def test_roles_and_grants_come_with_their_workspace(workspaces):
    red = workspaces.experiments["red"]
    additions = workspaces.imported["additions"]
    assert f"grant reader-of-one-in-red READ on experiment {red} in red" in additions
    assert "let role of editor-of-blue in blue have EDIT on experiment *" in additions


def test_the_gate_decides_as_mlflow_does(workspaces):
    different = [
        f"{which}: MLflow {told}, the gate {workspaces.of_the_gate[which]}"
        for which, told in workspaces.of_mlflow.items()
        if workspaces.of_the_gate[which] != told
    ]
    assert not different, "\n".join(different)


def test_a_workspace_that_does_not_exist_is_refused_to_everybody(workspaces):
    body = {"experiment_id": workspaces.experiments["red"]}
    for name in ("green", "RED", "../red", "red,blue", "*", "x" * 64):
        for who in (ADMIN, workspaces.users["chief-of-red"]):
            for method, path in (("GET", "experiments/get"), ("POST", "runs/create")):
                answer = workspaces.server.call(who, name, method, f"{V2}/{path}", body)
                assert answer.status_code == 400, f"{name!r}: {answer.status_code} {answer.text}"

"""From MLflow's own auth app to the gate, with databases that real versions of MLflow wrote."""

import importlib.metadata
import json
import subprocess
import sys

import pytest
from support import migration
from support.gate import Demo, Gate
from support.migration import ADMIN, AuthDatabase, Http, Team
from support.reference import running_reference

PINNED = importlib.metadata.version("mlflow")
MLFLOWS = migration.installed(PINNED)


def test_an_mlflow_of_the_2_line_is_among_those_imported_from():
    if len(MLFLOWS) == 1:
        pytest.skip("MLGATE_TEST_MLFLOW_2_PYTHON names no interpreter")
    assert [mlflow.has_roles for mlflow in MLFLOWS] == [True, False]


@pytest.fixture(scope="module", params=MLFLOWS, ids=lambda mlflow: mlflow.version)
def moving(request, tmp_path_factory, store):
    """A team whose MLflow is guarded by its own auth app, and a gate before the same data."""
    directory = tmp_path_factory.mktemp("moving")
    mlflow = request.param
    version = [] if mlflow.version == PINNED else ["--mlflow-version", mlflow.version]
    demo = Demo(
        directory / "data",
        *("--listen", "127.0.0.1:0", "--store", store, "--default-permission", "READ"),
        *version,
    )
    try:
        yield Moving(mlflow, Gate(demo), directory)
    finally:
        demo.stop()


class Moving:
    def __init__(self, mlflow, gate, directory):
        self.gate = gate
        tracking_uri = gate.ready["tracking_uri"]
        self.auth = AuthDatabase(tracking_uri, directory, "former_auth")
        reference = running_reference(
            directory,
            default_permission="READ",
            python=mlflow.python,
            admin=ADMIN,
            auth_uri=self.auth.uri,
            tracking_uri=tracking_uri,
        )
        with reference as url:
            self.team = Team(mlflow, url)
            self.before = self.team.attempts(Http(url))
        self.source = ("import", "mlflow", "--from", self.auth.uri, "--default-permission", "READ")

    def run(self, *more):
        return json.loads(self.gate.mlgate("--json", *self.source, *more).stdout)

    def export(self):
        return json.loads(self.gate.mlgate("export").stdout)

    def hashes(self):
        statement = "SELECT password_hash FROM users ORDER BY username"
        return column_by_user(self.gate.ready["store_url"], statement)


def column_by_user(uri, statement):
    names = migration.column(uri, "SELECT username FROM users ORDER BY username")
    return dict(zip(names, migration.column(uri, statement)))


def test_the_reference_tells_the_users_apart(moving):
    before = moving.before
    assert before["read", "get one"] and not before["read", "tag one"]
    assert before["edit", "tag one"] and not before["edit", "delete run of one"]
    assert before["manage", "delete run of one"]
    assert not before["refused", "get one"] and not before["refused", "get first"]
    assert before["refused", "get three"] and not before["unmentioned", "tag three"]
    assert before["former-admin", "untag second"] and before["second-admin", "untag second"]


def test_nothing_is_written_until_it_is_told_to(moving):
    empty = moving.export()
    planned = moving.run()
    assert not planned["applied"]
    additions = planned["additions"]
    assert additions[0] == "set default_permission to READ"
    assert "create administrator former-admin" in additions
    assert "create user refused" in additions
    one = moving.team.experiments["one"]
    assert f"grant refused DENY on experiment {one} in default" in additions
    assert "grant edit EDIT on registered_model first in default" in additions
    if moving.team.mlflow.has_roles:
        assert "create role editors in default" in additions
        assert "let role managers in elsewhere have MANAGE on experiment *" in additions
        assert "give role capped in default to edit" in additions
    assert moving.export() == empty


def test_after_the_import_everybody_may_do_what_they_could_with_their_old_passwords(moving):
    planned = moving.run()
    done = moving.run("--apply")
    assert done["applied"] and done["additions"] == planned["additions"]
    imported = {name: moving.hashes()[name] for name in moving.team.users}
    assert all(kept.startswith(("scrypt:", "pbkdf2:")) for kept in imported.values()), imported

    after = moving.team.attempts(Http(moving.gate.url))
    different = {
        which: f"MLflow {'let' if allowed else 'did not let'} it through, the gate differs"
        for which, allowed in moving.before.items()
        if after[which] != allowed
    }
    assert not different

    for name, hashed in moving.hashes().items():
        assert hashed.startswith("$argon2id$"), f"{name} has logged in"
    for name, (_, password) in moving.team.users.items():
        current = f"{migration.V2}/users/current"
        assert moving.gate.get(current, (name, password)).status_code == 200
        assert moving.gate.get(current, (name, password + "x")).status_code == 401


def test_importing_again_adds_nothing_and_keeps_what_was_changed_since(moving):
    moving.run("--apply")
    one = moving.team.experiments["one"]
    moving.gate.mlgate("revoke", "read", "experiment", one)
    moving.gate.mlgate("grant", "read", "experiment", one, "DENY")
    kept = moving.export()
    again = moving.run("--apply")
    assert again["additions"] == []
    assert any("has DENY here, not READ" in note["why"] for note in again["notes"]), again["notes"]
    assert {**moving.export(), "revision": 0} == {**kept, "revision": 0}


def test_denials_that_mlflows_own_upgrade_dropped_are_told_of(moving, tmp_path):
    if moving.team.mlflow.has_roles:
        pytest.skip("has no denials to drop")
    upgrade = ["-m", "mlflow.server.auth", "db", "upgrade", "--url", moving.auth.uri]
    subprocess.run([sys.executable, *upgrade], check=True, capture_output=True)
    fresh = ["--store", f"sqlite:{tmp_path}/policy.db"]
    planned = json.loads(moving.gate.mlgate("--json", *fresh, *moving.source).stdout)
    noted = [note["what"] for note in planned["notes"]]
    assert "1 NO_PERMISSIONS rows of experiment_permissions" in noted, noted
    assert "1 NO_PERMISSIONS rows of registered_model_permissions" in noted, noted
    one = moving.team.experiments["one"]
    assert f"grant edit EDIT on experiment {one} in default" in planned["additions"]
    assert not any("grant refused" in addition for addition in planned["additions"])

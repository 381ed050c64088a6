"""The operations guide, followed to the letter: the commands of each page are run as they stand."""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from support.envoy import SHIPPED
from support.reference import ADMIN, running_reference

GUIDE = SHIPPED / "guide"
OIDC_AUTH_TABLES = SHIPPED.parent / "policy-server/tests/import/mlflow-oidc-auth-11.0.2.sql"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


class Place:
    """A directory with a policy store, and `mlgate` on the path."""

    def __init__(self, gate, directory):
        self.directory = directory
        programs = Path(gate.ready["mlgate"]).parent
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MLGATE_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "MLGATE_STORE": f"sqlite:{directory}/policy.db",
        }

    def sh(self, script):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def run(self, script):
        done = self.sh(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def allows(self, question):
        code = self.sh(f"mlgate check {question}").returncode
        assert code in (0, 1)
        return code == 0

    def follow(self, page):
        blocks = BLOCK.findall((GUIDE / page).read_text())
        assert blocks, f"{page} has no commands"
        return "".join(self.run(block) for block in blocks)


@pytest.fixture
def place(gate, tmp_path):
    return Place(gate, tmp_path)


def test_nobody_gets_in(place):
    place.run("mlgate user create admin --admin --generate; mlgate user disable admin")
    said = place.follow("lockout.md")
    assert "rescue" in said
    assert place.allows("admin manage experiment 1")


def test_backup_and_restore(place):
    place.run("mlgate user create kept --generate")
    page = GUIDE / "backup.md"
    backup, restore = BLOCK.findall(page.read_text())
    place.run(backup)
    place.run("mlgate user create lost --generate")
    listed = place.run(restore)
    assert "kept" in listed and "lost" not in listed
    assert (place.directory / "policy.bak").stat().st_mode & 0o777 == 0o600


def test_renewing_keys(place):
    place.run("mlgate user create alice --generate; mlgate user create ci --service-account")
    place.run("mlgate token create ci nightly")
    said = place.follow("keys.md")
    assert "nightly" in said
    assert "nightly-2" in place.run("mlgate token list")


def test_the_settings_for_traces(place):
    (block,) = re.findall(r"^```toml\n(.*?)^```$", (GUIDE / "metrics.md").read_text(), re.M | re.S)
    (place.directory / "server.toml").write_text(block)
    said = place.run("mlgate --config server.toml config")
    assert "https://collector.example:4317" in said and "otlp_sample" in said
    wrong = place.sh("mlgate --config server.toml serve --otlp-sample 101")
    assert wrong.returncode != 0 and "0 to 100" in wrong.stderr


def htpasswd(user, password):
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    return f"{user}:{{SHA}}{digest}\n"


def test_from_htpasswd(place):
    lines = htpasswd("alice", "alice's old password") + htpasswd("bob", "bob's old password")
    (place.directory / "htpasswd").write_text(lines + "broken line\n")
    said = place.follow("from-htpasswd.md")
    assert "broken" in said or "line 3" in said
    assert place.allows("alice manage experiment 7"), "she is an administrator"
    assert place.allows("bob read experiment 7") and not place.allows("bob update experiment 7")


def test_from_mlflows_basic_auth(place, tmp_path):
    import requests

    reference = tmp_path / "reference"
    reference.mkdir()
    with running_reference(reference) as url:
        users = f"{url}/api/2.0/mlflow/users/create"
        with requests.Session() as session:
            session.trust_env = False
            body = {"username": "carol", "password": "carol's old password"}
            assert session.post(users, auth=ADMIN, json=body, timeout=60).status_code == 200
            carol = ("carol", "carol's old password")
            answer = session.post(
                f"{url}/api/2.0/mlflow/experiments/create",
                auth=carol,
                json={"name": "carols"},
                timeout=60,
            )
            experiment = answer.json()["experiment_id"]
    shutil.copy(reference / "auth.db", place.directory / "basic_auth.db")
    said = place.follow("from-mlflow-basic-auth.md")
    assert "carol" in said
    assert place.allows(f"carol manage experiment {experiment}")
    assert place.allows("carol read experiment 4711"), "default_permission is READ, as it was"
    assert not place.allows("carol update experiment 4711")


def oidc_auth_database(path, rows):
    """A database of mlflow-oidc-auth, with the tables that its migrations make."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(OIDC_AUTH_TABLES.read_text())
        for statement in rows:
            database.execute(statement)


def test_from_mlflow_oidc_auth(place):
    rows = [
        "INSERT INTO users (id, username, display_name, is_admin, is_service_account) VALUES "
        "(1, 'ana@example.com', 'Ana', FALSE, FALSE), (2, 'nightly', 'CI', FALSE, TRUE)",
        "INSERT INTO groups (id, group_name) VALUES (1, 'data-science')",
        "INSERT INTO experiment_permissions VALUES (1, '12', 1, 'EDIT'), (2, '13', 1, 'READ')",
        "INSERT INTO experiment_group_permissions VALUES (1, '12', 1, 'READ'), (2, '13', 1, 'EDIT')",
        "INSERT INTO user_groups (id, user_id, group_id) VALUES (1, 1, 1)",
        "INSERT INTO registered_model_regex_permissions (id, regex, priority, user_id, permission) "
        "VALUES (1, '^fraud-.*$', 1, 1, 'MANAGE'), (2, '^(a|b)$', 1, 1, 'MANAGE')",
    ]
    oidc_auth_database(place.directory / "oidc_auth.db", rows)
    said = place.follow("from-mlflow-oidc-auth.md")
    assert '"^(a|b)$" matches: no glob says' in said
    assert "EDIT of group data-science on experiment 13: READ of user ana@example.com" in said
    assert "service account" in said and "allowed" in said
    assert place.allows("somebody read experiment 12 --group data-science")
    assert not place.allows("somebody update experiment 12 --group data-science")
    assert place.allows("ana@example.com manage registered_model fraud-1")
    assert not place.allows("ana@example.com read registered_model a")
    assert not place.allows("ana@example.com update experiment 13"), "her READ hid the group's EDIT"


def test_from_easyauth(place):
    place.follow("from-easyauth.md")
    assert place.allows("ana@example.com update experiment 12")
    group = "0f3c7c5e-1111-2222-3333-444455556666"
    assert place.allows(f"somebody read experiment 9 --group {group}")
    assert place.allows("root@example.com manage experiment 9")


def test_every_link_of_the_guide_leads_somewhere():
    pages = [*GUIDE.glob("*.md"), SHIPPED / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page}: {link}"

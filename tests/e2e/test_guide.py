"""The operations guide, followed to the letter: the commands of each page are run as they stand."""

import base64
import collections
import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
import requests
from support.envoy import SHIPPED
from support.gate import BUILT, basic
from support.installed import Installed
from support.private_postgres import PROGRAMS, Postgres
from support.reference import ADMIN, running_reference

GUIDE = SHIPPED / "guide"
OIDC_AUTH_TABLES = SHIPPED.parent / "policy-server/tests/import/mlflow-oidc-auth-11.0.2.sql"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


class Place:
    """A directory with a policy store, and `mlgate` on the path."""

    def __init__(self, programs, directory, **environment):
        self.directory = directory
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MLGATE_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            **environment,
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
    programs = Path(gate.ready["mlgate"]).parent
    return Place(programs, tmp_path, MLGATE_STORE=f"sqlite:{tmp_path}/policy.db")


@pytest.fixture
def installed(gate, tmp_path_factory):
    """A place where the gate runs as well."""
    assert shutil.which("curl"), "the guide's commands need curl"
    # Of no page's name: what commands look for must not be found in the directory's.
    with Installed(gate, tmp_path_factory.mktemp("installed")).running(gate) as installed:
        yield installed


def standing(installed):
    return Place(installed.directory, installed.directory, **installed.environment())


def chapters(page):
    """The commands of a page by the headings above them."""
    parts = re.split(r"^## (.*)$", (GUIDE / page).read_text(), flags=re.M)
    return {name: BLOCK.findall(text) for name, text in zip(parts[1::2], parts[2::2])}


def test_nobody_gets_in(place):
    place.run("mlgate user create admin --admin --generate; mlgate user disable admin")
    said = place.follow("lockout.md")
    assert "rescue" in said
    assert place.allows("admin manage experiment 1")


def test_backup_and_restore(place):
    place.run("mlgate user create kept --generate")
    backup, restore = chapters("backup.md")["SQLite"]
    place.run(backup)
    place.run("mlgate user create lost --generate")
    listed = place.run(restore)
    assert "kept" in listed and "lost" not in listed
    assert (place.directory / "policy.bak").stat().st_mode & 0o777 == 0o600


def test_backup_and_restore_on_postgres(gate, tmp_path):
    backup, restore = chapters("backup.md")["Postgres"]
    programs = f"{Path(gate.ready['mlgate']).parent}:{PROGRAMS}"
    with contextlib.closing(Postgres()) as postgres:
        postgres.query("create database mlgate")
        store = f"postgresql://mlgate@127.0.0.1:{postgres.port}/mlgate?sslmode=disable"
        place = Place(programs, tmp_path, MLGATE_STORE=store)
        place.run("mlgate user create kept --generate; mlgate grant kept experiment 12 READ")
        place.run(backup)
        place.run("mlgate user create lost --generate; mlgate revoke kept experiment 12")
        listed = place.run(restore)
        assert "kept" in listed and "lost" not in listed
        assert place.allows("kept read experiment 12")
        assert place.run("mlgate user create another --generate"), "it can be written to"
    assert (place.directory / "policy.dump").stat().st_mode & 0o777 == 0o600


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


# --- pages that need a gate that runs ---


def test_shadow_mode_and_out_of_it(installed):
    place = standing(installed)
    switch, work, count, why, grant, enforce = BLOCK.findall((GUIDE / "shadow.md").read_text())
    before = place.sh(work)
    assert before.returncode != 0 and "403" in before.stderr, "the gate refuses until then"
    place.run(switch)
    assert "Default" in place.run(work)
    counted = place.run(count)
    assert re.search(r"^wasmcustom\.mlgate_shadow_denied_total: [1-9]", counted, re.M)
    assert '"reason":"no_grant","user":"alice","method":"GET"' in counted
    told = place.run(why)
    assert "let through in shadow mode, else refused with 403 (no_grant)" in told
    assert "required: read on experiment 0" in told, "what the server's log adds"
    place.run(grant)
    assert "x-mlgate-reason: no_grant" in place.run(enforce).lower()


class Asking:
    """A client that goes on asking; what it was answered."""

    def __init__(self, installed):
        self.url = installed.environment()["GATE"] + "/api/2.0/mlflow/experiments/get?experiment_id=0"
        self.headers = {"Authorization": basic("alice", installed.password)}
        self.answers, self.stop = collections.Counter(), threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        with requests.Session() as session:
            session.trust_env = False
            while not self.stop.wait(0.02):
                try:
                    answer = session.get(self.url, headers=self.headers, timeout=30).status_code
                except requests.RequestException as error:
                    answer = type(error).__name__
                self.answers[answer] += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(timeout=60)


def release(directory):
    """What `cargo xtask dist` leaves: the module, the program, their checksums. It is an upgrade
    where the tests' gate is made of older parts; else only the module's bytes are others."""
    directory.mkdir()
    # A custom section at the end, as a linker might add it.
    module = BUILT["filter"].read_bytes() + b"\0\x06\x05build"
    (directory / "mlgate_filter.wasm").write_bytes(module)
    shutil.copy2(BUILT["policy-server"], directory / "mlgate")
    files = ("mlgate", "mlgate_filter.wasm")
    digests = (hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in files)
    sums = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, files))
    (directory / "SHA256SUMS").write_text(sums)


@pytest.mark.parametrize("order", [("server", "filter"), ("filter", "server")], ids="-".join)
def test_an_upgrade_and_the_way_back(installed, order):
    release(installed.directory / "new")
    place, pages = standing(installed), chapters("upgrade.md")
    place.run("mlgate grant alice experiment 0 READ")
    program = (installed.directory / "mlgate").stat().st_ino
    (before,), (back,) = pages["Before"], pages["If the new one is worse"]
    steps = {"server": pages["The policy server"], "filter": pages["The filter"]}
    assert all(len(blocks) == 2 for blocks in steps.values()), "what is done, and what is looked at"
    with Asking(installed) as asking:
        said = place.run(before)
        assert "mlgate: OK" in said and "mlgate_filter.wasm: OK" in said
        for side in order:
            pid = (installed.directory / "server.pid").read_text()
            done, seen = (place.run(block) for block in steps[side])
            assert '"experiments"' in seen
            restarted = (installed.directory / "server.pid").read_text() != pid
            assert restarted == (side == "server")
            if side == "filter":
                assert re.findall(r"(?:config_fail|update_rejected): (\d+)", seen) == ["0", "0"]
        assert (installed.directory / "mlgate").stat().st_ino != program
        assert '"experiments"' in place.run(back)
    # 503 while the only server starts, if that takes longer than decisions may be old; nobody was
    # ever refused for another reason.
    assert asking.answers[200] > 10 and set(asking.answers) <= {200, 503}, asking.answers


def test_sizing(installed):
    place = standing(installed)
    envoy, server, change = BLOCK.findall((GUIDE / "sizing.md").read_text())
    with Asking(installed):
        seen = place.run(envoy)
    for what in ("cache_slots_used", "cache_miss_total", "vm_memory_bytes", "policy_call_ms"):
        assert f"mlgate_{what}" in seen, what
    assert "upstream_rq_pending_overflow: 0" in seen and '"heap_size"' in seen
    seen = place.run(server)
    assert "mlgate_password_hashes_total" in seen and "mlgate_watchers" in seen
    resident = int(seen.strip().splitlines()[-1].split()[0])
    assert 5_000 < resident < 1_000_000
    assert "16384" not in place.run('curl -s "$ENVOY/config_dump"')
    place.run(change)


def test_every_link_of_the_guide_leads_somewhere():
    pages = [*GUIDE.glob("*.md"), SHIPPED / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page}: {link}"

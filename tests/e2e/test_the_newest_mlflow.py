"""The newest MLflow behind the gate: its own client, the routes that it added, and those that it
has not."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support import raw
from support.gate import Demo, Gate, basic, free_port
from support.recorder import Recorder

PYTHON = os.environ.get("MLGATE_TEST_NEWEST_MLFLOW_PYTHON")
CLIENT = Path(__file__).parent / "support/newest_client.py"

SKILLS = "/api/3.0/mlflow/skills"
THEIRS = f"{SKILLS}/@acme/reviewer"


def version():
    """What the interpreter has, which is another MLflow than this one's."""
    found = Path(PYTHON).parents[1].glob("lib/*/site-packages/mlflow-*.dist-info")
    return re.search(r"mlflow-([\d.]+)\.dist-info", str(next(found)))[1]


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    """A gate before it, with a recorder between the two."""
    if not PYTHON:
        pytest.skip("MLGATE_TEST_NEWEST_MLFLOW_PYTHON names no interpreter")
    port = free_port()
    recorder = Recorder(port)
    demo = Demo(
        tmp_path_factory.mktemp("newest") / "data",
        *("--listen", "127.0.0.1:0", "--mlflow-version", version()),
        *("--mlflow-port", port, "--mlflow-through", recorder.port),
    )
    gate = Gate(demo, recorder)
    yield gate
    gate.close()
    recorder.close()


@pytest.fixture(scope="module")
def told(newest):
    """What its client tells of a walk as a user who makes everything in it."""
    user, password = newest.create_user("owner")
    values = {
        "MLFLOW_TRACKING_URI": newest.url,
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    walk = subprocess.run(
        [PYTHON, CLIENT],
        env={**inherited, **values},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert walk.returncode == 0, walk.stderr
    return json.loads(walk.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reader(newest, told):
    """May read one of the two skills."""
    reader = newest.create_user("reader")
    newest.grant(reader[0], "READ", "skill", "@acme/reviewer")
    return reader


@pytest.fixture(scope="module")
def stranger(newest, told):
    """Owns another one."""
    stranger = newest.create_user("stranger")
    body = {"name": "mine", "description": "mine"}
    assert newest.post(SKILLS, stranger, json=body).status_code == 200
    return stranger


def test_its_own_client_walks_through_the_gate(newest, told):
    assert told["version"] == newest.ready["mlflow_version"] == version()
    assert (told["found"], told["loss"]) == ([told["run"]], 0.5)
    assert (told["listed"], told["downloaded"]) == (["greeting.txt"], "hello")
    assert told["searched"] == ["newest"], "the default experiment is nobody's"
    assert told["models"] == ["newest-model"]
    assert told["best"] == told["run"] and told["versions"] == [told["run"]]
    assert told["spans"] == ["child", "root"] and told["traces"] == [told["trace"]]


def test_whoever_makes_a_skill_does_all_with_it(told):
    wanted = {"description": "reads twice", "tags": {"team": "reading"}, "prod": True}
    wanted |= {"versions": 2, "found": 1, "pulled": True}
    assert told["skills"] == [wanted, wanted]


def test_a_reader_of_a_skill_reads_it_and_is_told_no_more(newest, reader):
    one = newest.get(THEIRS, reader)
    assert one.status_code == 200, one.text
    assert (one.json()["organization"], one.json()["allowed_actions"]) == ("acme", [])
    versions = newest.get(f"{THEIRS}/versions", reader)
    assert [row["version"] for row in versions.json()["skill_versions"]] == [1]
    assert newest.get(f"{THEIRS}/aliases/prod", reader).json()["version"] == 1
    for prefix in ["/api", "/ajax-api"]:
        found = newest.get(f"{prefix}/3.0/mlflow/skills?max_results=1", reader).json()
        assert [(row["organization"], row["name"]) for row in found["skills"]] == [("acme", "reviewer")]
        assert found["skills"][0]["allowed_actions"] == []
        assert found["next_page_token"] is None, "there is another, which is not theirs to know of"


def requests_of(skill):
    """One of each kind that changes a skill or reads it."""
    version = f"{skill}/versions/1"
    return {
        "reads": [
            *(("GET", skill, None), ("GET", f"{skill}/versions", None), ("GET", version, None)),
            ("GET", f"{skill}/aliases/prod", None),
        ],
        "writes": [
            ("PATCH", skill, {"description": "theirs"}),
            ("POST", f"{skill}/versions", {"source_type": "git", "source": "https://a.example/b"}),
            ("PATCH", version, {"status": "deleted"}),
            ("POST", f"{skill}/tags", {"key": "k", "value": "v"}),
            ("DELETE", f"{skill}/tags/team", None),
            ("POST", f"{version}/tags", {"key": "k", "value": "v"}),
            ("DELETE", f"{version}/tags/k", None),
            ("POST", f"{skill}/aliases", {"alias": "prod", "version": 1}),
            ("DELETE", f"{skill}/aliases/prod", None),
            ("DELETE", version, None),
            ("DELETE", skill, None),
        ],
    }


def refused(gate, credential, requests, statuses):
    """Over HTTP/1.1 and HTTP/2; MLflow hears of none."""
    port = gate.ready["ports"]["gate"]
    login = [("Authorization", basic(*credential))] if credential else []
    json_type = ("Content-Type", "application/json")
    with gate.recorder.silence():
        for method, path, body in requests:
            data = None if body is None else json.dumps(body).encode()
            fields = login if body is None else [*login, json_type]
            for answer in raw.both(port, method, path, fields, data):
                assert answer.status in statuses, (method, path, answer)


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_a_reader_changes_nothing_and_a_stranger_reads_nothing(newest, reader, stranger, prefix):
    for skill in ["@acme/reviewer", "%40acme/reviewer", "reviewer"]:
        requests = requests_of(f"{prefix}/3.0/mlflow/skills/{skill}")
        refused(newest, stranger, requests["reads"] + requests["writes"], {403})
        refused(newest, None, requests["reads"] + requests["writes"], {401})
        refused(newest, reader, requests["writes"], {403})
    many = {"skills": [{"name": "mine", "source": "https://a.example/b", "digest": "d"}]}
    many["skills"].append({**many["skills"][0], "name": "reviewer"})
    bulk = [("POST", f"{prefix}/3.0/mlflow/skills/bulk-register", many)]
    refused(newest, stranger, bulk, {403})
    uploaded = f"{prefix}/2.0/mlflow-artifacts/artifacts/skills/@acme/reviewer/SKILL.md"
    refused(newest, stranger, [("GET", uploaded, None), ("PUT", uploaded, None)], {403})


@pytest.mark.parametrize(
    "asked",
    [
        "filter_string=description%20LIKE%20%27reads%25%27",
        # Alphabetically the one that is theirs comes first: is there another behind it?
        "filter_string=name%20LIKE%20%27%25e%25%27&max_results=1",
        "max_results=1&include_skill_identities=mine&include_skill_identities=@acme/reviewer",
        "max_results=1&order_by=description%20DESC",
    ],
)
def test_a_search_tells_nothing_of_what_is_hidden(newest, stranger, asked):
    with newest.recorder.listening() as heard:
        found = newest.get(f"{SKILLS}?{asked}", stranger)
    assert found.status_code == 200, found.text
    assert {row["name"] for row in found.json()["skills"]} <= {"mine"}
    assert found.json()["next_page_token"] is None, "that would tell of another one that fits"
    # It is never looked for at all.
    target = heard[0].split(b"\r\n", 1)[0]
    assert b"include_skill_identities=mine" in target and b"acme" not in target, target


def test_who_may_read_no_skill_is_answered_without_mlflow(newest, told):
    nobody = newest.create_user("reads-nothing")
    with newest.recorder.silence():
        for asked in ["", "?include_skill_identities=@acme/reviewer", "?include_skill_identities="]:
            found = newest.get(SKILLS + asked, nobody)
            assert (found.status_code, found.json()["skills"]) == (200, []), found.text


def test_a_skill_of_the_same_name_inherits_nothing(newest, stranger):
    other = newest.create_user("another-stranger")
    newest.grant(other[0], "READ", "skill", "mine-too")
    assert newest.post(SKILLS, stranger, json={"name": "mine-too"}).status_code == 200
    refused(newest, other, [("GET", f"{SKILLS}/mine-too", None)], {403})


def test_what_it_does_not_serve_or_leaves_to_the_server_is_refused(newest, told):
    unknown = [
        ("GET", f"{THEIRS}/secrets", None),
        ("POST", f"{SKILLS}/install", {"name": "reviewer"}),
        ("PUT", THEIRS, {"description": "d"}),
        ("GET", "/api/3.0/mlflow/agents", None),
        ("POST", "/ajax-api/3.0/mlflow/agents/search", {}),
        ("POST", "/api/4.0/mlflow/skills", {"name": "a"}),
    ]
    left = [("POST", "/ajax-api/3.0/mlflow/issues/schedule/state", {"experiment_id": "1"})]
    owner = newest.create_user("owner")
    refused(newest, owner, unknown + left, {403})
    refused(newest, newest.admin, unknown, {403})
    refused(newest, None, unknown + left, {401})

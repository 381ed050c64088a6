"""Tokens of the gate's own, for pipelines and dashboards: through Envoy, as clients send them."""

import json
import time

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from support.client import acting_as
from support.gate import wait_until

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1000"
GET = "/api/2.0/mlflow/experiments/get?experiment_id={}"


@pytest.fixture
def owner(gate, unique):
    """A user with two experiments, one run in each, and a model."""
    return gate.create_user(unique)


@pytest.fixture
def experiments(gate, owner, unique):
    return [gate.create_experiment(f"{unique}-{number}", owner) for number in (1, 2)]


def create(gate, user, name, *options):
    created = gate.mlgate("--json", "token", "create", user, name, *options).stdout
    return json.loads(created)


def names(answer):
    assert answer.status_code == 200, answer.text
    return [found["experiment_id"] for found in answer.json().get("experiments", [])]


def test_a_token_is_its_owner_as_bearer_and_as_password(gate, owner, experiments):
    token = create(gate, owner[0], "laptop")["token"]
    for credential in (token, (owner[0], token), ("__token__", token)):
        assert sorted(names(gate.get(SEARCH, credential))) == sorted(experiments)
    assert gate.get(SEARCH, ("somebody-else", token)).status_code == 401


def test_the_official_client_logs_a_run_with_a_token(gate, owner, experiments):
    token = create(gate, owner[0], "pipeline")["token"]
    with acting_as(gate, token):
        with mlflow.start_run(experiment_id=experiments[0]) as run:
            mlflow.log_metric("loss", 0.5)
    found = gate.get(f"/api/2.0/mlflow/runs/get?run_id={run.info.run_id}", owner)
    assert found.json()["run"]["data"]["metrics"][0]["value"] == 0.5


def test_a_reading_token_reads_and_changes_nothing(gate, owner, experiments):
    token = create(gate, owner[0], "dashboard", "--scopes", "read")["token"]
    for credential in (token, (owner[0], token)):
        assert gate.get(GET.format(experiments[0]), credential).status_code == 200
        assert sorted(names(gate.get(SEARCH, credential))) == sorted(experiments)
        body = {"experiment_id": experiments[0]}
        assert gate.post("/api/2.0/mlflow/runs/create", credential, json=body).status_code == 403
        body = {"name": "made by a reading token"}
        refused = gate.post("/api/2.0/mlflow/experiments/create", credential, json=body)
        assert refused.status_code == 403
    with acting_as(gate, token), pytest.raises(MlflowException, match="Permission denied"):
        mlflow.start_run(experiment_id=experiments[0])
    mlflow.end_run()


def test_a_token_for_one_experiment_sees_that_one(gate, owner, experiments, unique):
    mine, other = experiments
    scope = f"edit,experiment:{mine}"
    token = create(gate, owner[0], "training", "--scopes", scope)["token"]
    run, foreign = gate.create_run(mine, token), gate.create_run(other, owner)
    model = f"{unique}-model"
    created = gate.post("/api/2.0/mlflow/registered-models/create", owner, json={"name": model})
    assert created.status_code == 200, created.text
    for credential in (token, (owner[0], token)):
        assert names(gate.get(SEARCH, credential)) == [mine]
        assert gate.get(GET.format(other), credential).status_code == 403
        for run_id, status in ((run, 200), (foreign, 403)):
            of_run = f"/api/2.0/mlflow/runs/get?run_id={run_id}"
            assert gate.get(of_run, credential).status_code == status
        body = {"experiment_ids": [mine, other]}
        found = gate.post("/api/2.0/mlflow/runs/search", credential, json=body)
        assert [row["info"]["run_id"] for row in found.json()["runs"]] == [run]
        listed = gate.get("/api/2.0/mlflow/registered-models/search?max_results=100", credential)
        assert listed.status_code == 200 and not listed.json().get("registered_models")
        of_model = f"/api/2.0/mlflow/registered-models/get?name={model}"
        assert gate.get(of_model, credential).status_code == 403
        # Its level is EDIT.
        deleted = gate.post("/api/2.0/mlflow/runs/delete", credential, json={"run_id": run})
        assert deleted.status_code == 403


def test_an_administrators_token_for_one_experiment_is_no_administrators(gate, admin, unique):
    mine, other = (gate.create_experiment(f"{unique}-{number}", admin) for number in (1, 2))
    token = create(gate, admin[0], unique, "--scopes", f"experiment:{mine}")["token"]
    assert names(gate.get(SEARCH, token)) == [mine]
    assert gate.get(GET.format(mine), token).status_code == 200
    assert gate.get(GET.format(other), token).status_code == 403
    for administration in ("/api/2.0/mlflow/users/list", "/api/3.0/mlflow/roles/list"):
        assert gate.get(administration, admin).status_code == 200
        assert gate.get(administration, token).status_code == 403


def test_a_token_ends_when_it_is_revoked_or_its_time_is_over(gate, owner):
    revoked = create(gate, owner[0], "to be revoked")
    token = revoked["token"]
    assert gate.get(SEARCH, token).status_code == 200
    gate.mlgate("token", "revoke", str(revoked["id"]))
    wait_until(lambda: gate.get(SEARCH, token).status_code == 401, "the token is revoked", 3)

    short = create(gate, owner[0], "short", "--expires", "4s")
    assert gate.get(SEARCH, short["token"]).status_code == 200
    # Cached decisions end with the token.
    time.sleep(4.2)
    assert gate.get(SEARCH, short["token"]).status_code == 401


def test_tokens_are_listed_with_their_last_use_and_without_their_secret(gate, owner):
    token = create(gate, owner[0], "used", "--scopes", "read")["token"]
    listing = ("--json", "token", "list", "--user", owner[0])
    [listed] = json.loads(gate.mlgate(*listing).stdout)
    assert listed["last_used_at"] is None and listed["scopes"] == ["read"]
    assert gate.get(SEARCH, token).status_code == 200
    text = gate.mlgate(*listing).stdout
    assert abs(json.loads(text)[0]["last_used_at"] - time.time() * 1000) < 60_000
    assert token not in text and token.startswith(json.loads(text)[0]["prefix"])


def test_a_mistyped_token_is_refused(gate, owner):
    token = create(gate, owner[0], "mistyped")["token"]
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    with gate.recorder.silence():
        for credential in (wrong, (owner[0], wrong), token.replace("mlg_", "MLG_")):
            assert gate.get(SEARCH, credential).status_code == 401

"""Tokens and groups without the command line: by the calls that Mlgate adds to MLflow's API."""

import mlflow
import pytest
from support.client import acting_as
from support.gate import wait_until

TOKENS = "/api/2.0/mlgate/tokens/"
GROUPS = "/api/2.0/mlgate/groups/"
EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id={}"


def created(gate, credential, **wanted):
    answer = gate.post(TOKENS + "create", credential, json=wanted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()["token"], answer.json()["secret"]


def listed(gate, credential, **whose):
    answer = gate.get(TOKENS + "list", credential, params=whose)
    assert answer.status_code == 200, answer.text
    return answer.json()["tokens"]


@pytest.fixture
def owner(gate, unique):
    return gate.create_user(unique)


def test_a_user_makes_a_token_works_with_it_and_revokes_it(gate, owner, unique):
    experiments = [gate.create_experiment(f"{unique}-{number}", owner) for number in (1, 2)]
    scopes = ["edit", f"experiment:{experiments[0]}"]
    token, secret = created(gate, owner, name="training", scopes=scopes, lifetime_seconds=3600)
    with acting_as(gate, secret):
        with mlflow.start_run(experiment_id=experiments[0]):
            mlflow.log_metric("loss", 0.5)
    assert gate.get(EXPERIMENT.format(experiments[1]), secret).status_code == 403
    [row] = listed(gate, owner)
    assert row["last_used_at"] and row["scopes"] == scopes and row["id"] == token["id"]
    assert secret not in str(row)
    revoked = gate.post(TOKENS + "revoke", owner, json={"id": token["id"]})
    assert revoked.status_code == 200, revoked.text
    wait_until(
        lambda: gate.get(EXPERIMENT.format(experiments[0]), secret).status_code == 401,
        "the token is revoked",
        3,
    )
    [row] = listed(gate, owner)
    assert row["revoked_at"]


def test_a_user_of_an_identity_provider_makes_a_token(gate, identity_provider, unique):
    token, secret = created(gate, identity_provider.token(unique), name="notebook")
    assert token["username"] == unique
    current = gate.get("/api/2.0/mlflow/users/current", secret)
    assert current.json()["user"]["username"] == unique


def test_a_token_makes_no_token_whoevers_it_is(gate, owner, admin):
    for who in (owner, admin):
        token, secret = created(gate, who, name="mother of tokens")
        for credential in (secret, (who[0], secret), ("__token__", secret)):
            answer = gate.post(TOKENS + "create", credential, json={"name": "child"})
            assert answer.status_code == 403, answer.text
        _, limited = created(gate, who, name="limited", scopes=["read"])
        for call, body in (("create", {"name": "child"}), ("revoke", {"id": token["id"]})):
            assert gate.post(TOKENS + call, limited, json=body).status_code == 403
        for row in listed(gate, who):
            assert row["name"] != "child"
            gate.post(TOKENS + "revoke", who, json={"id": row["id"]})


def test_nobody_touches_the_tokens_of_others_but_an_administrator(gate, owner, admin, unique):
    token, secret = created(gate, owner, name="laptop")
    other = gate.create_user(f"{unique}-other")
    for call, body in (
        ("create", {"username": owner[0], "name": "planted"}),
        ("revoke", {"id": token["id"]}),
        ("revoke", {"id": 10**9}),
    ):
        answer = gate.post(TOKENS + call, other, json=body)
        assert (answer.status_code, answer.json()["message"]) == (403, "Permission denied")
    refused = gate.get(TOKENS + "list", other, params={"username": owner[0]})
    assert refused.status_code == 403
    assert gate.get("/api/2.0/mlflow/users/current", secret).status_code == 200
    assert [row["id"] for row in listed(gate, admin, username=owner[0])] == [token["id"]]
    planted, _ = created(gate, admin, username=owner[0], name="job", lifetime_seconds=None)
    assert planted["expires_at"] is None and planted["username"] == owner[0]
    log = gate.mlgate("--json", "audit").stdout
    assert "token.create" in log and secret not in log


def test_a_foreign_pages_form_makes_no_token(gate, owner):
    forms = (
        {"data": {"name": "forged"}},
        {"data": '{"name": "forged"}', "headers": {"Content-Type": "text/plain"}},
        {"files": {"name": (None, "forged")}},
        {"params": {"name": "forged"}},
    )
    for form in forms:
        assert gate.post(TOKENS + "create", owner, **form).status_code == 400
    assert gate.get(TOKENS + "create", owner, params={"name": "forged"}).status_code in (403, 405)
    assert listed(gate, owner) == []


def test_a_group_of_the_identity_provider_is_mapped_to_a_role(
    gate, admin, owner, identity_provider, unique
):
    experiment = gate.create_experiment(unique, owner)
    role = gate.post(
        "/api/3.0/mlflow/roles/create", admin, json={"name": unique, "workspace": "default"}
    ).json()["role"]["id"]
    permission = {"resource_type": "experiment", "resource_pattern": experiment}
    permission |= {"role_id": role, "permission": "READ"}
    assert gate.post("/api/3.0/mlflow/roles/permissions/add", admin, json=permission).ok
    member = identity_provider.token(f"{unique}-member", groups=[unique])
    path = EXPERIMENT.format(experiment)
    assert gate.get(path, member).status_code == 403
    mapping = {"group": unique, "role_id": role}
    # The experiment's owner administers nothing.
    assert gate.post(GROUPS + "add-role", owner, json=mapping).status_code == 403
    assert gate.post(GROUPS + "add-role", admin, json=mapping).status_code == 200
    wait_until(lambda: gate.get(path, member).status_code == 200, "the group has the role", 3)
    groups = gate.get(GROUPS + "list", admin).json()["groups"]
    [row] = [row for row in groups if row["name"] == unique]
    assert [given["id"] for given in row["roles"]] == [role] and row["members"] == []
    assert gate.post(GROUPS + "remove-role", admin, json=mapping).status_code == 200
    wait_until(lambda: gate.get(path, member).status_code == 403, "it no longer has", 3)

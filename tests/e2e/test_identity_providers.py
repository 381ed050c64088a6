"""The configurations of envoy/identity-providers.md, with tokens in each provider's shape."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from support.federation import profiles
from support.gate import wait_until

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
ENTRA = {"ver": "2.0", "tid": "TENANT", "aud": "CLIENT_ID"}
ENTRA_HEADER = {"typ": "JWT", "x5t": "i_3RUlZhbWpb2gdjxqkvPpjrRe0"}


@dataclass
class Case:
    provider: str
    what: str
    claims: dict
    # With the prefixes; `username` is None where the token is refused, for `reason`.
    username: str | None = None
    groups: list = field(default_factory=list)
    reason: str | None = None
    header: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.provider}: {self.what}"


def entra(what, username, member_of, **claims):
    return Case("entra", what, {**ENTRA, **claims}, username, member_of, header=ENTRA_HEADER)


GITHUB = {
    "aud": "mlflow",
    "sub": "repo:corp/training:ref:refs/heads/main",
    "repository": "corp/training",
    "repository_owner": "corp",
    "repository_owner_id": "1234567",
    "ref": "refs/heads/main",
    "workflow_ref": "corp/training/.github/workflows/train.yml@refs/heads/main",
    "run_id": "42",
}
GITLAB = {
    "aud": "mlflow",
    "sub": "project_path:team/training:ref_type:branch:ref:main",
    "project_path": "team/training",
    "ref_protected": "true",
    "ref": "main",
}
OKTA = {"ver": 1, "jti": "AT.x", "aud": "api://mlflow", "cid": "0oa1", "scp": ["mlflow"]}
COGNITO = {"client_id": "CLIENT_ID", "token_use": "access", "scope": "openid", "version": 2}
KEYCLOAK = {"aud": ["mlflow", "account"], "typ": "Bearer", "azp": "mlflow-cli", "sid": "s"}
GOOGLE = {"aud": "CLIENT_ID.apps.googleusercontent.com", "sub": "1057", "email_verified": True}
KUBERNETES = {
    "aud": ["mlflow"],
    "sub": "system:serviceaccount:team-a:trainer",
    "kubernetes.io": {
        "namespace": "team-a",
        "pod": {"name": "trainer-0", "uid": "u1"},
        "serviceaccount": {"name": "trainer", "uid": "u2"},
    },
}
OVERAGE = {
    "_claim_names": {"groups": "src1"},
    "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/t/users/o/getMemberObjects"}},
}

ACCEPTED = [
    entra(
        "a person with groups and an app role",
        "entra:ana@corp.example",
        ["entra:8b1b4d3a-0000-4b11-9d56-000000000001", "entra:Trainer"],
        preferred_username="ana@corp.example",
        oid="o1",
        azp="CLI",
        scp="access_as_user",
        groups=["8b1b4d3a-0000-4b11-9d56-000000000001"],
        roles=["Trainer"],
    ),
    entra(
        "a service principal without e-mail",
        "entra:5f2a0000-aaaa-bbbb-cccc-000000000002",
        ["entra:Trainer"],
        oid="5f2a0000-aaaa-bbbb-cccc-000000000002",
        azp="d3adbeef-0000-0000-0000-000000000003",
        idtyp="app",
        roles=["Trainer"],
    ),
    Case(
        "entra-v1",
        "the same person under the same name",
        {"ver": "1.0", "aud": "api://CLIENT_ID", "upn": "ana@corp.example", "oid": "o1"},
        "entra:ana@corp.example",
        header=ENTRA_HEADER,
    ),
    Case(
        "entra-v1",
        "a service principal",
        {"ver": "1.0", "aud": "api://CLIENT_ID", "appid": "a1", "oid": "5f2a", "roles": ["Trainer"]},
        "entra:5f2a",
        ["entra:Trainer"],
        header=ENTRA_HEADER,
    ),
    Case(
        "okta",
        "a person",
        {**OKTA, "sub": "ana@corp.example", "uid": "00u1", "groups": ["Everyone", "ML"]},
        "okta:ana@corp.example",
        ["okta:ML"],
    ),
    Case("okta", "a service application", {**OKTA, "sub": "0oa1"}, "okta:0oa1"),
    Case(
        "google",
        "a person",
        {**GOOGLE, "email": "ana@corp.example", "hd": "corp.example", "azp": "x"},
        "google:ana@corp.example",
        header={"typ": "JWT"},
    ),
    Case(
        "cognito",
        "a person's access token, which has no aud",
        {**COGNITO, "sub": "c1", "username": "ana", "cognito:groups": ["ml"]},
        "cognito:ana",
        ["cognito:ml"],
    ),
    Case("cognito", "an app client", {**COGNITO, "sub": "CLIENT_ID"}, "cognito:CLIENT_ID"),
    Case(
        "keycloak",
        "a person with realm roles",
        {
            **KEYCLOAK,
            "preferred_username": "ana",
            "sub": "f:1:ana",
            "realm_access": {"roles": ["offline_access", "ml-trainer"]},
        },
        "keycloak:ana",
        ["keycloak:ml-trainer"],
        header={"typ": "JWT"},
    ),
    Case(
        "keycloak",
        "a service account",
        {**KEYCLOAK, "preferred_username": "service-account-ci", "groups": ["/ml"]},
        "keycloak:service-account-ci",
        ["keycloak:/ml"],
        header={"typ": "at+jwt"},
    ),
    Case("github", "a job", GITHUB, "github:corp/training", header={"typ": "JWT", "x5t": "H"}),
    Case("gitlab", "a job", GITLAB, "gitlab:team/training", header={"typ": "JWT"}),
    Case(
        "kubernetes",
        "a pod",
        KUBERNETES,
        "k8s:system:serviceaccount:team-a:trainer",
        ["k8s-namespace:team-a"],
    ),
]


def refused(provider, what, reason, base, **changes):
    return Case(provider, what, {**base, **changes}, reason=reason)


REFUSED = [
    refused(
        "entra", "groups that did not fit", "jwt_groups_overage", ENTRA,
        preferred_username="ana@corp.example", **OVERAGE,
    ),
    refused(
        "entra", "for another application", "jwt_audience", ENTRA,
        preferred_username="ana@corp.example", aud="00000003-0000-0000-c000-000000000000",
    ),
    refused("entra", "nobody", "jwt_no_username", ENTRA),
    refused("okta", "for another service", "jwt_audience", OKTA, sub="a", aud="api://default"),
    refused("google", "an address of anybody", "jwt_required_claim", GOOGLE, email="a@gmail.com"),
    refused(
        "google", "an address nobody has checked", "jwt_required_claim", GOOGLE,
        email="ana@corp.example", hd="corp.example", email_verified=False,
    ),
    refused(
        "google", "for another client", "jwt_audience", GOOGLE,
        email="ana@corp.example", hd="corp.example", aud="x.apps.googleusercontent.com",
    ),
    refused("cognito", "an ID token", "jwt_audience", {}, aud="CLIENT_ID", token_use="id", sub="c"),
    refused(
        "cognito", "an ID token with a client", "jwt_required_claim", COGNITO,
        token_use="id", username="ana",
    ),
    refused("cognito", "another app client", "jwt_audience", COGNITO, client_id="x", sub="x"),
    refused(
        "keycloak", "an ID token", "jwt_required_claim", KEYCLOAK,
        typ="ID", preferred_username="ana",
    ),
    refused(
        "keycloak", "without the audience mapper", "jwt_audience", KEYCLOAK,
        aud="account", preferred_username="ana",
    ),
    refused("github", "another owner", "jwt_required_claim", GITHUB, repository_owner_id="7"),
    refused("github", "a pull request", "jwt_required_claim", GITHUB, ref="refs/pull/1/merge"),
    refused(
        "github", "the default audience", "jwt_audience", GITHUB, aud="https://github.com/corp"
    ),
    refused("gitlab", "an unprotected branch", "jwt_required_claim", GITLAB, ref_protected="false"),
    refused(
        "kubernetes", "for the API server", "jwt_audience", KUBERNETES,
        aud=["https://kubernetes.default.svc.cluster.local"],
    ),
]


def seen_by_mlflow(gate, token):
    """Whom the gate tells MLflow about."""
    with gate.recorder.listening() as heard:
        # What MLflow is asked by everybody, whatever they may see.
        answer = gate.get("/api/2.0/mlflow/registered-models/search?max_results=10", token)
    assert answer.status_code == 200, (answer.text, answer.headers)
    return re.search(rb"x-mlgate-user: ([^\r]*)", heard[0])[1].decode()


def token_of(federation, case):
    return federation[case.provider].token(header=case.header, **case.claims)


def test_every_documented_provider_is_tested():
    documented = set(profiles())
    for cases in [ACCEPTED, REFUSED + [Case("entra-v1", "", {})]]:
        assert {case.provider for case in cases} == documented


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_a_genuine_token_is_known_by_the_documented_name(federation, case):
    assert seen_by_mlflow(federation.gate, token_of(federation, case)) == case.username


@pytest.mark.parametrize("case", [c for c in ACCEPTED if c.groups], ids=str)
def test_a_group_of_the_provider_gives_its_role(federation, case, unique):
    gate = federation.gate
    owner = gate.create_user("group-owner")
    for group in case.groups:
        name = "".join(c if c.isalnum() else "-" for c in f"{unique}-{group}")
        experiment = gate.create_experiment(name, owner)
        path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
        assert gate.get(path, token_of(federation, case)).status_code == 403
        gate.mlgate("role", "create", name)
        gate.mlgate("role", "permit", name, "experiment", experiment, "READ")
        gate.mlgate("group", "add-role", group, name)
        token = token_of(federation, case)
        wait_until(lambda: gate.get(path, token).status_code == 200, f"{group} gives its role", 1)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_token_for_another_purpose_is_refused_for_its_own_reason(federation, case):
    with federation.gate.recorder.silence():
        answer = federation.gate.get(SEARCH, token_of(federation, case))
        assert answer.status_code == 401, answer.text
        assert answer.headers["x-mlgate-reason"] == case.reason


def test_one_provider_cannot_name_the_people_of_another(federation):
    """`plain` and `github` have prefixes of their own, so only a longer one could be forged."""
    names = [seen_by_mlflow(federation.gate, token_of(federation, case)) for case in ACCEPTED]
    token = federation["plain"].token(aud="mlflow", sub="github:corp/training")
    assert seen_by_mlflow(federation.gate, token) == "plain:github:corp/training"
    assert not any(name.startswith("plain:") for name in names)


def test_members_of_the_admin_group_are_super_admins(federation, unique):
    gate = federation.gate
    secret = gate.create_experiment(unique, gate.create_user("admin-group-owner"))
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={secret}"
    for roles, status in [(["mlflow-admin"], 200), (["mlflow-admin2"], 403), ([], 403)]:
        claims = {**KEYCLOAK, "preferred_username": "root", "realm_access": {"roles": roles}}
        token = federation["keycloak"].token(**claims)
        assert gate.get(path, token).status_code == status, roles


TRAINING = """
import mlflow
with mlflow.start_run(experiment_id={experiment!r}) as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("weights", "model.txt")
print("run", run.info.run_id)
"""


def test_a_github_job_logs_a_run_with_nothing_but_the_client_and_its_token(federation, unique):
    gate = federation.gate
    owner = gate.create_user("github-owner")
    experiment = gate.create_experiment(unique, owner)
    user = "github:corp/training"
    gate.mlgate("user", "create", user, "--service-account", check=False)
    gate.grant(user, "EDIT", "experiment", experiment)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "MLFLOW_TRACKING_URI": gate.url,
        "MLFLOW_TRACKING_TOKEN": federation["github"].token(header={"typ": "JWT"}, **GITHUB),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", TRAINING.format(experiment=experiment)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    run = re.search(r"^run (\w+)$", done.stdout, re.MULTILINE)[1]
    answer = gate.get(f"/api/2.0/mlflow/runs/get?run_id={run}", owner).json()["run"]
    assert answer["data"]["metrics"][0]["key"] == "loss"
    assert answer["info"]["status"] == "FINISHED"
    # And only there.
    other = gate.create_experiment(f"{unique}-other", owner)
    body = {"experiment_id": other}
    token = environment["MLFLOW_TRACKING_TOKEN"]
    assert gate.post("/api/2.0/mlflow/runs/create", token, json=body).status_code == 403


def test_a_name_with_a_documented_prefix_gets_no_password(federation):
    for name in ["github:corp/x", "entra:ana@corp.example"]:
        result = federation.gate.mlgate(
            "user", "create", name, "--password-stdin", input="correct horse battery x\n", check=False
        )
        assert result.returncode != 0 and "can not log in with a password" in result.stderr

"""Filters and policy servers are never replaced at one moment: each must do with the contract's
version before. Between them stands a program that carries nothing that version did not know; the
tests of other files then pass as ever."""

import re

import pytest
from support.gate import ROOT, wait_until
from support.previous_contract import through
from test_artifacts import test_a_refused_upload_does_not_reach_mlflow  # noqa: F401
from test_artifacts import test_deleting_an_artifact_needs_manage  # noqa: F401
from test_names_are_not_inherited import test_a_deleted_models_name_comes_without_its_grants  # noqa: F401
from test_names_are_not_inherited import test_a_renamed_model_takes_its_grants_along_and_leaves_none  # noqa: F401
from test_owner_reader_stranger import *  # noqa: F403

PREVIOUS = int(
    re.search(
        r"^pub const CONTRACT: u32 = (\d+);",
        (ROOT / "policy-server/src/service/contract.rs").read_text(),
        re.M,
    )[1]
) - 1
PATH = "/api/2.0/mlflow/experiments/get?experiment_id=0"


@pytest.fixture(scope="module")
def gate(session_gate, tmp_path_factory):
    with through(session_gate, tmp_path_factory.mktemp("previous"), PREVIOUS) as gate:
        yield gate


@pytest.fixture
def unique(unique):
    return f"previous-{unique}"


def test_both_sides_speak_the_same_version():
    filters = (ROOT / "filter/src/policy_client.rs").read_text()
    assert f"pub const CONTRACT: u32 = {PREVIOUS + 1};" in filters


def test_a_limited_token_is_refused_where_its_limits_are_not_passed_on(gate, session_gate):
    gate.create_user("previous-limited")
    made = gate.mlgate("token", "create", "previous-limited", "limited", "--scopes", "read").stdout
    token = re.search(r"mlg_[A-Za-z0-9_-]{48}", made)[0]
    assert gate.get("/api/2.0/mlflow/experiments/search?max_results=1", token).status_code == 403
    search = session_gate.get("/api/2.0/mlflow/experiments/search?max_results=1", token)
    assert search.status_code == 200


@pytest.mark.parametrize("contract", [PREVIOUS - 1, PREVIOUS + 3])
def test_two_steps_apart_everything_is_503_and_the_log_says_why(
    session_gate, tmp_path, contract
):
    with through(session_gate, tmp_path, contract) as gate:
        answer = gate.get(PATH, gate.admin)
        assert answer.status_code == 503 and "Retry-After" in answer.headers
        log = tmp_path / "envoy.log"
        wait_until(lambda: "does not understand contract" in log.read_text(), "the filter's log")
    said = "".join(log.read_text() for log in session_gate.logs("policy-server"))
    assert "contract is too far" in said and f'"spoken":{contract}' in said

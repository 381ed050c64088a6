"""MLflow's parser stops at the first member it cannot take, and its handlers go on with what came
before: an id behind such a member must still be the one that is used, or the request be refused."""

import json
import uuid

import pytest
from support import scene

HUGE = 99999999999


@pytest.fixture(scope="module")
def acting(gate):
    acting = scene.make(gate, "half-read")
    for who, experiment, secret in (
        (acting.alice, acting.experiment, "SECRET"),
        (acting.mallory, acting.own, "MINE"),
    ):
        body = {"experiment_id": experiment, "name": secret, "description": secret}
        create(acting, who, "issues", body | {"severity": "high", "status": "pending"})
        create(acting, who, "datasets/create", {"experiment_ids": [experiment], "name": secret})
        create(acting, who, "traces", {"trace": {"trace_info": trace(experiment, secret)}})
    return acting


def trace(experiment, preview):
    return {
        "trace_id": f"tr-{uuid.uuid4().hex}",
        "trace_location": located(experiment),
        "state": "OK",
        "request_time": "2026-01-02T03:04:05Z",
        "request_preview": preview,
    }


def located(experiment):
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}


def create(acting, who, path, body):
    answer = acting.gate.request("POST", f"/api/3.0/mlflow/{path}", who, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def searches(own):
    ids, one = {"experiment_ids": [own]}, {"experiment_id": own}
    huge = {"max_results": HUGE}
    return {
        "issues, a number too large": ("issues/search", huge | one),
        "issues, a token of another type": ("issues/search", {"page_token": 5} | one),
        "issues, a key that looks like an extension": ("issues/search", {"[x]": 1} | one),
        "datasets, a number too large": ("datasets/search", huge | ids),
        "datasets, an order of another type": ("datasets/search", {"order_by": [5]} | ids),
        "traces, a number too small": (
            "traces/search",
            {"max_results": -HUGE, "locations": [located(own)]},
        ),
        "traces, inside of the place": (
            "traces/search",
            {"locations": [{"inference_table": 5} | located(own)]},
        ),
    }


@pytest.mark.parametrize("name", searches("1"))
def test_a_search_whose_ids_follow_an_error_finds_its_own_and_nothing_else(acting, name):
    path, body = searches(acting.own)[name]
    answer = acting.gate.request("POST", f"/api/3.0/mlflow/{path}", acting.mallory, json=body)
    assert answer.status_code == 200, answer.text
    assert "MINE" in answer.text
    assert "SECRET" not in answer.text


def test_a_trace_is_started_where_it_was_decided_though_an_error_comes_first(acting):
    info = {"client_request_id": 5} | trace(acting.own, "SECOND")
    answer = acting.gate.request(
        "POST", "/api/3.0/mlflow/traces", acting.mallory, json={"trace": {"trace_info": info}}
    )
    assert answer.status_code == 200, answer.text
    started = answer.json()["trace"]["trace_info"]
    assert started["trace_location"]["mlflow_experiment"]["experiment_id"] == acting.own
    assert started["trace_id"] == info["trace_id"]


@pytest.mark.parametrize("version", [HUGE, str(HUGE), True, 1.5, "x", 0, [1]], ids=json.dumps)
def test_a_version_that_cannot_be_read_deletes_no_scorer(acting, version):
    of = {"experiment_id": acting.own, "name": "scorer"}
    judge = {"instructions": "{{outputs}}", "model": "openai:/x"}
    serialized = {"name": "scorer", "instructions_judge_pydantic_data": judge}
    registered = of | {"serialized_scorer": json.dumps(serialized)}
    create(acting, acting.mallory, "scorers/register", registered)
    path = "/api/3.0/mlflow/scorers/"
    body = of | {"version": version}
    answer = acting.gate.request("DELETE", path + "delete", acting.mallory, json=body)
    assert answer.status_code == 400, answer.text
    listed = f"{path}versions?experiment_id={acting.own}&name=scorer"
    assert acting.gate.request("GET", listed, acting.mallory).json()["scorers"]


UNREADABLE = [{"key": "a", "value": 5}, {"key": 5}, {"[x]": 1}]


@pytest.mark.parametrize("first", UNREADABLE, ids=json.dumps)
def test_no_tag_in_front_hides_the_one_that_makes_a_prompt(acting, first):
    name = f"half-read-{uuid.uuid4().hex}"
    tags = [first, {"key": "mlflow.prompt.is_prompt", "value": "true"}]
    path = "/api/2.0/mlflow/registered-models/"
    for body, status in (({"name": name, "tags": tags}, 400), ({"name": name}, 200)):
        answer = acting.gate.request("POST", path + "create", acting.mallory, json=body)
        assert answer.status_code == status, answer.text

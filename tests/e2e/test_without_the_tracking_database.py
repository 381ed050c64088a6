"""The policy server asks MLflow's REST API where ids live, instead of its database."""

import mlflow
import pytest
import requests
from mlflow.entities import SpanType
from mlflow.exceptions import MlflowException
from support.client import acting_as
from support.gate import Demo, Gate, free_port, wait_until
from support.recorder import Recorder

V2 = "/api/2.0/mlflow/"


@pytest.fixture(scope="module")
def resting(tmp_path_factory, store):
    """A gate whose policy server knows MLflow's URL only."""
    directory = tmp_path_factory.mktemp("resting")
    port = free_port()
    config = directory / "server.toml"
    config.write_text(f'tracking_uri = "http://127.0.0.1:{port}"\n')
    recorder = Recorder(port)
    demo = Demo(
        directory / "data",
        *("--listen", "127.0.0.1:0", "--store", store),
        *("--mlflow-port", port, "--server-config", config, "--mlflow-through", recorder.port),
    )
    yield Gate(demo, recorder)
    demo.stop()
    recorder.close()


def refused(action):
    with pytest.raises(MlflowException, match="Permission denied") as caught:
        action()
    assert caught.value.get_http_status_code() == 403


def test_an_owner_works_and_a_stranger_is_refused(resting):
    owner, stranger = resting.create_user("owner"), resting.create_user("stranger")
    with acting_as(resting, owner) as client:
        experiment = client.create_experiment("asked over REST")
        run = client.create_run(experiment).info.run_id
        client.log_metric(run, "loss", 0.5)
        span = client.start_trace("a trace", span_type=SpanType.TOOL, experiment_id=experiment)
        client.end_trace(span.trace_id)
        mlflow.flush_trace_async_logging()
        model = client.create_logged_model(experiment, name="a-model").model_id
        client.create_registered_model("asked-over-rest")
        client.create_prompt("prompt-over-rest")
        looks = {
            "run": lambda client: client.get_run(run),
            "trace": lambda client: client.get_trace(span.trace_id),
            "model": lambda client: client.get_logged_model(model),
            "name": lambda client: client.get_experiment_by_name("asked over REST"),
            "registered": lambda client: client.get_registered_model("asked-over-rest"),
        }
        for look in looks.values():
            assert look(client)
        client.set_terminated(run)
    with acting_as(resting, stranger) as client:
        for what, look in looks.items():
            refused(lambda look=look: look(client))
        refused(lambda: client.log_metric(run, "loss", 0.4))
    resting.grant("stranger", "READ", "experiment", experiment)
    path = f"/api/2.0/mlflow/runs/get?run_id={run}"
    wait_until(lambda: resting.get(path, stranger).status_code == 200, "the grant is in force")
    with acting_as(resting, stranger) as client:
        assert client.get_run(run).info.run_id == run
        refused(lambda: client.log_metric(run, "loss", 0.4))
        refused(lambda: client.get_registered_model("asked-over-rest"))


def test_what_mlflows_api_does_not_tell_is_denied_at_once(resting):
    user = resting.create_user("assessor")
    experiment = resting.create_experiment("assessed over REST", user)
    with acting_as(resting, user) as client:
        span = client.start_trace("assessed", experiment_id=experiment)
        client.end_trace(span.trace_id)
        mlflow.flush_trace_async_logging()
    path = f"/api/3.0/mlflow/traces/{span.trace_id}/assessments"
    assessment = {"assessment_name": "good", "feedback": {"value": True}}
    assessment["source"] = {"source_type": "HUMAN", "source_id": "assessor"}
    assessment["trace_id"] = span.trace_id
    answer = resting.post(path, user, json={"assessment": assessment})
    assert answer.status_code == 200, answer.text
    # Whose it is, if it exists, only the database tells.
    assessment["assessment_id"] = "a-" + "0" * 32
    answer = resting.post(path, user, json={"assessment": assessment})
    assert answer.status_code == 403, answer.text


def left(gate, method, path, credential, body):
    """Sent by a client that leaves as soon as MLflow has it; the answer is heard by nobody."""
    before = gate.recorder.received
    with gate.recorder.answers_held(), pytest.raises(requests.ReadTimeout):
        gate.request(method, V2 + path, credential, json=body, timeout=2)
    assert gate.recorder.received > before, "MLflow was not asked"


def test_lost_answers_are_made_up_for_by_what_the_api_tells(resting):
    """Creations get their owner, and a name that is used again inherits nothing."""
    owner, heir = resting.create_user("loses-answers"), resting.create_user("heir")
    of_model = V2 + "registered-models/get?name={}"
    of_experiment = V2 + "experiments/get-by-name?experiment_name={}"
    left(resting, "POST", "registered-models/create", owner, {"name": "lost-model"})
    left(resting, "POST", "experiments/create", owner, {"name": "lost-experiment"})
    for path in (of_model.format("lost-model"), of_experiment.format("lost-experiment")):
        wait_until(lambda path=path: resting.get(path, owner).status_code == 200, path)
        assert resting.get(path, heir).status_code == 403
    left(resting, "DELETE", "registered-models/delete", owner, {"name": "lost-model"})
    created = resting.post(V2 + "registered-models/create", heir, json={"name": "lost-model"})
    assert created.status_code == 200, created.text
    assert resting.get(of_model.format("lost-model"), heir).status_code == 200
    assert resting.get(of_model.format("lost-model"), owner).status_code == 403
    body = {"name": "lost-model", "new_name": "found-model"}
    left(resting, "POST", "registered-models/rename", heir, body)
    wait_until(
        lambda: resting.get(of_model.format("found-model"), heir).status_code == 200,
        "the renamed model has its owner",
    )
    created = resting.post(V2 + "registered-models/create", owner, json={"name": "lost-model"})
    assert created.status_code == 200, created.text
    assert resting.get(of_model.format("lost-model"), heir).status_code == 403
    assert resting.get(of_model.format("found-model"), owner).status_code == 403

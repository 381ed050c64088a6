"""The official client as owner, reader, stranger and nobody, by password and by token."""

import pytest
import requests
from mlflow.exceptions import MlflowException
from support.client import acting_as
from support.gate import wait_until

KINDS = ["password", "RS256", "ES256", "EdDSA"]


@pytest.fixture(params=KINDS)
def credential_of(request, gate, identity_provider):
    """Makes a user and returns the credential: by password, or by a token of the provider."""
    kind = request.param

    def credential(role):
        name = f"{role}-{kind.lower()}"
        password = gate.create_user(name)
        return password if kind == "password" else identity_provider.token(name, kind)

    credential.kind = kind
    credential.name = lambda role: f"{role}-{kind.lower()}"
    return credential


@pytest.fixture
def experiment(gate, credential_of, unique):
    """An experiment with one run, made by the owner through the official client."""
    with acting_as(gate, credential_of("owner")) as client:
        experiment_id = client.create_experiment(unique)
        run = client.create_run(experiment_id)
        client.log_param(run.info.run_id, "depth", "3")
        client.log_metric(run.info.run_id, "loss", 0.5)
        client.log_text(run.info.run_id, "hello", "greeting.txt")
    return experiment_id, run.info.run_id


def refused(status, action):
    """The client raises its own exception, or that of `requests` for artifacts."""
    with pytest.raises((MlflowException, requests.HTTPError)) as caught:
        action()
    if isinstance(caught.value, requests.HTTPError):
        assert caught.value.response.status_code == status
    else:
        assert caught.value.get_http_status_code() == status, caught.value


def test_an_owner_creates_logs_and_searches(gate, credential_of, experiment, tmp_path):
    experiment_id, run_id = experiment
    with acting_as(gate, credential_of("owner")) as client:
        run = client.get_run(run_id)
        assert run.data.params == {"depth": "3"}
        assert run.data.metrics == {"loss": 0.5}
        assert [file.path for file in client.list_artifacts(run_id)] == ["greeting.txt"]
        local = client.download_artifacts(run_id, "greeting.txt", str(tmp_path))
        assert open(local).read() == "hello"
        found = client.search_runs([experiment_id], "metrics.loss < 1")
        assert [run.info.run_id for run in found] == [run_id]
        client.set_terminated(run_id)
        client.set_experiment_tag(experiment_id, "stage", "done")
        client.rename_experiment(experiment_id, f"{experiment_id} renamed")
        assert client.get_experiment(experiment_id).tags["stage"] == "done"


def test_a_reader_reads_and_gets_403_on_every_write(gate, credential_of, experiment, tmp_path):
    experiment_id, run_id = experiment
    reader = credential_of("reader")
    gate.grant(credential_of.name("reader"), "READ", "experiment", experiment_id)
    with acting_as(gate, reader) as client:
        assert client.get_experiment(experiment_id).experiment_id == experiment_id
        assert client.get_run(run_id).data.params == {"depth": "3"}
        assert client.get_metric_history(run_id, "loss")[0].value == 0.5
        assert len(client.search_runs([experiment_id])) == 1
        assert client.list_artifacts(run_id)[0].path == "greeting.txt"
        client.download_artifacts(run_id, "greeting.txt", str(tmp_path))
        refused(403, lambda: client.log_param(run_id, "width", "4"))
        refused(403, lambda: client.log_metric(run_id, "loss", 0.1))
        refused(403, lambda: client.set_tag(run_id, "mine", "yes"))
        refused(403, lambda: client.create_run(experiment_id))
        refused(403, lambda: client.log_text(run_id, "overwritten", "greeting.txt"))
        refused(403, lambda: client.rename_experiment(experiment_id, "stolen"))
        refused(403, lambda: client.delete_run(run_id))
        refused(403, lambda: client.delete_experiment(experiment_id))
    with acting_as(gate, credential_of("owner")) as client:
        run = client.get_run(run_id)
        assert (run.data.params, run.data.metrics) == ({"depth": "3"}, {"loss": 0.5})


def test_a_stranger_gets_403_and_finds_nothing(gate, credential_of, experiment):
    experiment_id, run_id = experiment
    with acting_as(gate, credential_of("stranger")) as client:
        refused(403, lambda: client.get_experiment(experiment_id))
        refused(403, lambda: client.get_run(run_id))
        refused(403, lambda: client.log_metric(run_id, "loss", 0.1))
        refused(403, lambda: client.list_artifacts(run_id))
        assert client.search_runs([experiment_id]) == []
        assert experiment_id not in [e.experiment_id for e in client.search_experiments()]


def test_a_revoked_reader_is_refused(gate, credential_of, experiment):
    experiment_id, _ = experiment
    former = credential_of("former-reader")
    name = credential_of.name("former-reader")
    gate.grant(name, "READ", "experiment", experiment_id)
    with acting_as(gate, former) as client:
        client.get_experiment(experiment_id)
    gate.revoke(name, "experiment", experiment_id)
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment_id}"
    wait_until(lambda: gate.get(path, former).status_code == 403, "the grant is gone", 10)
    with acting_as(gate, former) as client:
        refused(403, lambda: client.get_experiment(experiment_id))

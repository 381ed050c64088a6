"""The user, role and permission API: every scripted call, to the gate and to MLflow's auth app."""

import pytest
from support import admin_api
from support.gate import Demo, Gate
from support.reference import ADMIN, running_reference


@pytest.fixture(scope="module")
def mlflows_answers(tmp_path_factory):
    with running_reference(tmp_path_factory.mktemp("reference")) as url:
        return admin_api.play(url, *ADMIN)


@pytest.fixture
def empty_gate(tmp_path_factory, store):
    """A gate of its own: the script counts on there being nobody but the administrator."""
    directory = tmp_path_factory.mktemp("empty-gate")
    demo = Demo(directory / "data", "--listen", "127.0.0.1:0", "--store", store)
    yield Gate(demo)
    demo.stop()


def test_the_recorded_answers_are_those_of_the_installed_mlflow(mlflows_answers):
    assert mlflows_answers == admin_api.recorded()


def test_every_scripted_call_is_answered_as_mlflow_answers_it(mlflows_answers, empty_gate):
    answers = admin_api.play(empty_gate.url, *empty_gate.admin)
    different = list(admin_api.differences(mlflows_answers, answers))
    assert not different, "\n".join(different)

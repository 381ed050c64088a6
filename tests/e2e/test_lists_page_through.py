"""The official client's helpers that follow page tokens end with everything that may be read."""

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus
from support.client import acting_as

OBJECTS = 60
# Spread over the list, at its ends too.
READABLE = {0, 1, 17, 29, 30, 44, 59}
PAGE_SIZES = [1, 4, 100]


@pytest.fixture(scope="module")
def crowd(gate):
    """Objects of one user, of which another may read a few."""
    owner, reader = gate.create_user("crowd-owner"), gate.create_user("crowd-reader")
    experiments, runs, models, logged, traces = {}, {}, {}, {}, {}
    with acting_as(gate, owner) as client:
        for index in range(OBJECTS):
            name = f"crowd-{index:02}"
            models[index] = client.create_registered_model(name).name
            experiments[index] = client.create_experiment(name)
            runs[index] = {client.create_run(experiments[index]).info.run_id for _ in range(2)}
            model = client.create_logged_model(experiments[index], name)
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            logged[index] = model.model_id
            if index in READABLE or index % 10 == 5:
                traces[index] = {
                    client.start_trace(name, experiment_id=experiments[index]).trace_id
                    for _ in range(3)
                }
                for trace in traces[index]:
                    client.end_trace(trace)
        mlflow.flush_trace_async_logging()
    for index in READABLE:
        gate.grant(reader[0], "READ", "experiment", experiments[index])
        gate.grant(reader[0], "READ", "registered_model", models[index])
    return {
        "reader": reader,
        "experiments": experiments,
        "runs": runs,
        "models": models,
        "logged": logged,
        "traces": traces,
    }


@pytest.fixture(scope="module")
def reading(gate, crowd):
    with acting_as(gate, crowd["reader"]) as client:
        yield client


def all_pages(search, size):
    """Follows the tokens, and counts on none of the pages being full."""
    found, token = [], None
    while True:
        page = search(max_results=size, page_token=token)
        assert len(page) <= size
        found += page
        token = page.token
        if not token:
            return found


def of_readable(things):
    return {things[index] for index in READABLE}


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_search_experiments(reading, crowd, size):
    found = all_pages(reading.search_experiments, size)
    ids = [experiment.experiment_id for experiment in found]
    assert len(ids) == len(set(ids))
    assert set(ids) == of_readable(crowd["experiments"])
    fluent = mlflow.search_experiments(max_results=size)
    wanted = min(size, len(READABLE))
    assert [experiment.experiment_id for experiment in fluent] == ids[:wanted]


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_search_registered_models(reading, crowd, size):
    found = all_pages(reading.search_registered_models, size)
    names = [model.name for model in found]
    assert names == sorted(of_readable(crowd["models"]))


def test_the_fluent_search_of_registered_models(reading, crowd):
    found = mlflow.search_registered_models()
    assert {model.name for model in found} == of_readable(crowd["models"])


def test_a_page_is_filled_although_most_rows_are_hidden(reading):
    assert len(reading.search_experiments(max_results=5)) == 5
    assert len(reading.search_registered_models(max_results=5)) == 5


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_search_runs(reading, crowd, size):
    everywhere = list(crowd["experiments"].values())
    search = lambda **paging: reading.search_runs(everywhere, **paging)
    found = all_pages(search, size)
    ids = [run.info.run_id for run in found]
    assert len(ids) == len(set(ids))
    assert set(ids) == set().union(*(crowd["runs"][index] for index in READABLE))


def test_the_fluent_search_of_all_runs(reading, crowd):
    found = mlflow.search_runs(search_all_experiments=True, output_format="list")
    wanted = set().union(*(crowd["runs"][index] for index in READABLE))
    assert {run.info.run_id for run in found} == wanted


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_search_logged_models(reading, crowd, size):
    everywhere = list(crowd["experiments"].values())
    search = lambda **paging: reading.search_logged_models(everywhere, **paging)
    found = all_pages(search, size)
    ids = [model.model_id for model in found]
    assert len(ids) == len(set(ids))
    assert set(ids) == of_readable(crowd["logged"])


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_search_traces(reading, crowd, size):
    mine = [crowd["experiments"][index] for index in READABLE]
    search = lambda **paging: reading.search_traces(locations=mine, include_spans=False, **paging)
    found = all_pages(search, size)
    ids = [trace.info.trace_id for trace in found]
    assert len(ids) == len(set(ids))
    assert set(ids) == set().union(*(crowd["traces"][index] for index in READABLE))

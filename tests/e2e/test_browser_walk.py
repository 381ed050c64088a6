"""A user clicks through MLflow's whole interface: nothing there may stumble over the gate."""

import json
import os
import re
from pathlib import Path

import pytest
from support import things, walk
from support.browser import Browser, find

pytestmark = pytest.mark.skipif(not find(), reason="no Chromium is installed")


# The console repeats each answer above 399 without what was asked, and complains of the page's own
# layout when the machine is slow.
NOISE = ["Failed to load resource", "ResizeObserver loop"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Where screenshots go: kept if MLGATE_TEST_SCREENSHOTS names a directory."""
    temporary = tmp_path_factory.mktemp("pictures")
    return Path(os.environ.get("MLGATE_TEST_SCREENSHOTS", temporary))


@pytest.fixture(scope="module")
def owner(gate):
    return gate.create_user("walking-owner")


@pytest.fixture(scope="module")
def shown(gate, owner):
    return things.make(gate, owner, "walked")


@pytest.fixture(scope="module")
def hidden(gate):
    """The same things of somebody else."""
    return things.make(gate, gate.create_user("walking-stranger"), "withheld")


def walked(credential, url, shown, pictures):
    """Walks, and returns the walk and what went wrong on the way."""
    pictures.mkdir(parents=True, exist_ok=True)
    with Browser(credential) as browser:
        tour = walk.Walk(browser, url, shown, pictures)
        walk.through(tour)
        failed = {f"{status} {url}" for status, url, body in browser.refused if not _nowhere(body)}
        said = {error for error in browser.console_errors if not any(n in error for n in NOISE)}
        errors = failed.union(said, browser.failures)
        return tour, {_without_address(error, url) for error in errors}


def _nowhere(body):
    """Whether this is a search for traces in no place at all, as the interface sends one for an
    open trace. MLflow's own basic-auth refuses it too, to all but admins."""
    try:
        return json.loads(body).get("locations") == []
    except (ValueError, AttributeError):
        return False


def _without_address(error, url):
    """Errors are compared between two servers: without their addresses and what varies."""
    return re.sub(r"\?\S*", "", error.replace(url, ""))


@pytest.fixture(scope="module")
def mlflows_own(gate, shown, hidden, pictures):
    """What goes wrong on the same walk without the gate."""
    tour, errors = walked(None, gate.ready["mlflow_url"], shown, pictures / "walk-mlflow")
    for page in ["experiments", "models", "prompts"]:
        assert hidden.label in tour.pages[page], "what the gate hides is there to be seen"
    return errors


def test_an_owner_clicks_through_everything_without_an_error_of_the_gate(
    gate, owner, shown, hidden, mlflows_own, pictures
):
    _, through_the_gate = walked(owner, gate.url, shown, pictures / "walk-gate")
    assert through_the_gate <= mlflows_own, through_the_gate - mlflows_own


def test_a_reader_of_one_experiment_sees_no_trace_of_another(
    gate, shown, hidden, mlflows_own, pictures
):
    reader = gate.create_user("walking-reader")
    gate.grant(reader[0], "READ", "experiment", shown.experiment)
    for family, name in [("registered_model", "model"), ("prompt", "prompt")]:
        gate.grant(reader[0], "READ", family, shown.name(name))
    tour, errors = walked(reader, gate.url, shown, pictures / "walk-reader")
    assert len(tour.pages) >= 20
    for page, text in tour.pages.items():
        for trace in [hidden.label, hidden.run, hidden.trace, hidden.dataset, hidden.logged_model]:
            assert trace not in text, f"{page} shows {trace}"
    assert errors <= mlflows_own, errors - mlflows_own

"""MLflow's own web interface behind the gate, in a real browser."""

import os
from pathlib import Path

import pytest
from support.browser import Browser, find

pytestmark = pytest.mark.skipif(not find(), reason="no Chromium is installed")


@pytest.fixture
def pictures(tmp_path):
    """Where screenshots go: kept if MLGATE_TEST_SCREENSHOTS names a directory."""
    directory = Path(os.environ.get("MLGATE_TEST_SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def test_the_interface_asks_for_a_password_and_shows_the_experiment_and_its_runs(
    gate, unique, pictures
):
    owner = gate.create_user("browsing-owner")
    experiment = gate.create_experiment("Shown in the browser", owner)
    run = gate.create_run(experiment, owner)
    body = {"run_id": run, "run_name": "a-run-to-be-seen"}
    assert gate.post("/api/2.0/mlflow/runs/update", owner, json=body).status_code == 200
    with Browser(owner) as browser:
        browser.open(gate.url + "/#/experiments")
        browser.wait_for_text("Shown in the browser")
        assert browser.challenges > 0, "the browser was asked for a password"
        browser.screenshot(pictures / "experiments.png")
        browser.open(f"{gate.url}/#/experiments/{experiment}/runs")
        browser.wait_for_text("a-run-to-be-seen")
        browser.screenshot(pictures / "runs.png")
        refused = [r for r in browser.responses if r[0] in (400, 403, 413, 429, 503)]
        assert not refused, "the gate caused errors"


def test_another_users_interface_does_not_show_it(gate, pictures):
    owner = gate.create_user("browsing-owner")
    gate.create_experiment("Hidden in the browser", owner)
    stranger = gate.create_user("browsing-stranger")
    gate.create_experiment("The stranger's own", stranger)
    with Browser(stranger) as browser:
        browser.open(gate.url + "/#/experiments")
        browser.wait_for_text("The stranger's own")
        browser.screenshot(pictures / "stranger.png")
        assert "Hidden in the browser" not in browser.text()


def test_without_a_password_there_is_no_interface(gate):
    with Browser() as browser:
        browser.open(gate.url + "/")
        assert not [url for status, url in browser.responses if status == 200 and "static" in url]
        assert browser.challenges == 1

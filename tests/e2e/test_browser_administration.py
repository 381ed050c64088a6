"""MLflow's admin and account pages behind the gate, in a real browser."""

import os
from pathlib import Path

import pytest
from support.browser import Browser, find
from support.interface import click, component, labelled, option, saying, type_into, wait_until_gone

pytestmark = pytest.mark.skipif(not find(), reason="no Chromium is installed")

PASSWORD = "browsing-password-1"


@pytest.fixture
def pictures(tmp_path):
    """Where screenshots go: kept if MLGATE_TEST_SCREENSHOTS names a directory."""
    directory = Path(os.environ.get("MLGATE_TEST_SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


# Workspaces are off, and the assistant is for administrators only.
REFUSED_ON_PURPOSE = ("/mlflow/workspaces", "/mlflow/assistant/")


def refusals(browser):
    """What the interface asked for and should have got."""
    return [
        (status, url)
        for status, url in browser.responses
        if status >= 400 and not any(path in url for path in REFUSED_ON_PURPOSE)
    ]


def test_an_admin_creates_a_user_with_access_to_an_experiment(gate, admin, unique, pictures):
    name = f"{unique}-experiment"
    experiment = gate.create_experiment(name, admin)
    get = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    user = f"u-{experiment}-{os.getpid()}"
    with Browser(admin) as browser:
        browser.open(gate.url + "/#/admin")
        browser.wait_for_text("Create User")
        browser.wait_for_text(admin[0])
        browser.screenshot(pictures / "admin-users.png")
        click(browser, component("admin.users.create_button"))
        type_into(browser, component("admin.create_user_modal.username"), user)
        type_into(browser, component("admin.create_user_modal.password"), PASSWORD)
        click(browser, saying("Direct permissions"))
        click(browser, labelled("Experiment, no option selected"))
        click(browser, option(name))
        click(browser, component("admin.direct_permissions.add"))
        browser.wait_for_text("Create user and grant access")
        browser.screenshot(pictures / "admin-create-user.png")
        click(browser, component("admin.create_user_modal.submit"))
        wait_until_gone(browser, component("admin.create_user_modal.submit"))
        browser.wait_for_text(user)
        browser.screenshot(pictures / "admin-users-after.png")
        assert not refusals(browser)
    assert gate.get(get, (user, PASSWORD)).status_code == 200
    body = {"experiment_id": experiment, "new_name": "renamed"}
    renamed = gate.post("/api/2.0/mlflow/experiments/update", (user, PASSWORD), json=body)
    assert renamed.status_code == 403, "the interface grants READ by default"


def test_an_admin_creates_a_role(gate, admin, unique, pictures):
    role = f"role-{unique}"
    with Browser(admin) as browser:
        browser.open(gate.url + "/#/admin")
        browser.wait_for_text("Create User")
        click(browser, saying("Roles"))
        click(browser, component("admin.roles.create_button"))
        type_into(browser, component("admin.create_role_modal.name"), role)
        type_into(browser, component("admin.create_role_modal.description"), "made in a browser")
        click(browser, component("admin.create_role_modal.submit"))
        wait_until_gone(browser, component("admin.create_role_modal.submit"))
        browser.wait_for_text(role)
        browser.screenshot(pictures / "admin-roles.png")
        assert not refusals(browser)
    listed = gate.get("/api/3.0/mlflow/roles/list", admin).json()["roles"]
    assert [found["description"] for found in listed if found["name"] == role] == [
        "made in a browser"
    ]


def test_a_user_sees_its_account_and_no_admin_page(gate, pictures):
    user = gate.create_user("browsing-account")
    with Browser(user) as browser:
        browser.open(gate.url + "/#/account")
        browser.wait_for_text("Logged in as browsing-account")
        browser.wait_for_text("Change password")
        browser.screenshot(pictures / "account.png")
        click(browser, labelled("Account menu"))
        browser.wait_for_text("Logout")
        assert "Manage" not in browser.text()
        assert not refusals(browser)


def test_logging_out_ends_the_browsers_credentials(gate, pictures):
    user = gate.create_user("browsing-logout")
    with Browser(user) as browser:
        browser.open(gate.url + "/#/account")
        browser.wait_for_text("Logged in as browsing-logout")
        challenges = browser.challenges
        # Whoever is asked again gives nothing this time.
        browser.credential = None
        click(browser, labelled("Account menu"))
        click(browser, component("mlflow.sidebar.logout"))
        browser.wait_for_text("not authenticated")
        browser.screenshot(pictures / "logged-out.png")
        assert browser.challenges > challenges
        assert any(
            status == 401 and url.endswith("/mlflow/users/current")
            for status, url in browser.responses
        )

"""One demo for the whole session, and the report that `cargo xtask test` reads."""

import json
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from support.canaries import CANARIES  # noqa: E402
from support.federation import Federation  # noqa: E402
from support.gate import Demo, Gate, free_port  # noqa: E402
from support.recorder import Recorder  # noqa: E402
from support.rig import Rig  # noqa: E402
from support.tokens import IdentityProvider  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_written_anywhere(tmp_path_factory):
    """Before all other fixtures, so after all of them: every service has written its last word."""
    yield
    leaks, seen = CANARIES.scan(tmp_path_factory.getbasetemp())
    found = "\n".join(map(str, leaks[:50]))
    assert not leaks, f"{len(leaks)} secrets in {seen} bytes of logs, metrics and answers:\n{found}"


@pytest.fixture(scope="session")
def store():
    return os.environ.get("MLGATE_TEST_STORE", "sqlite")


@pytest.fixture(scope="session")
def identity_provider():
    return IdentityProvider()


@pytest.fixture(scope="session")
def gate(session_gate):
    """A gate that everything shares: use names of your own for what you create."""
    return session_gate


@pytest.fixture(scope="session")
def session_gate(tmp_path_factory, store, identity_provider):
    """The same, for files that put another gate before it."""
    directory = tmp_path_factory.mktemp("gate")
    plugin_config = directory / "plugin.json"
    plugin_config.write_text(json.dumps(identity_provider.plugin_config()))
    server_config = directory / "server.toml"
    metrics_port = free_port()
    # Hundreds of bad credentials come from one address here.
    server_config.write_text(
        f'max_failures = 1000\nlog_format = "json"\nmetrics_listen = "127.0.0.1:{metrics_port}"\n'
    )
    mlflow_port = free_port()
    recorder = Recorder(mlflow_port)
    demo = Demo(
        directory / "data",
        *("--listen", "127.0.0.1:0", "--store", store, "--plugin-config", plugin_config),
        *("--server-config", server_config),
        *("--mlflow-port", mlflow_port, "--mlflow-through", recorder.port),
        "--policy-server-may-end",
    )
    gate = Gate(demo, recorder, metrics_port)
    yield gate
    gate.close()
    recorder.close()


@pytest.fixture(scope="session")
def federation(tmp_path_factory, store):
    """A second gate, with many identity providers; see `support/federation.py`."""
    federation = Federation(tmp_path_factory.mktemp("federation"), store)
    yield federation
    federation.close()


@pytest.fixture(scope="session")
def admin(gate):
    return gate.admin


@pytest.fixture
def unique(request):
    """A name for what this test creates."""
    name = request.node.name.removeprefix("test_")
    return "".join(c if c.isalnum() else "-" for c in name)[:80].strip("-")


@pytest.fixture(scope="session")
def session_rig(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("rig"))
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def direct_rig(tmp_path_factory):
    """For measuring: nothing stands between its parts."""
    rig = Rig(tmp_path_factory.mktemp("direct-rig"), wired=False)
    yield rig
    rig.close()


@pytest.fixture
def rig(session_rig):
    """What may be broken: the next test finds it whole."""
    session_rig.healthy()
    return session_rig


# What is tested there has nothing to do with the store, and runs for one of them.
FOR_ANY_STORE = {
    "the filter refuses before anybody is asked": {
        "test_hostile_input",
        "test_security_spellings",
        "test_static_prefix",
        "test_answers_that_cannot_be_judged",
    },
    "it is Envoy's configuration": {
        "test_cluster_files",
        "test_delivered_by_others",
        "test_envoy_configuration",
        "test_existing_gateway",
        "test_hot_change",
        "test_plain_configuration_as_shipped",
    },
    "it is what Envoy and the module do with memory": {"test_large_artifacts", "test_trap"},
    "what is new in it does not touch the store": {"test_the_newest_mlflow"},
    "failures are counted in the policy server's memory": {"test_password_flood"},
    "its pages have a store of their own": {"test_guide"},
    "nothing runs": {
        "test_canaries",
        "test_security_cases_are_tested",
        "test_the_module_stays_small",
    },
}


def pytest_collection_modifyitems(config, items):
    """The rig always has a Postgres of its own: what uses it need not run for each store either."""
    rigs, any_store = {"session_rig", "direct_rig"}, set().union(*FOR_ANY_STORE.values())
    missing = {name for name in any_store if not (HERE / f"{name}.py").is_file()}
    assert not missing, f"there is no {missing}"
    elsewhere = {
        "sqlite": lambda item: rigs & set(item.fixturenames),
        "postgres": lambda item: item.module.__name__ in any_store,
    }.get(os.environ.get("MLGATE_TEST_STORE"), lambda item: False)
    again = [item for item in items if elsewhere(item)]
    items[:] = [item for item in items if item not in again]
    config.hook.pytest_deselected(items=again)


def pytest_terminal_summary(terminalreporter):
    report = os.environ.get("MLGATE_TEST_REPORT")
    if report:
        count = lambda *kinds: sum(len(terminalreporter.stats.get(kind, [])) for kind in kinds)
        counts = {
            "passed": count("passed"),
            "failed": count("failed", "error"),
            "skipped": count("skipped"),
        }
        Path(report).write_text(json.dumps(counts))
    for skipped in terminalreporter.stats.get("skipped", []):
        reason = skipped.longrepr[2] if isinstance(skipped.longrepr, tuple) else skipped.longrepr
        terminalreporter.write_line(f"skipped: {skipped.nodeid}: {reason}")

"""One demo for the whole session, and the report that `cargo xtask test` reads."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.federation import Federation  # noqa: E402
from support.gate import Demo, Gate, free_port  # noqa: E402
from support.recorder import Recorder  # noqa: E402
from support.rig import Rig  # noqa: E402
from support.tokens import IdentityProvider  # noqa: E402


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


def pytest_collection_modifyitems(config, items):
    """The rig always has a Postgres of its own: what uses it need not run for each store."""
    if os.environ.get("MLGATE_TEST_STORE") == "sqlite":
        rigs = {"session_rig", "direct_rig"}
        again = [item for item in items if rigs & set(item.fixturenames)]
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

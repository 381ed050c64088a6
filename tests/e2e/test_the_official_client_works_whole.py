"""Everything that the official client can do, as a user who manages what they made.

Each chapter plays one family of calls through the gate. What the client swallows (traces are
exported in the background) is seen in the answers to its requests: no refusal among them.
"""

import traceback

import mlflow
import pytest
import requests
from chapters import genai, registries, tracking
from support.client import acting_as

REFUSALS = {400, 401, 403, 413, 415, 429, 501, 503}
# The client asks for a prompt before it makes it; what is not there is like what is not yours.
ASKED_FIRST = "/registered-models/get?name=whole-"
# The client makes a registered model again with each version.
IS_THERE = "RESOURCE_ALREADY_EXISTS"

# Public methods of MlflowClient that no chapter calls.
NOT_PLAYED = {
    "create_workspace": "this MLflow has no workspaces",
    "delete_workspace": "this MLflow has no workspaces",
    "get_workspace": "this MLflow has no workspaces",
    "list_workspaces": "this MLflow has no workspaces",
    "update_workspace": "this MLflow has no workspaces",
    "refresh_mcp_server_version_tools": "asks the MCP server itself",
    "unlink_traces_from_run": "the client refuses it for servers",
    "test_webhook": "makes MLflow send something to the outside",
}


class Story:
    """The client, and names and files for the chapters to use."""

    def __init__(self, client, admin_client, directory):
        self.played = set()
        self.client = Watched(client, self.played)
        self.admin_client = Watched(admin_client, self.played)
        self.directory = directory

    def experiment(self, name):
        return self.client.create_experiment(f"whole {name}")

    def file(self, name="file.txt"):
        path = self.directory / name
        path.write_text(name)
        return str(path)

    def folder(self, name):
        path = self.directory / name
        path.mkdir()
        (path / "inside.txt").write_text("inside")
        return str(path)


class Watched:
    """A client that notes which of its methods are called."""

    def __init__(self, client, played):
        self._client, self._played = client, played

    def __getattr__(self, name):
        self._played.add(name)
        return getattr(self._client, name)


CHAPTERS = [
    tracking.experiments,
    tracking.runs,
    tracking.fluent_runs,
    tracking.artifacts,
    tracking.logged_models,
    registries.model_registry,
    registries.prompts,
    registries.genai_prompts,
    genai.traces,
    genai.fluent_traces,
    genai.datasets,
    genai.scorers,
    genai.evaluation,
    genai.reviews,
    registries.mcp_servers,
    registries.webhooks_by_an_admin,
    registries.housekeeping,
]


@pytest.fixture(scope="module")
def played(gate, tmp_path_factory):
    """Plays every chapter; what went wrong in each, and the names of the methods that it called."""
    answers = []
    send = requests.Session.send

    def watched_send(session, request, **options):
        answer = send(session, request, **options)
        expected = ASKED_FIRST in request.url or IS_THERE in answer.text
        if answer.status_code in REFUSALS and not expected:
            text = answer.text[:300]
            answers.append(f"{answer.status_code} to {request.method} {request.url}: {text}")
        return answer

    credential = gate.create_user("client")
    told = {}
    requests.Session.send = watched_send
    try:
        with acting_as(gate, credential) as client:
            admin_client = mlflow.MlflowClient(gate.url)
            story = Story(client, admin_client, tmp_path_factory.mktemp("story"))
            for chapter in CHAPTERS:
                told[chapter] = tell(gate, story, chapter, answers)
    finally:
        requests.Session.send = send
    return told, story.played


def tell(gate, story, chapter, answers):
    answers.clear()
    failure = None
    try:
        if chapter is registries.webhooks_by_an_admin:
            with acting_as(gate, gate.admin):
                chapter(story)
        else:
            chapter(story)
        mlflow.flush_trace_async_logging()
    except BaseException:
        failure = traceback.format_exc()
    finally:
        while mlflow.active_run():
            mlflow.end_run()
    return failure, list(answers)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.__name__)
def test_a_user_who_manages_it_is_never_refused(played, chapter):
    failure, refusals = played[0][chapter]
    assert not refusals
    assert failure is None, failure


def test_every_public_method_of_the_client_was_called(played):
    public = {name for name in dir(mlflow.MlflowClient) if not name.startswith("_")}
    public = {name for name in public if callable(getattr(mlflow.MlflowClient, name))}
    assert public - played[1] == set(NOT_PLAYED)

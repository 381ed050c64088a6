"""Registered models, prompts, MCP servers and webhooks."""

import threading
import time

import mlflow
import pytest
from mlflow.exceptions import MlflowException


def model_registry(story):
    client = story.client
    experiment_id = story.experiment("model registry")
    run = client.create_run(experiment_id)
    client.log_text(run.info.run_id, "weights", "model/weights.txt")
    name = "whole model"
    client.create_registered_model(name, {"t": "u"}, "a model")
    source = run.info.artifact_uri + "/model"
    client.create_model_version(name, source, run.info.run_id, description="first")
    client.update_registered_model(name, "a better model")
    client.update_model_version(name, "1", "the first")
    client.set_registered_model_tag(name, "mine", "yes")
    client.delete_registered_model_tag(name, "mine")
    client.set_model_version_tag(name, "1", "mine", "yes")
    client.delete_model_version_tag(name, "1", "mine")
    client.set_registered_model_alias(name, "best", "1")
    assert client.get_model_version_by_alias(name, "best").version == "1"
    client.delete_registered_model_alias(name, "best")
    client.transition_model_version_stage(name, "1", "Staging")
    assert client.get_latest_versions(name, ["Staging"])[0].version == "1"
    assert "Staging" in client.get_model_version_stages(name, "1")
    assert client.get_model_version_download_uri(name, "1")
    assert client.get_model_version(name, "1").description == "the first"
    client.copy_model_version(f"models:/{name}/1", "whole copy")
    assert client.get_registered_model("whole copy").name == "whole copy"
    client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id)
    client.rename_registered_model(name, "whole model renamed")
    name = "whole model renamed"
    found = client.search_registered_models(f"name = '{name}'")
    assert [model.name for model in found] == [name]
    versions = client.search_model_versions(f"name = '{name}'")
    assert {version.version for version in versions} == {"1", "2"}
    client.delete_model_version(name, "2")
    client.delete_registered_model(name)


def prompts(story):
    client = story.client
    experiment_id = story.experiment("prompts")
    run_id = client.create_run(experiment_id).info.run_id
    name = "whole-prompt"
    client.create_prompt(name, "a prompt", {"t": "u"})
    client.create_prompt_version(name, "Hello {{who}}", "first")
    client.register_prompt(name, "Hi {{who}}", "second", {"v": "2"})
    assert client.parse_prompt_uri(f"prompts:/{name}/2") == (name, "2")
    assert client.get_prompt(name).name == name
    second = client.get_prompt_version(name, "2")
    assert second.template == "Hi {{who}}"
    client.set_prompt_tag(name, "mine", "yes")
    client.delete_prompt_tag(name, "mine")
    client.set_prompt_version_tag(name, "1", "mine", "yes")
    client.delete_prompt_version_tag(name, "1", "mine")
    client.set_prompt_alias(name, "best", 2)
    assert client.get_prompt_version_by_alias(name, "best").version == 2
    assert client.load_prompt(f"prompts:/{name}@best").version == 2
    client.delete_prompt_alias(name, "best")
    client.link_prompt_version_to_run(run_id, f"prompts:/{name}/2")
    client.list_logged_prompts(run_id)
    with pytest.raises(MlflowException, match="is not associated"):
        # The client links in one place and looks in another, gate or not.
        client.detach_prompt_from_run(run_id, f"prompts:/{name}/2")
    model = client.create_logged_model(experiment_id, "with-prompt")
    client.link_prompt_version_to_model(name, "2", model.model_id)
    span = client.start_trace("prompted", experiment_id=experiment_id)
    client.end_trace(span.trace_id)
    mlflow.flush_trace_async_logging()
    client.link_prompt_versions_to_trace([second], span.trace_id)
    time.sleep(0.5)  # the client links in the background
    assert [prompt.name for prompt in client.search_prompts(f"name = '{name}'")] == [name]
    assert len(client.search_prompt_versions(name)) == 2
    client.delete_prompt_version(name, "1")
    client.delete_prompt_version(name, "2")
    client.delete_prompt(name)


def genai_prompts(story):
    mlflow.set_experiment("whole genai prompts")
    name = "whole-genai-prompt"
    mlflow.genai.register_prompt(name, "Good {{time}}", commit_message="first")
    mlflow.genai.set_prompt_alias(name, "now", 1)
    with mlflow.start_run():
        assert mlflow.genai.load_prompt(f"prompts:/{name}@now").version == 1
    assert [prompt.name for prompt in mlflow.genai.search_prompts(f"name = '{name}'")] == [name]
    mlflow.genai.delete_prompt_alias(name, "now")
    for thread in threading.enumerate():
        if "link_prompt" in thread.name:
            thread.join(10)


def mcp_servers(story):
    client = story.client
    name = "org.example/whole"
    client.create_mcp_server(name, "a server")
    document = {"name": name, "version": "1.0.0", "description": "a server"}
    client.create_mcp_server_version(document, tools=[])
    client.update_mcp_server(name, description="a better server")
    client.update_mcp_server_version(name, "1.0.0", status="active")
    assert client.get_mcp_server(name).name == name
    assert client.get_mcp_server_version(name, "1.0.0").version == "1.0.0"
    assert client.get_latest_mcp_server_version(name).version == "1.0.0"
    client.set_mcp_server_alias(name, "best", "1.0.0")
    assert client.get_mcp_server_version_by_alias(name, "best").version == "1.0.0"
    client.set_mcp_server_tag(name, "mine", "yes")
    client.delete_mcp_server_tag(name, "mine")
    client.set_mcp_server_version_tag(name, "1.0.0", "mine", "yes")
    client.delete_mcp_server_version_tag(name, "1.0.0", "mine")
    assert [server.name for server in client.search_mcp_servers()] == [name]
    assert len(client.search_mcp_server_versions(name)) == 1
    endpoint = client.create_mcp_access_endpoint(
        name, "https://tools.example.org/mcp", server_version="1.0.0"
    )
    endpoint_id = endpoint.id
    client.update_mcp_access_endpoint(name, endpoint_id, url="https://tools.example.org/mcp2")
    assert client.get_mcp_access_endpoint(name, endpoint_id).server_name == name
    assert len(client.search_mcp_access_endpoints(name)) == 1
    client.delete_mcp_access_endpoint(name, endpoint_id)
    client.delete_mcp_server_alias(name, "best")
    client.update_mcp_server_version(name, "1.0.0", status="deprecated")
    client.delete_mcp_server_version(name, "1.0.0")
    client.delete_mcp_server(name)


def webhooks_by_an_admin(story):
    client = story.admin_client
    # An address of nobody's, for an event that does not happen here.
    hook = client.create_webhook("whole-hook", "https://192.88.99.1/", ["budget_policy.exceeded"])
    assert client.get_webhook(hook.webhook_id).name == "whole-hook"
    client.update_webhook(hook.webhook_id, description="a hook")
    assert hook.webhook_id in [hook.webhook_id for hook in client.list_webhooks()]
    client.delete_webhook(hook.webhook_id)


def housekeeping(story):
    assert story.client.get_workspace_store_uri()

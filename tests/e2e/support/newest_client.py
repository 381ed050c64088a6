"""A walk of MLflow's newest client, run by an interpreter that has it.

What it does is told in JSON on its output. It is no module of the tests: they run on another
MLflow.
"""

import json
import tempfile
from pathlib import Path

import mlflow
from mlflow.genai import pull, register_skill

SKILL = """---
name: reviewer
description: Reads what others wrote.
---
Read it twice.
"""

# With and without an organization.
SKILLS = [{"name": "reviewer", "organization": "acme"}, {"name": "reviewer"}]


def tracking(client, directory):
    experiment = client.create_experiment("newest")
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "loss", 0.5)
    client.log_text(run, "hello", "greeting.txt")
    client.set_terminated(run)
    found = client.search_runs([experiment], "metrics.loss < 1")
    local = client.download_artifacts(run, "greeting.txt", directory)
    return {
        "experiment": experiment,
        "run": run,
        "found": [run.info.run_id for run in found],
        "loss": found[0].data.metrics["loss"],
        "listed": [file.path for file in client.list_artifacts(run)],
        "downloaded": Path(local).read_text(),
        "searched": [e.name for e in client.search_experiments()],
    }


def registry(client, run):
    client.create_registered_model("newest-model", {"team": "reading"})
    version = client.create_model_version("newest-model", f"runs:/{run}/model", run)
    client.set_registered_model_alias("newest-model", "best", version.version)
    return {
        "models": [model.name for model in client.search_registered_models()],
        "best": client.get_model_version_by_alias("newest-model", "best").run_id,
        "versions": [v.run_id for v in client.search_model_versions("name = 'newest-model'")],
    }


def tracing(client, experiment):
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_span("root") as root, mlflow.start_span("child") as child:
        child.set_inputs({"question": "what?"})
    mlflow.flush_trace_async_logging()
    trace = client.get_trace(root.trace_id)
    found = client.search_traces(locations=[experiment], include_spans=False)
    return {
        "trace": root.trace_id,
        "spans": sorted(span.name for span in trace.data.spans),
        "traces": [trace.info.trace_id for trace in found],
    }


def skills(client, directory):
    source = Path(directory) / "source"
    source.mkdir()
    (source / "SKILL.md").write_text(SKILL)
    return [skill(client, source, Path(directory) / f"pulled-{n}", of) for n, of in enumerate(SKILLS)]


def skill(client, source, destination, of):
    client.create_skill(**of, description="reads")
    # The archive goes up with it.
    uploaded = register_skill(source=str(source), **of).version
    git = mlflow.entities.GitSource("https://git.example/reviewer.git", ref="main")
    linked = client.create_skill_version(**of, source=git).version
    client.update_skill(**of, description="reads twice")
    client.set_skill_tag(**of, key="team", value="reading")
    client.set_skill_alias(**of, alias="prod", version=uploaded)
    client.set_skill_version_tag(**of, version=linked, key="k", value="v")
    client.update_skill_version(**of, version=linked, status="deprecated")
    key = f"@{of['organization']}/{of['name']}" if "organization" in of else of["name"]
    pulled = pull(f"skills:/{key}/{uploaded}", destination=str(destination))
    found = client.get_skill(**of)
    told = {
        "description": found.description,
        "tags": found.tags,
        "prod": client.get_skill_version_by_alias(**of, alias="prod").version == uploaded,
        "versions": len(client.search_skill_versions(**of)),
        "found": sum(s.organization == found.organization for s in client.search_skills()),
        "pulled": (Path(pulled) / "SKILL.md").read_text() == SKILL,
    }
    client.delete_skill_version_tag(**of, version=linked, key="k")
    client.delete_skill_version(**of, version=linked)
    client.delete_skill_tag(**of, key="team")
    return told


def walk():
    client = mlflow.MlflowClient()
    with tempfile.TemporaryDirectory() as directory:
        told = {"version": mlflow.__version__, **tracking(client, directory)}
        told |= registry(client, told["run"]) | tracing(client, told["experiment"])
        return told | {"skills": skills(client, directory)}


if __name__ == "__main__":
    print(json.dumps(walk()))

"""One of each thing that MLflow's interface shows, made with the official client."""

from dataclasses import dataclass

import mlflow
import numpy
from mlflow.entities import AssessmentSource, LoggedModelOutput

from .client import acting_as


@dataclass
class Things:
    """What was made. Every name in it begins with `label`."""

    label: str
    experiment: str
    run: str
    logged_model: str
    trace: str
    dataset: str

    def name(self, what):
        return f"{self.label}-{what}"


def make(gate, credential, label):
    """Makes one of each as this user, through the gate."""
    with acting_as(gate, credential) as client:
        experiment = client.create_experiment(f"{label}-experiment")
        client.set_experiment_tag(experiment, "mlflow.experimentKind", "custom_model_development")
        mlflow.set_experiment(experiment_id=experiment)
        first = _run(client, experiment, f"{label}-run")
        _run(client, experiment, f"{label}-other-run")
        return Things(
            label,
            experiment,
            first,
            _models(client, experiment, first, label),
            _trace(experiment, first, label),
            _dataset(client, experiment, label),
        )


def _run(client, experiment, name):
    run = client.create_run(experiment, run_name=name).info.run_id
    client.log_param(run, "depth", 3)
    for step in range(5):
        client.log_metric(run, "loss", 1 / (step + 1), timestamp=1 + step, step=step)
    client.set_tag(run, "team", f"{name}-tag")
    client.log_text(run, f"{name} says hello", "hello.txt")
    client.log_dict(run, {"name": name}, "folder/inside.json")
    client.log_image(run, numpy.zeros((4, 4, 3), dtype=numpy.uint8), "image.png")
    client.set_terminated(run)
    return run


def _models(client, experiment, run, label):
    model = client.create_logged_model(experiment, f"{label}-logged-model", run)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    name = f"{label}-model"
    client.create_registered_model(name, description=f"{label}-model-description")
    source = client.get_run(run).info.artifact_uri + "/folder"
    client.create_model_version(name, source, run, description=f"{label}-version-description")
    client.set_registered_model_alias(name, "best", "1")
    client.register_prompt(f"{label}-prompt", f"{label} greets {{{{who}}}}", "first")
    client.register_prompt(f"{label}-prompt", f"{label} still greets {{{{who}}}}", "second")
    return model.model_id


def _trace(experiment, run, label):
    with mlflow.start_span(f"{label}-trace") as root:
        root.set_inputs({"question": f"{label}-question"})
        mlflow.update_current_trace(metadata={"mlflow.trace.session": f"{label}-session"})
        with mlflow.start_span(f"{label}-inner") as inner:
            inner.set_outputs({"answer": 42})
        root.set_outputs({"answer": f"{label}-answer"})
    mlflow.flush_trace_async_logging()
    human = AssessmentSource("HUMAN", "somebody")
    mlflow.log_feedback(trace_id=root.trace_id, name=f"{label}-feedback", value=True, source=human)
    return root.trace_id


def _dataset(client, experiment, label):
    dataset = client.create_dataset(f"{label}-dataset", experiment)
    dataset.merge_records([{"inputs": {"q": f"{label}-row"}, "expectations": {"a": "2"}}])
    return dataset.dataset_id

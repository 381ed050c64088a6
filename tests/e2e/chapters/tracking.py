"""Experiments, runs, their files, and logged models."""

import matplotlib.figure
import mlflow
import numpy
import pandas
from mlflow.entities import (
    Dataset,
    DatasetInput,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)


def experiments(story):
    client = story.client
    experiment_id = story.experiment("experiments")
    assert client.get_experiment(experiment_id).experiment_id == experiment_id
    assert client.get_experiment_by_name("whole experiments").experiment_id == experiment_id
    assert client.get_experiment_by_name("whole nothing") is None
    client.set_experiment_tag(experiment_id, "stage", "one")
    client.delete_experiment_tag(experiment_id, "stage")
    client.rename_experiment(experiment_id, "whole experiments renamed")
    found = client.search_experiments(filter_string="name LIKE 'whole experiments%'")
    assert [e.experiment_id for e in found] == [experiment_id]
    client.delete_experiment(experiment_id)
    client.restore_experiment(experiment_id)
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"


def runs(story):
    client = story.client
    experiment_id = story.experiment("runs")
    parent = client.create_run(experiment_id).info.run_id
    tags = {"mlflow.parentRunId": parent}
    run_id = client.create_run(experiment_id, tags=tags, run_name="child").info.run_id
    assert client.get_parent_run(run_id).info.run_id == parent
    client.log_param(run_id, "depth", 3)
    client.log_metric(run_id, "loss", 0.5, timestamp=1, step=1)
    client.log_batch(run_id, [Metric("loss", 0.4, 2, 2)], [Param("a", "b")], [RunTag("c", "d")])
    client.set_tag(run_id, "mine", "yes")
    client.delete_tag(run_id, "mine")
    dataset = Dataset("rows", "0123abcd", "local", "{}")
    client.log_inputs(run_id, [DatasetInput(dataset)])
    assert [m.value for m in client.get_metric_history(run_id, "loss")] == [0.5, 0.4]
    client.update_run(run_id, status="RUNNING", name="renamed")
    client.set_terminated(run_id)
    client.delete_run(run_id)
    client.restore_run(run_id)
    run = client.get_run(run_id)
    assert run.data.params == {"depth": "3", "a": "b"}
    assert run.inputs.dataset_inputs[0].dataset.name == "rows"
    found = client.search_runs([experiment_id], "params.depth = '3'", order_by=["metrics.loss"])
    assert [run.info.run_id for run in found] == [run_id]


def fluent_runs(story):
    mlflow.set_experiment("whole fluent runs")
    with mlflow.start_run(tags={"outer": "yes"}) as outer:
        mlflow.log_params({"a": 1})
        mlflow.log_metrics({"m": 1.0, "n": 2.0}, step=1)
        mlflow.set_tags({"t": "u"})
        mlflow.set_experiment_tag("about", "fluent")
        frame = pandas.DataFrame({"x": [1, 2]})
        mlflow.log_input(mlflow.data.from_pandas(frame, name="frame"), context="training")
        mlflow.log_table({"x": [1]}, "table.json")
        mlflow.log_text("hello", "hello.txt")
        with mlflow.start_run(nested=True):
            mlflow.log_metric("inner", 1.0, synchronous=False)
            mlflow.flush_async_logging()
    assert len(mlflow.search_runs(experiment_names=["whole fluent runs"])) == 2
    assert mlflow.last_active_run().info.run_id == outer.info.run_id
    assert mlflow.artifacts.load_text(outer.info.artifact_uri + "/hello.txt") == "hello"


def artifacts(story):
    client = story.client
    experiment_id = story.experiment("artifacts")
    run_id = client.create_run(experiment_id).info.run_id
    client.log_artifact(run_id, story.file("one file.txt"), "below")
    client.log_artifacts(run_id, story.folder("artifacts"), "folder")
    client.log_text(run_id, "text", "text ä+%.txt")
    client.log_dict(run_id, {"a": 1}, "dict.json")
    client.log_table(run_id, {"a": [1]}, "table.json")
    figure = matplotlib.figure.Figure()
    client.log_figure(run_id, figure, "figure.png")
    client.log_image(run_id, numpy.zeros((4, 4, 3), dtype=numpy.uint8), "image.png")
    client.log_image(run_id, numpy.zeros((4, 4, 3), dtype=numpy.uint8), key="eye", step=1)
    with open(story.file("streamed.txt"), "rb") as stream:
        client.log_stream(run_id, stream, "streamed.txt")
    mlflow.flush_async_logging()
    names = {file.path for file in client.list_artifacts(run_id)}
    assert {"below", "folder", "text ä+%.txt", "dict.json", "figure.png", "image.png"} <= names
    assert [f.path for f in client.list_artifacts(run_id, "below")] == ["below/one file.txt"]
    whole = client.download_artifacts(run_id, "", str(story.directory))
    assert open(whole + "/text ä+%.txt").read() == "text"
    assert list(client.load_table(experiment_id, "table.json")["a"]) == [1]


class Doubling(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2


def logged_models(story):
    client = story.client
    experiment_id = story.experiment("logged models")
    run_id = client.create_run(experiment_id).info.run_id
    model = client.create_logged_model(experiment_id, "net", run_id, {"t": "u"}, {"p": "q"})
    model_id = model.model_id
    client.log_model_params(model_id, {"later": "yes"})
    client.set_logged_model_tags(model_id, {"mine": "yes"})
    client.delete_logged_model_tag(model_id, "mine")
    client.log_model_artifact(model_id, story.file("weights.txt"))
    client.log_model_artifacts(model_id, story.folder("model"))
    assert {f.path for f in client.list_logged_model_artifacts(model_id)} >= {"weights.txt"}
    client.finalize_logged_model(model_id, "READY")
    client.log_metric(run_id, "loss", 0.1, model_id=model_id)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=1)])
    client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
    assert client.get_logged_model(model_id).params["later"] == "yes"
    found = client.search_logged_models([experiment_id], "name = 'net'")
    assert [model.model_id for model in found] == [model_id]
    client.delete_logged_model(model_id)

    mlflow.set_experiment("whole logged models")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="doubling",
            python_model=Doubling(),
            pip_requirements=["mlflow"],
            registered_model_name="whole doubling",
        )
    model = mlflow.pyfunc.load_model(info.model_uri)
    assert model.predict(numpy.array([2])).tolist() == [4]
    assert mlflow.pyfunc.load_model("models:/whole doubling/1").predict(numpy.array([3])) == [6]

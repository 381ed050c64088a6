"""Traces and what is made of them."""

import mlflow
from mlflow.entities import AssessmentSource


def traces(story):
    client = story.client
    experiment_id = story.experiment("traces")
    run_id = client.create_run(experiment_id).info.run_id
    root = client.start_trace("root", inputs={"x": 1}, tags={"t": "u"}, experiment_id=experiment_id)
    child = client.start_span("child", root.trace_id, root.span_id, inputs={"y": 2})
    client.end_span(root.trace_id, child.span_id, outputs={"z": 3})
    client.end_trace(root.trace_id, outputs={"done": True})
    mlflow.flush_trace_async_logging()
    trace_id = root.trace_id
    assert len(client.get_trace(trace_id).data.spans) == 2
    client.set_trace_tag(trace_id, "mine", "yes")
    client.delete_trace_tag(trace_id, "mine")
    client.link_traces_to_run([trace_id], run_id)
    assert [t.info.trace_id for t in client.search_traces([experiment_id])] == [trace_id]
    found = client.search_traces(locations=[experiment_id], run_id=run_id, include_spans=False)
    assert [trace.info.trace_id for trace in found] == [trace_id]
    assert client.delete_traces(experiment_id, trace_ids=[trace_id]) == 1


def fluent_traces(story):
    experiment = mlflow.set_experiment("whole fluent traces")

    @mlflow.trace
    def answer(question):
        with mlflow.start_span("inner") as span:
            span.set_attribute("length", len(question))
        mlflow.update_current_trace(tags={"asked": "yes"}, metadata={"mlflow.trace.session": "s"})
        return "42"

    with mlflow.start_run():
        answer("what?")
        mlflow.flush_trace_async_logging()
        trace_id = mlflow.get_last_active_trace_id()
    assert mlflow.get_trace(trace_id).info.tags["asked"] == "yes"
    mlflow.set_trace_tag(trace_id, "mine", "yes")
    mlflow.delete_trace_tag(trace_id, "mine")
    human = AssessmentSource("HUMAN", "somebody")
    feedback = mlflow.log_feedback(trace_id=trace_id, name="good", value=True, source=human)
    mlflow.log_expectation(trace_id=trace_id, name="wanted", value="42", source=human)
    mlflow.override_feedback(
        trace_id=trace_id, assessment_id=feedback.assessment_id, value=False, source=human
    )
    again = mlflow.log_feedback(trace_id=trace_id, name="short", value=1.0, source=human)
    again.value = 0.5
    mlflow.update_assessment(trace_id, again.assessment_id, again)
    assert mlflow.get_assessment(trace_id, again.assessment_id).name == "short"
    mlflow.delete_assessment(trace_id, again.assessment_id)
    frame = mlflow.search_traces(locations=[experiment.experiment_id])
    assert list(frame["trace_id"]) == [trace_id]
    assert len(mlflow.search_sessions(locations=[experiment.experiment_id])) == 1


def datasets(story):
    client = story.client
    first, second = story.experiment("datasets"), story.experiment("more datasets")
    dataset = client.create_dataset("whole rows", first, {"t": "u"})
    dataset_id = dataset.dataset_id
    dataset.merge_records([{"inputs": {"q": "1"}, "expectations": {"a": "2"}}])
    assert len(client.get_dataset(dataset_id).to_df()) == 1
    dataset.delete_records([dataset.to_df()["dataset_record_id"][0]])
    client.set_dataset_tags(dataset_id, {"mine": "yes"})
    client.delete_dataset_tag(dataset_id, "mine")
    client.add_dataset_to_experiments(dataset_id, [second])
    found = client.search_datasets([second])
    assert [dataset.dataset_id for dataset in found] == [dataset_id]
    client.remove_dataset_from_experiments(dataset_id, [second])
    client.delete_dataset(dataset_id)


def scorers(story):
    from mlflow.genai.scorers import Guidelines, delete_scorer, get_scorer, list_scorers

    experiment_id = mlflow.set_experiment("whole scorers").experiment_id
    scorer = Guidelines(name="polite", guidelines=["Be polite."], model="openai:/none")
    scorer.register(name="polite", experiment_id=experiment_id)
    assert [s.name for s in list_scorers(experiment_id=experiment_id)] == ["polite"]
    assert get_scorer(name="polite", experiment_id=experiment_id).name == "polite"
    delete_scorer(name="polite", experiment_id=experiment_id, version="all")


def evaluation(story):
    mlflow.set_experiment("whole evaluation")

    @mlflow.genai.scorer
    def short(outputs):
        return len(outputs) < 10

    result = mlflow.genai.evaluate(
        data=[{"inputs": {"question": "what?"}, "outputs": "42"}], scorers=[short]
    )
    assert result.metrics["short/mean"] == 1.0


def reviews(story):
    from mlflow.genai import label_schemas, review_queues
    from mlflow.genai.label_schemas import InputPassFail

    experiment_id = mlflow.set_experiment("whole reviews").experiment_id
    with mlflow.start_span("reviewed") as span:
        pass
    mlflow.flush_trace_async_logging()
    schema = label_schemas.create_label_schema(
        "fine", type="feedback", input=InputPassFail("yes", "no"), experiment_id=experiment_id
    )
    schema_id = schema.schema_id
    assert label_schemas.get_label_schema(schema_id=schema_id).name == "fine"
    assert len(label_schemas.list_label_schemas(experiment_id=experiment_id)) >= 1
    label_schemas.update_label_schema(schema_id=schema_id, instruction="look")
    queue = review_queues.create_review_queue(
        "whole queue",
        queue_type="custom",
        users=["client"],
        schema_ids=[schema_id],
        experiment_id=experiment_id,
    )
    queue_id = queue.queue_id
    assert review_queues.get_review_queue(queue_id=queue_id).name == "whole queue"
    assert len(review_queues.list_review_queues(experiment_id=experiment_id)) >= 1
    review_queues.update_review_queue(queue_id, users=["client", "somebody"])
    review_queues.add_items_to_review_queue(queue_id, item_ids=[span.trace_id])
    assert len(review_queues.list_review_queue_items(queue_id)) == 1
    review_queues.set_review_queue_item_status(
        queue_id, item_id=span.trace_id, status="complete", completed_by="client"
    )
    review_queues.remove_items_from_review_queue(queue_id, item_ids=[span.trace_id])
    review_queues.delete_review_queue(queue_id)
    label_schemas.delete_label_schema(schema_id=schema_id)

"""Scorers, evaluation datasets, issues, label schemas, review queues, jobs, prompt optimisation."""

import json

from .case import Case, Corpus

SERIALIZED_SCORER = json.dumps({
    "name": "Safety", "mlflow_version": "3.17.2", "serialization_version": 1,
    "builtin_scorer_class": "Safety", "builtin_scorer_pydantic_data": {},
})  # fmt: skip
# The server of the run has no job workers.
NO_JOBS = (400, 404, 500, 501)


def scorers() -> list[Case]:
    c = Corpus("scorer", "experiment", "scorer", "scorer_version")
    base = "/3.0/mlflow/scorers/"
    one = {"experiment_id": "$exp", "name": "$scorer"}
    c.post(base + "register", {"experiment_id": "$exp", "name": "new-$unique", "serialized_scorer": SERIALIZED_SCORER}, restore=True)
    c.post(base + "register", one | {"serialized_scorer": SERIALIZED_SCORER}, restore=True, label="next version")
    c.get(base + "get", one, visible=True)
    c.get(base + "get", one | {"version": "1"}, label="of a version", visible=True)
    c.get(base + "versions", one, visible=True)
    c.get(base + "list", {"experiment_id": "$exp"}, visible=True)
    c.get(base + "list", {"experiment_ids": "$exp"}, label="experiment_ids", visible=True)
    # Guardrails use the scorer, so that it stays; the decision comes first.
    c.delete(base + "delete", one, restore=True, expect=400)
    c.delete(base + "delete", one | {"version": 1}, restore=True, expect=400, label="of a version")
    config = one | {"sample_rate": 0.5}
    c.add("PUT", base + "online-config", json=config, restore=True, expect=NO_JOBS)
    c.get(base + "online-configs", {"scorer_ids": "$scorer_id"})
    invoke = {"experiment_id": "$exp", "serialized_scorer": SERIALIZED_SCORER, "trace_ids": ["$trace"]}
    tiers = ("experiment", "trace", "assessment", "scorer", "scorer_version")
    job = {"only": "ajax-api", "expect": NO_JOBS, "tiers": tiers, "restore": True}
    c.post("/3.0/mlflow/scorer/invoke", invoke, **job)
    c.post("/3.0/mlflow/scorer/invoke", invoke | {"log_assessments": True}, label="logs assessments", **job)
    c.post("/3.0/mlflow/scorer/invoke", {
        "experiment_id": "$exp", "scorer_name": "$scorer", "scorer_version": 1, "trace_ids": ["$trace"],
    }, label="registered", **job)  # fmt: skip
    return c.cases


def datasets() -> list[Case]:
    c = Corpus("dataset", "experiment")
    base = "/3.0/mlflow/datasets/"
    one = base + "{dataset_id}"
    records = json.dumps([{"inputs": {"question": "how"}}]).replace("$", "$$")
    c.post(base + "create", {"name": "new-$unique", "experiment_ids": ["$exp"]}, restore=True)
    c.post(base + "create", {"name": "new-$unique", "experiment_ids": ["$a_exp", "$b_exp"]}, restore=True, label="two experiments")
    c.get(base + "search", {"experiment_ids": "$exp"}, visible=True)
    c.get(base + "search", (("experiment_ids", "$a_exp"), ("experiment_ids", "$b_exp")), label="two experiments")
    c.post(base + "search", {"experiment_ids": ["$exp"]}, visible=True)
    c.get(one, visible=True)
    c.get(one, at={"dataset_id": "d-" + "0" * 32}, label="absent", expect=404)
    c.delete(one, restore=True)
    c.post(one + "/add-experiments", {"dataset_id": "$dataset", "experiment_ids": ["$exp"]}, restore=True)
    c.post(one + "/add-experiments", {"dataset_id": "$dataset", "experiment_ids": ["$b_exp"]}, restore=True, label="foreign experiment")
    c.get(one + "/experiment-ids", visible=True)
    c.get(one + "/records", visible=True)
    c.post(one + "/records", {"dataset_id": "$dataset", "records": records}, restore=True)
    c.delete(one + "/records", {"dataset_id": "$dataset", "dataset_record_ids": ["dr-" + "0" * 32]}, expect=404)
    c.post(one + "/remove-experiments", {"dataset_id": "$dataset", "experiment_ids": ["$exp"]}, restore=True)
    c.patch(one + "/tags", {"dataset_id": "$dataset", "tags": '{"k": "v"}'})
    c.delete(one + "/tags/{key}", at={"key": "k"})
    return c.cases


def issues() -> list[Case]:
    c = Corpus("issue", "experiment")
    base = "/3.0/mlflow/issues"
    c.post(base, {"experiment_id": "$exp", "name": "n", "description": "d"})
    c.get(base + "/{issue_id}", visible=True)
    c.get(base + "/{issue_id}", at={"issue_id": "iss-" + "0" * 32}, label="absent", expect=404)
    c.patch(base + "/{issue_id}", {"issue_id": "$issue", "description": "d"})
    c.post(base + "/search", {"experiment_id": "$exp"}, visible=True)
    c.post(base + "/search", {"experiment_id": "$exp", "filter_string": "source_run_id = '$run'"}, label="filter names a run", tiers=("experiment", "run"))
    return c.cases


def label_schemas() -> list[Case]:
    c = Corpus("label-schema", "experiment")
    base = "/3.0/mlflow/label-schemas/"
    one = {"schema_id": "$schema"}
    new = {
        "experiment_id": "$exp", "name": "new-$unique", "type": "FEEDBACK",
        "input": {"pass_fail": {"positive_label": "y", "negative_label": "n"}},
    }  # fmt: skip
    c.post(base + "create", new, restore=True)
    c.get(base + "get", one, visible=True)
    c.get(base + "get-by-name", {"experiment_id": "$exp", "name": "schema"}, visible=True)
    c.get(base + "list", {"experiment_id": "$exp"}, visible=True)
    c.patch(base + "update", one | {"instruction": "i"})
    c.delete(base + "delete", one, restore=True)
    return c.cases


def review_queues() -> list[Case]:
    c = Corpus("review-queue", "experiment", "review_queue")
    base = "/3.0/mlflow/review-queues/"
    one = {"queue_id": "$queue"}
    c.post(base + "create", {"experiment_id": "$exp", "name": "new-$unique", "queue_type": "CUSTOM"}, restore=True)
    c.get(base + "get", one, visible=True)
    c.get(base + "get-by-name", {"experiment_id": "$exp", "name": "queue"}, visible=True)
    c.post(base + "get-or-create-user", {"experiment_id": "$exp", "user": "assigned"}, restore=True)
    c.get(base + "list", {"experiment_id": "$exp"}, visible=True)
    c.post(base + "update", one | {"name": "queue"})
    c.post(base + "update", one | {"new_owner": "somebody"}, restore=True, label="new owner")
    items = one | {"item_type": "TRACE", "item_ids": ["$trace2"]}
    c.post(base + "items/add", items, restore=True, tiers=("experiment", "review_queue", "trace"))
    c.get(base + "items/list", one, visible=True)
    c.post(base + "items/set-status", one | {"item_id": "$trace", "status": "COMPLETE"}, restore=True)
    review = one | {"item_id": "$trace", "status": "COMPLETE", "completed_by": "somebody"}
    c.post(base + "items/set-status", review, restore=True, label="in another's name")
    authored = {"queue_id": "$authored_queue"}
    for label, queue in (("", one), ("by its author", authored)):
        c.post(base + "items/remove", queue | {"item_ids": ["$trace"]}, restore=True, label=label)
        c.post(base + "delete", queue, restore=True, label=label)
    return c.cases


def jobs() -> list[Case]:
    c = Corpus("job", "experiment")
    ajax = {"only": "ajax-api", "expect": NO_JOBS}
    c.get("/3.0/mlflow/jobs/{job_id}", **ajax)
    c.patch("/3.0/mlflow/jobs/cancel/{job_id}", **ajax)
    c.post("/3.0/jobs/", {"job_name": "invoke_scorer_job", "params": {"experiment_id": "$exp"}}, **ajax)
    c.post("/3.0/jobs/search", {}, visible=True, **ajax)
    c.get("/3.0/jobs/{job_id}", **ajax)
    c.patch("/3.0/jobs/cancel/{job_id}", **ajax)
    detect = {"experiment_id": "$exp", "trace_ids": ["$trace"], "categories": ["x"], "provider": "openai", "model": "m"}
    more = ajax | {"tiers": ("experiment", "run", "gateway_secret"), "restore": True}
    c.post("/3.0/mlflow/issues/invoke", detect, **more)
    c.post("/3.0/mlflow/issues/invoke", detect | {"secret_id": "$secret"}, label="secret", **more)
    evaluate = {"experiment_id": "$exp", "trace_ids": ["$trace"], "serialized_scorers": [SERIALIZED_SCORER]}
    c.post("/3.0/mlflow/genai/evaluate/invoke", evaluate, **more)
    stored = evaluate | {"serialized_scorers": [json.dumps({"name": "$scorer"})], "scorer_versions": [1]}
    more["tiers"] = ("experiment", "run", "scorer", "scorer_version")
    c.post("/3.0/mlflow/genai/evaluate/invoke", stored, label="registered", **more)
    return c.cases


def prompt_optimization() -> list[Case]:
    c = Corpus("prompt-optimization-job", "experiment")
    base = "/3.0/mlflow/prompt-optimization/jobs"
    one = base + "/{job_id}"
    at = {"job_id": "$optimization_job"}
    create = {
        "experiment_id": "$exp", "source_prompt_uri": "prompts:/$prompt/1",
        "config": {"optimizer_type": "OPTIMIZER_TYPE_METAPROMPT", "scorers": ["$scorer"]},
    }  # fmt: skip
    tiers = ("experiment", "run", "prompt", "prompt_version", "scorer", "scorer_version")
    c.post(base, create, tiers=tiers, restore=True, expect=NO_JOBS)
    c.get(one, at=at, expect=NO_JOBS)
    c.delete(one, at=at, restore=True, expect=NO_JOBS)
    c.post(one + "/cancel", at=at, expect=NO_JOBS)
    c.get(base + "/search", {"experiment_id": "$exp"}, expect=NO_JOBS)
    c.post(base + "/search", {"experiment_id": "$exp"}, expect=NO_JOBS)
    return c.cases


def cases() -> list[Case]:
    return (
        scorers() + datasets() + issues() + label_schemas() + review_queues() + jobs() + prompt_optimization()
    )

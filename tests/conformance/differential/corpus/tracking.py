"""Experiments, runs, metrics, logged models, artifacts."""

from .case import Case, Corpus

EXPERIMENT_TIERS = (
    "experiment", "run", "trace", "logged_model", "assessment", "review_queue", "scorer", "scorer_version",
)  # fmt: skip


def experiments() -> list[Case]:
    c = Corpus("experiment", "experiment")
    v2 = "/2.0/mlflow/experiments/"
    exp = {"experiment_id": "$exp"}
    c.post(v2 + "create", {"name": "new-$unique"}, tiers=("experiment", "workspace"), restore=True)
    c.post(v2 + "delete", exp, tiers=EXPERIMENT_TIERS, restore=True)
    c.post(v2 + "restore", exp, tiers=EXPERIMENT_TIERS, restore=True, expect=(400, 404))
    c.post(v2 + "set-experiment-tag", exp | {"key": "k", "value": "v"})
    c.post(v2 + "delete-experiment-tag", exp | {"key": "t"}, expect=404)
    c.post(v2 + "update", exp | {"new_name": "$exp_name"}, expect=400)
    c.get(v2 + "get", exp, visible=True)
    c.get(v2 + "get-by-name", {"experiment_name": "$exp_name"}, visible=True)
    c.get(v2 + "search", {"max_results": "100"}, tiers=("experiment", "workspace"), visible=True)
    c.post(v2 + "search", {"max_results": 100}, tiers=("experiment", "workspace"), visible=True)
    c.post(v2 + "search", {"max_results": 1}, tiers=("experiment",), visible=True, label="short page")
    c.get("/2.0/mlflow/experiments/get", {"experiment_id": "999999"}, label="absent", expect=404)
    c.post("/2.0mlflow/experiments/search-datasets", {"experiment_ids": ["$exp"]}, only="api", expect=404)
    c.post("/2.0mlflow/experiments/search-datasets", {"experiment_ids": ["$exp"]}, only="ajax-api", expect=404)
    c.post(v2 + "search-datasets", {"experiment_ids": ["$exp"]}, only="ajax-api")
    c.post(v2 + "search-datasets", {"experiment_ids": ["$a_exp", "$b_exp"]}, only="ajax-api", label="two experiments")
    return c.cases


def runs() -> list[Case]:
    c = Corpus("run", "experiment", "run")
    v2 = "/2.0/mlflow/runs/"
    run = {"run_id": "$run"}
    both = {"run_id": "$run", "run_uuid": "$run"}
    model = ("experiment", "run", "logged_model")
    metric = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}
    dataset = {"name": "d", "digest": "x", "source_type": "local", "source": "/x"}
    c.post(v2 + "create", {"experiment_id": "$exp", "start_time": 1})
    c.post(v2 + "create-promptlab-run", {
        "experiment_id": "$exp", "prompt_template": "t", "prompt_parameters": [], "model_route": "r",
        "model_parameters": [], "model_input": "i", "model_output": "o",
        "model_output_parameters": [], "mlflow_version": "3",
    }, only="ajax-api", expect=(400, 500))  # fmt: skip
    c.post(v2 + "delete", run, restore=True)
    c.post(v2 + "restore", run)
    c.post(v2 + "delete-tag", run | {"key": "t"}, restore=True)
    c.get(v2 + "get", run, visible=True)
    c.get(v2 + "get", both, label="run_id and run_uuid", visible=True)
    c.get(v2 + "get", {"run_uuid": "$run"}, label="run_uuid", visible=True)
    c.get(v2 + "get", {"run_id": "0" * 32}, label="absent", expect=404)
    c.post(v2 + "log-batch", run | {"metrics": [metric], "params": [], "tags": [{"key": "k", "value": "v"}]})
    c.post(v2 + "log-batch", run | {"metrics": [metric | {"model_id": "$model"}]}, label="model_id", tiers=model, restore=True)
    c.post(v2 + "log-batch", run | {"metrics": [metric | {"model_id": "$b_model"}]}, label="foreign model_id", tiers=model, restore=True)
    c.post(v2 + "log-inputs", run | {"datasets": [{"dataset": dataset}]})
    c.post(v2 + "log-inputs", run | {"models": [{"model_id": "$model"}]}, label="model_id", tiers=model, restore=True)
    c.post(v2 + "log-inputs", run | {"models": [{"model_id": "$b_model"}]}, label="foreign model_id", tiers=model, restore=True)
    c.post(v2 + "log-metric", both | metric)
    c.post(v2 + "log-metric", run | metric | {"model_id": "$model"}, label="model_id", tiers=model, restore=True)
    c.post(v2 + "log-metric", run | metric | {"model_id": "$b_model"}, label="foreign model_id", tiers=model, restore=True)
    c.post(v2 + "log-model", run | {"model_json": '{"artifact_path": "m", "utc_time_created": "2025-01-01", "flavors": {}}'}, expect=400)
    c.post(v2 + "log-parameter", both | {"key": "p", "value": "1"})
    c.post(v2 + "outputs", run | {"models": [{"model_id": "$model", "step": 0}]}, tiers=model, expect=400, restore=True)
    c.post(v2 + "outputs", run | {"models": [{"model_id": "$b_model", "step": 0}]}, label="foreign model_id", tiers=model, expect=400, restore=True)
    c.post(v2 + "search", {"experiment_ids": ["$exp"]}, tiers=("experiment", "run", "workspace"), visible=True)
    c.post(v2 + "search", {"experiment_ids": ["$a_exp", "$b_exp"]}, label="two experiments", visible=True)
    c.post(v2 + "set-tag", both | {"key": "k", "value": "v"})
    c.post(v2 + "update", both | {"run_name": "run"})
    metrics = "/2.0/mlflow/metrics/"
    c.get(metrics + "get-history", both | {"metric_key": "m"}, visible=True)
    c.get(metrics + "get-history-bulk", {"run_id": "$run", "metric_key": "m"}, only="ajax-api", visible=True)
    c.get(metrics + "get-history-bulk", (("run_id", "$a_run"), ("run_id", "$b_run"), ("metric_key", "m")), only="ajax-api", label="two runs")
    c.get(metrics + "get-history-bulk-interval", {"run_ids": "$run", "metric_key": "m"}, visible=True)
    c.get(metrics + "get-history-bulk-interval", (("run_ids", "$a_run"), ("run_ids", "$b_run"), ("metric_key", "m")), label="two runs")
    c.get("/2.0/mlflow/artifacts/list", run, visible=True)
    c.get("/2.0/mlflow/artifacts/list", both, label="run_id and run_uuid")
    c.post("/2.0/mlflow/artifacts/presigned-download-url", run | {"path": "a.txt"}, expect=(400, 501))
    c.post("/2.0/mlflow/artifacts/presigned-upload-url", run | {"path": "a.txt"}, expect=(400, 501))
    c.post("/2.0/mlflow/artifacts/presigned-upload-url", {"model_id": "$model", "path": "a.txt"}, label="model_id", tiers=model, expect=(400, 501))
    c.get("/get-artifact", {"run_id": "$run", "path": "a.txt"})
    c.get("/get-artifact", {"run_uuid": "$run", "path": "a.txt"}, label="run_uuid")
    upload = {"only": "ajax-api", "raw": b"x", "headers": {"Content-Type": "application/octet-stream"}}
    c.post("/2.0/mlflow/upload-artifact", query=(("run_uuid", "$run"), ("path", "u.txt")), **upload)
    c.post("/2.0/mlflow/upload-artifact", query=(("run_id", "$run"), ("run_uuid", "$run"), ("path", "u.txt")), label="run_id and run_uuid", **upload)
    return c.cases


def logged_models() -> list[Case]:
    c = Corpus("logged-model", "experiment", "logged_model")
    base = "/2.0/mlflow/logged-models"
    one = base + "/{model_id}"
    c.post(base, {"experiment_id": "$exp", "name": "n"})
    c.post(base, {"experiment_id": "$exp", "name": "n", "source_run_id": "$run"}, label="source run", tiers=("experiment", "run", "logged_model"))
    c.post(base, {"experiment_id": "$exp", "name": "n", "source_run_id": "$b_run"}, label="foreign source run")
    c.get(one, visible=True)
    c.get(one, at={"model_id": "m-" + "0" * 32}, label="absent", expect=404)
    c.patch(one, {"model_id": "$model", "status": "LOGGED_MODEL_READY"})
    c.delete(one, restore=True)
    c.get(one + "/artifacts/directories", visible=True)
    c.get(one + "/artifacts/files", {"artifact_file_path": "MLmodel"}, only="ajax-api")
    c.post(one + "/params", {"model_id": "$model", "params": [{"key": "k", "value": "v"}]}, restore=True)
    c.patch(one + "/tags", {"tags": [{"key": "t", "value": "1"}]})
    c.delete(one + "/tags/{tag_key}", restore=True)
    c.post(base + "/search", {"experiment_ids": ["$exp"]}, tiers=("experiment", "logged_model", "run", "workspace"), visible=True)
    c.post(base + "/search", {"experiment_ids": ["$a_exp", "$b_exp"]}, label="two experiments", visible=True)
    c.post(base + "/search", {"experiment_ids": ["$exp"], "filter": "source_run_id = '$run'"}, label="filter names a run", tiers=("experiment", "run"), visible=True)
    return c.cases


def artifacts() -> list[Case]:
    c = Corpus("artifact-proxy", "experiment", "run", "logged_model", "trace")
    base = "/2.0/mlflow-artifacts/"
    one = base + "artifacts/{artifact_path:path}"
    places = {
        "run": "$exp/$run/artifacts/a.txt",
        "logged model": "$exp/models/$model/artifacts/MLmodel",
        "trace": "$exp/traces/$trace/artifacts/traces.json",
        "experiment root": "$exp/root.txt",
    }
    octets = {"Content-Type": "application/octet-stream"}
    for label, path in places.items():
        at = {"artifact_path": path}
        parent = path.rsplit("/", 1)[0]
        c.get(one, at=at, label=label)
        c.add("PUT", one, at=at, raw=b"new", headers=octets, label=label, restore=True)
        c.delete(one, at=at, label=label, restore=True)
        c.get(base + "artifacts", {"path": parent}, label=label, visible=True)
        for step, body in (
            ("create", {"path": "a.bin", "num_parts": 1}),
            ("complete", {"path": "a.bin", "upload_id": "u", "parts": []}),
            ("abort", {"path": "a.bin", "upload_id": "u"}),
        ):
            c.post(base + f"mpu/{step}/{{artifact_path:path}}", body, at={"artifact_path": parent}, label=label, expect=(400, 500, 501))
        c.get(base + "presigned/{artifact_path:path}", at=at, label=label, expect=(400, 404, 500, 501))
    c.get(base + "artifacts", label="destination root", visible=True)
    c.delete(one, at={"artifact_path": "$exp"}, label="whole experiment", restore=True)
    c.delete(one, at={"artifact_path": "$exp/$run"}, label="whole run", restore=True)
    c.get(one, at={"artifact_path": "elsewhere/a.txt"}, label="no experiment", expect=(404, 500))
    c.add("PUT", one, at={"artifact_path": "elsewhere/a.txt"}, raw=b"new", headers=octets, label="no experiment", restore=True)
    return c.cases


def cases() -> list[Case]:
    return experiments() + runs() + logged_models() + artifacts()

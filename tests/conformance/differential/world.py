"""The objects that the requests of the corpus are about.

They are made once, through an MLflow without auth; the directory with its database and artifacts
is then copied for every server of the run, so that ids are the same everywhere. There are two
worlds of the same shape: grants are given on the objects of world A, while those of world B
belong to somebody else.
"""

import json
import sqlite3
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from .processes import free_port, start_mlflow

SPAN_KIND_INTERNAL = 1


class Api:
    """JSON calls to an MLflow without auth; whatever fails is an error of the fixture."""

    def __init__(self, base: str):
        self.base = base

    def call(self, method: str, path: str, body: object = None, raw: bytes | None = None, **headers: str):
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from error
        return json.loads(answer) if answer[:1] in b"{[" and answer else answer

    def v2(self, method: str, path: str, body: object = None):
        return self.call(method, "/api/2.0/mlflow/" + path, body)

    def v3(self, method: str, path: str, body: object = None):
        return self.call(method, "/api/3.0/mlflow/" + path, body)


def create_tracking(api: Api, letter: str) -> dict[str, str]:
    exp_name = f"experiment-{letter}"
    exp = api.v2("POST", "experiments/create", {"name": exp_name})["experiment_id"]
    ids = {"exp": exp, "exp_name": exp_name}
    now = int(time.time() * 1000)
    for key in ("run", "run2"):
        run = api.v2("POST", "runs/create", {"experiment_id": exp, "run_name": key, "start_time": now})
        ids[key] = run["run"]["info"]["run_id"]
        batch = {
            "run_id": ids[key],
            "metrics": [{"key": "m", "value": 1.0, "timestamp": now, "step": step} for step in range(3)],
            "params": [{"key": "p", "value": "1"}],
            "tags": [{"key": "t", "value": "1"}],
        }
        api.v2("POST", "runs/log-batch", batch)
    api.v2("POST", "experiments/set-experiment-tag", {"experiment_id": exp, "key": "t", "value": "1"})
    model = api.v2("POST", "logged-models", {
        "experiment_id": exp, "name": "m", "source_run_id": ids["run"],
        "tags": [{"key": "t", "value": "1"}],
    })["model"]["info"]["model_id"]  # fmt: skip
    api.v2("PATCH", f"logged-models/{model}", {"model_id": model, "status": "LOGGED_MODEL_READY"})
    ids["model"] = model
    for path in (
        "root.txt",
        f"{ids['run']}/artifacts/a.txt",
        f"models/{model}/artifacts/MLmodel",
    ):
        api.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{exp}/{path}", raw=b"artifact of " + letter.encode())
    return ids


def create_traces(api: Api, exp: str) -> dict[str, str]:
    ids = {}
    for key in ("trace", "trace2"):
        ids[key] = "tr-" + uuid.uuid4().hex
        info = {
            "trace_id": ids[key],
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": exp}},
            "request_time": "2025-01-01T00:00:00Z",
            "execution_duration": "1s",
            "state": "OK",
            "tags": {"t": "1"},
        }
        api.v3("POST", "traces", {"trace": {"trace_info": info}})
        otlp = {"resourceSpans": [{"scopeSpans": [{"spans": [{
            "traceId": ids[key].removeprefix("tr-"), "spanId": uuid.uuid4().hex[:16], "name": "root",
            "kind": SPAN_KIND_INTERNAL, "startTimeUnixNano": "1735689600000000000",
            "endTimeUnixNano": "1735689601000000000",
        }]}]}]}  # fmt: skip
        api.call("POST", "/v1/traces", otlp, **{"X-Mlflow-Experiment-Id": exp})
        artifact = f"/api/2.0/mlflow-artifacts/artifacts/{exp}/traces/{ids[key]}/artifacts/traces.json"
        api.call("PUT", artifact, raw=b'{"spans": []}')
    ids["trace_hex"] = ids["trace"].removeprefix("tr-")
    ids["trace_v2"] = api.v2("POST", "traces", {"experiment_id": exp, "timestamp_ms": 1})["trace_info"]["request_id"]
    assessment = {
        "assessment_name": "good", "trace_id": ids["trace"],
        "source": {"source_type": "HUMAN", "source_id": "somebody"},
        "feedback": {"value": True},
    }  # fmt: skip
    created = api.v3("POST", f"traces/{ids['trace']}/assessments", {"assessment": assessment})
    ids["assessment"] = created["assessment"]["assessment_id"]
    return ids


def create_registry(api: Api, letter: str, ids: dict[str, str]) -> dict[str, str]:
    source = f"mlflow-artifacts:/{ids['exp']}/{ids['run']}/artifacts"
    names = {"rm": f"model-{letter}", "prompt": f"prompt-{letter}"}
    prompt_tag = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    api.v2("POST", "registered-models/create", {"name": names["rm"], "tags": [{"key": "t", "value": "1"}]})
    api.v2("POST", "registered-models/create", {"name": names["prompt"], "tags": [prompt_tag, {"key": "t", "value": "1"}]})
    for _ in range(2):
        api.v2("POST", "model-versions/create", {
            "name": names["rm"], "source": source, "run_id": ids["run"], "tags": [{"key": "t", "value": "1"}],
        })  # fmt: skip
        api.v2("POST", "model-versions/create", {
            "name": names["prompt"], "source": "dummy-source",
            "tags": [prompt_tag, {"key": "mlflow.prompt.text", "value": "hello"}, {"key": "t", "value": "1"}],
        })  # fmt: skip
    for name in names.values():
        api.v2("POST", "registered-models/alias", {"name": name, "alias": "champ", "version": "1"})
    return names


def create_genai(api: Api, letter: str, ids: dict[str, str]) -> dict[str, str]:
    exp = ids["exp"]
    scorer = {
        "name": "Safety", "mlflow_version": "3.17.2", "serialization_version": 1,
        "builtin_scorer_class": "Safety", "builtin_scorer_pydantic_data": {},
    }  # fmt: skip
    made = {"scorer": f"scorer-{letter}"}
    for _ in range(2):
        registered = api.v3("POST", "scorers/register", {
            "experiment_id": exp, "name": made["scorer"], "serialized_scorer": json.dumps(scorer),
        })  # fmt: skip
    made["scorer_id"] = registered["scorer_id"]
    # As grants spell it.
    made["scorer_key"] = f"{exp}/{made['scorer']}"
    dataset = api.v3("POST", "datasets/create", {"name": f"dataset-{letter}", "experiment_ids": [exp]})
    made["dataset"] = dataset["dataset"]["dataset_id"]
    records = json.dumps([{"inputs": {"question": "why"}}])
    api.v3("POST", f"datasets/{made['dataset']}/records", {"dataset_id": made["dataset"], "records": records})
    issue = api.v3("POST", "issues", {"experiment_id": exp, "name": "issue", "description": "broken"})
    made["issue"] = issue["issue"]["issue_id"]
    schema = api.v3("POST", "label-schemas/create", {
        "experiment_id": exp, "name": "schema", "type": "FEEDBACK",
        "input": {"pass_fail": {"positive_label": "yes", "negative_label": "no"}},
    })  # fmt: skip
    made["schema"] = schema["label_schema"]["schema_id"]
    queue = api.v3("POST", "review-queues/create", {
        "experiment_id": exp, "name": "queue", "queue_type": "CUSTOM",
        "users": ["assigned", "assigned-denied"], "schema_ids": [made["schema"]],
    })  # fmt: skip
    made["queue"] = queue["review_queue"]["queue_id"]
    api.v3("POST", "review-queues/items/add", {
        "queue_id": made["queue"], "item_type": "TRACE", "item_ids": [ids["trace"]],
    })  # fmt: skip
    authored = api.v3("POST", "review-queues/create", {
        "experiment_id": exp, "name": "authored", "queue_type": "CUSTOM",
    })  # fmt: skip
    made["authored_queue"] = authored["review_queue"]["queue_id"]
    api.v3("POST", "review-queues/update", {"queue_id": made["authored_queue"], "new_owner": "author"})
    return made


def create_gateway(api: Api, letter: str, ids: dict[str, str]) -> dict[str, str]:
    secret = api.v3("POST", "gateway/secrets/create", {
        "secret_name": f"secret-{letter}", "secret_value": {"api_key": "sk-fixture"}, "provider": "openai",
    })["secret"]["secret_id"]  # fmt: skip
    made = {"secret": secret, "secret_name": f"secret-{letter}", "endpoint_name": f"endpoint-{letter}"}
    for key in ("definition", "definition2"):
        made[key] = api.v3("POST", "gateway/model-definitions/create", {
            "name": f"{key}-{letter}", "secret_id": secret, "provider": "openai", "model_name": "gpt-4o-mini",
        })["model_definition"]["model_definition_id"]  # fmt: skip
    endpoint = api.v3("POST", "gateway/endpoints/create", {
        "name": made["endpoint_name"],
        "model_configs": [{"model_definition_id": made["definition"], "linkage_type": "PRIMARY", "weight": 1.0}],
        "experiment_id": ids["exp"], "usage_tracking": True,
    })  # fmt: skip
    made["endpoint"] = endpoint["endpoint"]["endpoint_id"]
    api.v3("POST", "gateway/endpoints/set-tag", {"endpoint_id": made["endpoint"], "key": "t", "value": "1"})
    api.v3("POST", "gateway/endpoints/bindings/create", {
        "endpoint_id": made["endpoint"], "resource_type": "scorer", "resource_id": ids["scorer_id"],
    })  # fmt: skip
    guardrail = api.v3("POST", "gateway/guardrails/create", {
        "name": f"guardrail-{letter}", "scorer_id": ids["scorer_id"], "scorer_version": 1,
        "stage": "BEFORE", "action": "VALIDATION",
    })  # fmt: skip
    made["guardrail"] = guardrail["guardrail"]["guardrail_id"]
    api.v3("POST", "gateway/guardrails/add-to-endpoint", {
        "endpoint_id": made["endpoint"], "guardrail_id": made["guardrail"], "execution_order": 1,
    })  # fmt: skip
    return made


def create_mcp(api: Api, letter: str) -> dict[str, str]:
    name = f"com.example/server-{letter}"
    api.v3("POST", "mcp-servers", {"name": name})
    server = {"name": name, "version": "1.0.0", "description": "fixture"}
    api.v3("POST", f"mcp-servers/{name}/versions", {"server_json": server, "status": "active"})
    api.v3("POST", f"mcp-servers/{name}/versions/1.0.0/tags", {"key": "t", "value": "1"})
    api.v3("POST", f"mcp-servers/{name}/tags", {"key": "t", "value": "1"})
    api.v3("POST", f"mcp-servers/{name}/aliases", {"alias": "champ", "version": "1.0.0"})
    endpoint = api.v3("POST", f"mcp-servers/{name}/endpoints", {
        "url": f"https://mcp.example.com/{letter}", "server_version": "1.0.0",
    })  # fmt: skip
    return {"mcp": name, "mcp_endpoint": endpoint["id"]}


def create_shared(api: Api) -> dict[str, str]:
    webhook = api.v2("POST", "webhooks", {
        "name": "webhook", "url": "https://127.0.0.1:9/hook", "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
    })  # fmt: skip
    budget = api.v3("POST", "gateway/budgets/create", {
        "budget_unit": "USD", "budget_amount": 10, "duration": {"unit": "DAYS", "value": 1},
        "target_scope": "GLOBAL", "budget_action": "ALERT",
    })  # fmt: skip
    return {
        "webhook": webhook["webhook"]["webhook_id"],
        "budget": budget["budget_policy"]["budget_policy_id"],
    }


def insert_job(database: Path, name: str, params: dict[str, str]) -> str:
    """A finished job; the job machinery itself would need worker processes."""
    job = str(uuid.uuid4())
    with sqlite3.connect(database) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
        row = {
            "id": job, "creation_time": 1, "job_name": name, "params": json.dumps(params), "status": 3,
            "result": "null", "retry_count": 0, "last_update_time": 1, "creator": "creator", "workspace": "default",
        }  # fmt: skip
        row = {key: value for key, value in row.items() if key in columns}
        places = ", ".join("?" for _ in row)
        connection.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", list(row.values()))
    return job


def build(data: Path) -> dict[str, dict[str, str]]:
    """Make both worlds in `data` and write their ids to `data/world.json`."""
    data.mkdir(parents=True)
    (data / "artifacts").mkdir()
    port = free_port()
    server = start_mlflow(data, port)
    worlds: dict[str, dict[str, str]] = {}
    try:
        api = Api(f"http://127.0.0.1:{port}")
        shared = create_shared(api)
        for letter in ("a", "b"):
            ids = create_tracking(api, letter) | shared
            ids |= create_traces(api, ids["exp"])
            ids |= create_registry(api, letter, ids)
            ids |= create_genai(api, letter, ids)
            ids |= create_gateway(api, letter, ids)
            ids |= create_mcp(api, letter)
            worlds[letter] = ids
    finally:
        server.stop()
    for ids in worlds.values():
        experiment = {"experiment_id": ids["exp"]}
        ids["job"] = insert_job(data / "mlflow.db", "invoke_scorer_job", experiment)
        ids["optimization_job"] = insert_job(data / "mlflow.db", "optimize_prompts_job", experiment)
    (data / "world.json").write_text(json.dumps(worlds, indent=1))
    return worlds

"""Five hundred experiments and models, some of them with something of everything inside."""

import json
import secrets
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..processes import free_port, start_mlflow
from ..world import Api

OBJECTS = 500
# Spread over the list, at both of its ends, and two of them neighbours.
READABLE = (0, 57, 58, 211, 300, 442, 499)
# Hidden ones that are as rich inside, before, between and after those.
RICH = (*READABLE, 1, 56, 210, 301, 441, 498)
PROMPT_TAG = {"key": "mlflow.prompt.is_prompt", "value": "true"}
BUILDERS = 4

# An object's ids and names by what they are.
Thing = dict[str, str]


def canary() -> str:
    return secrets.token_hex(8)


def plain(api: Api, index: int) -> Thing:
    """An experiment and a model; names are no guide to the order in which they were made."""
    mark = canary()
    thing = {"index": index, "canary": mark, "exp_name": f"{mark}-{index:03}", "rm": f"model-{mark}"}
    body = {"name": thing["exp_name"], "tags": [{"key": "t", "value": f"tag-{mark}"}]}
    thing["exp"] = api.v2("POST", "experiments/create", body)["experiment_id"]
    api.v2("POST", "registered-models/create", {"name": thing["rm"], "description": f"of {mark}"})
    return thing


def enrich(api: Api, thing: Thing) -> None:
    mark, exp = thing["canary"], thing["exp"]
    now = int(time.time() * 1000)
    for key in ("run", "run2"):
        body = {"experiment_id": exp, "run_name": f"{key}-{mark}", "start_time": now}
        thing[key] = api.v2("POST", "runs/create", body)["run"]["info"]["run_id"]
    body = {"experiment_id": exp, "name": f"lm-{mark}", "source_run_id": thing["run"]}
    thing["model"] = api.v2("POST", "logged-models", body)["model"]["info"]["model_id"]
    for _ in range(2):
        source = f"mlflow-artifacts:/{exp}/{thing['run']}/artifacts"
        api.v2("POST", "model-versions/create", {"name": thing["rm"], "source": source, "run_id": thing["run"]})
    thing["prompt"] = f"prompt-{mark}"
    api.v2("POST", "registered-models/create", {"name": thing["prompt"], "tags": [PROMPT_TAG]})
    api.v2("POST", "model-versions/create", {
        "name": thing["prompt"], "source": "dummy-source",
        "tags": [PROMPT_TAG, {"key": "mlflow.prompt.text", "value": mark}],
    })  # fmt: skip
    for key in ("trace", "trace2"):
        thing[key] = "tr-" + uuid.uuid4().hex
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": exp}}
        info = {
            "trace_id": thing[key], "trace_location": location, "request_time": "2025-01-01T00:00:00Z",
            "execution_duration": "1s", "state": "OK", "tags": {"t": f"tag-{mark}"},
        }  # fmt: skip
        api.v3("POST", "traces", {"trace": {"trace_info": info}})
    scorer = {
        "name": "Safety", "mlflow_version": "3.17.2", "serialization_version": 1,
        "builtin_scorer_class": "Safety", "builtin_scorer_pydantic_data": {},
    }  # fmt: skip
    body = {"experiment_id": exp, "name": f"scorer-{mark}", "serialized_scorer": json.dumps(scorer)}
    api.v3("POST", "scorers/register", body)
    thing["scorer_key"] = f"{exp}/scorer-{mark}"
    api.v3("POST", "datasets/create", {"name": f"dataset-{mark}", "experiment_ids": [exp]})
    api.v3("POST", "issues", {"experiment_id": exp, "name": f"issue-{mark}", "description": mark})
    body = {"secret_name": f"secret-{mark}", "secret_value": {"api_key": "sk-fixture"}, "provider": "openai"}
    thing["secret"] = api.v3("POST", "gateway/secrets/create", body)["secret"]["secret_id"]
    body = {"name": f"definition-{mark}", "secret_id": thing["secret"], "provider": "openai", "model_name": "gpt-4o-mini"}
    made = api.v3("POST", "gateway/model-definitions/create", body)["model_definition"]
    thing["definition"] = made["model_definition_id"]
    uses = {"model_definition_id": thing["definition"], "linkage_type": "PRIMARY", "weight": 1.0}
    # Without an experiment for its usage it would make one, with its name in it.
    tracked = {"experiment_id": exp, "usage_tracking": True}
    made = api.v3("POST", "gateway/endpoints/create", {"name": f"endpoint-{mark}", "model_configs": [uses], **tracked})
    thing["endpoint"] = made["endpoint"]["endpoint_id"]
    thing["mcp"] = f"com.example/server-{mark}"
    api.v3("POST", "mcp-servers", {"name": thing["mcp"]})
    server = {"name": thing["mcp"], "version": "1.0.0", "description": mark}
    api.v3("POST", f"mcp-servers/{thing['mcp']}/versions", {"server_json": server, "status": "active"})
    body = {"url": f"https://mcp.example.com/{mark}", "server_version": "1.0.0"}
    api.v3("POST", f"mcp-servers/{thing['mcp']}/endpoints", body)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{exp}/{thing['run']}/artifacts/{mark}.txt"
    api.call("PUT", path, raw=mark.encode())


def build(data: Path) -> list[Thing]:
    (data / "artifacts").mkdir(parents=True)
    port = free_port()
    server = start_mlflow(data, port)
    try:
        api = Api(f"http://127.0.0.1:{port}")
        with ThreadPoolExecutor(BUILDERS) as pool:
            make: Callable[[int], Thing] = lambda index: plain(api, index)
            things = list(pool.map(make, range(OBJECTS)))
        for index in RICH:
            enrich(api, things[index])
    finally:
        server.stop()
    return things


def marks(thing: Thing) -> set[str]:
    """What gives the object away wherever it appears: long enough to mean nothing else."""
    return {value for key, value in thing.items() if key != "index" and len(str(value)) >= 16}

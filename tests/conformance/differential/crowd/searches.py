"""Every search and list, and how its pages are followed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from ..corpus.case import Request
from .world import READABLE, RICH, Thing

V2, V3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"
PROMPTS = "tag.`mlflow.prompt.is_prompt` = 'true'"


@dataclass(frozen=True)
class Search:
    name: str
    method: str
    path: str
    # Of the answer: the rows, and what tells one from the other.
    rows: str
    key: Callable[[dict], object]
    fields: dict[str, object] = field(default_factory=dict)
    paged: bool = True
    # MLflow shows it to everybody; the gate only experiments (the rows are their ids) that may be read.
    for_everybody: bool = False

    def request(self, size: int | None, token: str | None) -> Request:
        fields = dict(self.fields)
        if size is not None:
            fields["max_results"] = size
        if token:
            fields["page_token"] = token
        if self.method == "GET":
            query = urlencode(fields, doseq=True)
            return Request("GET", self.path + (f"?{query}" if query else ""), (), None)
        headers = (("Content-Type", "application/json"),)
        return Request("POST", self.path, headers, json.dumps(fields).encode())


def by(*path: str) -> Callable[[dict], object]:
    def value(row: dict) -> object:
        for step in path:
            row = row.get(step, {})
        return str(row)

    return value


def of_experiment(name: str, row: str) -> Callable[[dict], object]:
    return lambda found: (str(found.get("experiment_id")), found.get(row) or found.get(name))


def searches(things: list[Thing]) -> list[Search]:
    rich = [things[index]["exp"] for index in RICH]
    seven = [things[index]["exp"] for index in READABLE]
    version = lambda row: (row["name"], str(row["version"]))
    run, model = by("info", "run_id"), by("info", "model_id")
    located = lambda ids: {"locations": [
        {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}} for id in ids
    ]}  # fmt: skip
    found = [
        Search("experiments", "POST", V2 + "experiments/search", "experiments", by("experiment_id")),
        Search("experiments by GET", "GET", V2 + "experiments/search", "experiments", by("experiment_id"), {"view_type": "ALL"}),
        Search("experiments by name", "POST", V2 + "experiments/search", "experiments", by("name"), {"order_by": ["name DESC"], "filter": "name LIKE '%-%'"}),
        Search("models", "GET", V2 + "registered-models/search", "registered_models", by("name")),
        Search("models backwards", "GET", V2 + "registered-models/search", "registered_models", by("name"), {"order_by": "name DESC"}),
        Search("prompts", "GET", V2 + "registered-models/search", "registered_models", by("name"), {"filter": PROMPTS}),
        Search("versions", "GET", V2 + "model-versions/search", "model_versions", version),
        Search("runs", "POST", V2 + "runs/search", "runs", run, {"experiment_ids": rich}),
        Search("runs in order", "POST", V2 + "runs/search", "runs", run, {"experiment_ids": rich, "order_by": ["attributes.run_name ASC"]}),
        Search("logged models", "POST", V2 + "logged-models/search", "models", model, {"experiment_ids": rich}),
        Search("traces of the seven", "POST", V3 + "traces/search", "traces", by("trace_id"), located(seven)),
        Search("traces", "POST", V3 + "traces/search", "traces", by("trace_id"), located(rich)),
        Search("old traces of the seven", "GET", V2 + "traces", "traces", by("request_id"), {"experiment_ids": seven}),
        Search("datasets of the seven", "POST", V3 + "datasets/search", "datasets", by("dataset_id"), {"experiment_ids": seven}),
        Search("MCP servers", "GET", V3 + "mcp-servers", "mcp_servers", by("name")),
        Search("MCP endpoints", "GET", V3 + "mcp-servers/endpoints", "mcp_access_endpoints", by("id")),
    ]  # fmt: skip
    whole = [
        ("secrets", "gateway/secrets/list", "secrets", by("secret_id")),
        ("definitions", "gateway/model-definitions/list", "model_definitions", by("model_definition_id")),
        ("endpoints", "gateway/endpoints/list", "endpoints", by("endpoint_id")),
    ]  # fmt: skip
    found += [Search(name, "GET", V3 + path, rows, key, paged=False) for name, path, rows, key in whole]
    found.append(Search("artifacts", "GET", "/api/2.0/mlflow-artifacts/artifacts", "files", by("path"), paged=False, for_everybody=True))
    for index in (READABLE[1], RICH[-1]):
        exp = {"experiment_id": things[index]["exp"]}
        at = f"of {'one of the seven' if index in READABLE else 'another'}"
        scorer = of_experiment("name", "scorer_name")
        found.append(Search(f"scorers {at}", "GET", V3 + "scorers/list", "scorers", scorer, exp, paged=False))
        found.append(Search(f"issues {at}", "POST", V3 + "issues/search", "issues", by("issue_id"), exp))
    found.append(Search("scorers", "GET", V3 + "scorers/list", "scorers", of_experiment("name", "scorer_name"), paged=False))
    return found

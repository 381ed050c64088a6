"""What one entry of the corpus is."""

import json as jsonlib
import re
from dataclasses import dataclass, field, replace
from string import Template
from urllib.parse import quote, urlencode

# What a parameter of a path template stands for where the case does not say.
PARAMETERS = {
    "alias:path": "champ",
    "assessment_id": "$assessment",
    "dataset_id": "$dataset",
    "endpoint_id": "$mcp_endpoint",
    "endpoint_name": "$endpoint_name",
    "filename:path": "main.js",
    "issue_id": "$issue",
    "job_id": "$job",
    "key": "t",
    "key:path": "t",
    "model_id": "$model",
    "name:path": "$mcp",
    "path:path": "x",
    "provider": "openai",
    "request_id": "$trace",
    "session_id": "11111111-1111-4111-8111-111111111111",
    "tag_key": "t",
    "trace_id": "$trace",
    "version:path": "1.0.0",
    "webhook_id": "$webhook",
    "workspace_name": "default",
}
PREFIXED = re.compile(r"/[23]\.0")
PARAMETER = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class Case:
    """One request, with `$name` where an id of the world goes.

    `tiers` are the resource types whose grants the answer depends on; they choose the users.
    """

    family: str
    method: str
    path: str
    tiers: tuple[str, ...]
    # Pairs, since a key may be repeated; or the raw query.
    query: tuple[tuple[str, str], ...] | str = ()
    json: object = None
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    at: dict[str, str] = field(default_factory=dict)
    # Tells several cases of one route apart.
    label: str = ""
    # "api", "ajax-api" or None for both; routes without a version have no prefix.
    only: str | None = None
    # Changes what later requests depend on: the reference gets its databases back afterwards.
    restore: bool = False
    # The reference's answers to its admin that show the request as well made, besides 2xx.
    expect: frozenset[int] = frozenset()
    # The answer's body tells what is visible: send it on behind the gate and compare the ids.
    visible: bool = False
    # A spelling that two parsers may read differently: sent as it is, for few users.
    spelling: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}" + (f" [{self.label}]" if self.label else "")

    @property
    def changes(self) -> bool:
        """Whether MLflow may hold something else after it."""
        return self.restore or (self.method != "GET" and not self.visible)

    def prefixes(self) -> list[str]:
        if self.only is not None:
            return ["/" + self.only] if self.only else [""]
        return ["/api", "/ajax-api"] if PREFIXED.match(self.path) else [""]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


def fill(value: object, ids: dict[str, str]) -> object:
    if isinstance(value, str):
        # A number stays one where it is the whole value.
        whole = ids.get(value[1:]) if value.startswith("$") else None
        return whole if isinstance(whole, int) else Template(value).substitute(ids)
    if isinstance(value, dict):
        return {fill(key, ids): fill(item, ids) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, ids) for item in value)
    return value


def render(case: Case, prefix: str, ids: dict[str, str]) -> Request:
    def parameter(match: re.Match) -> str:
        name = match[1]
        value = fill(case.at.get(name.removesuffix(":path"), PARAMETERS.get(name)), ids)
        return quote(value, safe="/" if name.endswith(":path") or "/" in value else "")

    path = PARAMETER.sub(parameter, case.path) if not case.spelling else fill(case.path, ids)
    if isinstance(case.query, str):
        query = fill(case.query, ids)
    else:
        query = urlencode(fill(case.query, ids))
    headers = list(fill(case.headers, ids))
    body = case.raw
    if body is not None and case.spelling:
        body = Template(body.decode("latin-1")).substitute(ids).encode("latin-1")
    if case.json is not None:
        body = jsonlib.dumps(fill(case.json, ids)).encode()
    if body is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    target = prefix + path + ("?" + query if query else "")
    return Request(case.method, target, tuple(headers), body)


class Corpus:
    """Collects the cases of one family."""

    def __init__(self, family: str, *tiers: str):
        self.family = family
        self.tiers = tiers
        self.cases: list[Case] = []

    def add(self, method: str, path: str, **arguments) -> None:
        arguments.setdefault("tiers", self.tiers)
        query = arguments.get("query")
        if isinstance(query, dict):
            arguments["query"] = tuple(query.items())
        expect = arguments.get("expect", ())
        arguments["expect"] = frozenset([expect] if isinstance(expect, int) else expect)
        headers = arguments.get("headers")
        if isinstance(headers, dict):
            arguments["headers"] = tuple(headers.items())
        self.cases.append(Case(self.family, method, path, **arguments))

    def get(self, path: str, query: dict | tuple | str = (), **arguments) -> None:
        self.add("GET", path, query=query, **arguments)

    def post(self, path: str, json: object = None, **arguments) -> None:
        self.add("POST", path, json=json, **arguments)

    def patch(self, path: str, json: object = None, **arguments) -> None:
        self.add("PATCH", path, json=json, **arguments)

    def delete(self, path: str, json: object = None, **arguments) -> None:
        self.add("DELETE", path, json=json, **arguments)


def relabelled(case: Case, label: str) -> Case:
    return replace(case, label=label)

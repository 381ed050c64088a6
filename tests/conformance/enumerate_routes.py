#!/usr/bin/env python3
"""Print, as JSON, every route that the installed MLflow serves.

The list is taken from the running program and not from its documentation: the URL map of the Flask
application and the route table of the FastAPI application in front of it (where this MLflow has
one), first without and then with the `basic-auth` application. It is what the coverage test of the
filter's route catalogue compares itself with, so that a new MLflow release with a new route turns
a test red.

    python enumerate_routes.py [--output FILE]

Each entry is

    {"method": "GET", "path": "/api/2.0/mlflow/runs/get", "served_by": "flask",
     "auth_app": false, "proto": "GetRun", "fields": ["run_id", "run_uuid"]}

* `path`: parameters are spelt `{name}` or, where they may contain slashes, `{name:path}`.
* `served_by`: the application that answers first under uvicorn, `fastapi` or `flask`.
* `auth_app`: the route exists only with the `basic-auth` application.
* `proto`: name of the request message, or null for a handler that reads the request itself.
* `fields`: dotted names of all fields of that message, `[]` after the repeated ones.

HEAD and OPTIONS are left out: Flask adds them to every rule.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path

AUTOMATIC_METHODS = {"HEAD", "OPTIONS"}
FLASK_PARAMETER = re.compile(r"<(?:(?P<converter>[a-z_]+)(?:\([^)]*\))?:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)>")
# Messages such as `Trace` contain themselves through attribute values; ids sit far above this.
MAX_FIELD_DEPTH = 5


def flask_template(rule: str) -> str:
    """`<path:artifact_path>` → `{artifact_path:path}`, `<run_id>` → `{run_id}`."""

    def replace(match: re.Match) -> str:
        greedy = ":path" if match["converter"] == "path" else ""
        return "{" + match["name"] + greedy + "}"

    return FLASK_PARAMETER.sub(replace, rule)


def message_fields(descriptor, prefix: str = "", depth: int = 0) -> list[str]:
    """Dotted names of every field below `descriptor`, in declaration order."""
    names = []
    for field in descriptor.fields:
        is_repeated = getattr(field, "is_repeated", None)
        if is_repeated is None:
            is_repeated = field.label == field.LABEL_REPEATED
        name = prefix + field.name + ("[]" if is_repeated else "")
        names.append(name)
        if field.message_type is not None and depth < MAX_FIELD_DEPTH:
            names += message_fields(field.message_type, name + ".", depth + 1)
    return names


def request_messages() -> dict[tuple[str, str], type]:
    """(method, path template) → request message, for the handlers generated from a protobuf service."""
    from mlflow.server import handlers

    messages = {}
    for path, message, methods in handlers.get_endpoints(lambda request_class: request_class):
        if hasattr(message, "DESCRIPTOR"):
            for method in methods:
                messages[method, flask_template(path)] = message
    return messages


def flask_routes(app) -> set[tuple[str, str]]:
    return {
        (method, flask_template(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - AUTOMATIC_METHODS
    }


def flattened(routes) -> list:
    """The routes with those of included routers in their places."""
    try:
        # FastAPI keeps an included router as one lazy entry since it flattens at matching time.
        from fastapi.routing import iter_route_contexts
    except ImportError:
        return list(routes)
    return list(iter_route_contexts(routes))


def fastapi_routes(app) -> set[tuple[str, str]]:
    """The native routes of the FastAPI application; the mount of Flask below it is not one."""
    routes = set()
    for route in flattened(app.routes):
        methods = getattr(route, "methods", None)
        if methods:
            routes |= {(method, route.path) for method in methods - AUTOMATIC_METHODS}
        elif getattr(route, "path", None) != "":  # the mount of Flask is at ""
            raise SystemExit(f"a route of an unexpected kind: {route!r}")
    return routes


def create_native_app(flask_app):
    """The FastAPI application, or None for an MLflow from before it had one."""
    try:
        from mlflow.server.fastapi_app import create_fastapi_app
    except ImportError:
        return None
    return create_fastapi_app(flask_app)


def enable_auth(flask_app) -> None:
    """Add the routes of the `basic-auth` application, on a user database that is thrown away."""
    from mlflow.server.auth import create_app

    create_app(flask_app)


def prepare_auth_environment(directory: Path) -> None:
    config = directory / "basic_auth.ini"
    config.write_text(
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{directory}/users.db\n"
        "admin_username = admin\n"
        "admin_password = enumerate-routes-only\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(config)
    os.environ.setdefault("MLFLOW_FLASK_SERVER_SECRET_KEY", "enumerate-routes-only")
    # Some routes are registered only where a tracking store is configured.
    tracking = f"sqlite:///{directory}/mlflow.db"
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = tracking
    os.environ["_MLFLOW_SERVER_REGISTRY_STORE"] = tracking
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = f"{directory}/artifacts"
    os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"


def enumerate_routes() -> list[dict]:
    from mlflow.server import app as flask_app

    messages = request_messages()
    native_app = create_native_app(flask_app)
    native = fastapi_routes(native_app) if native_app is not None else set()
    plain = flask_routes(flask_app) | native
    enable_auth(flask_app)
    # The auth application of some releases brings native routes of its own.
    native_app = create_native_app(flask_app)
    native_with_auth = fastapi_routes(native_app) if native_app is not None else set()
    entries = []
    for method, path in sorted(plain | flask_routes(flask_app) | native_with_auth, key=lambda r: (r[1], r[0])):
        message = messages.get((method, path))
        entries.append({
            "method": method,
            "path": path,
            "served_by": "fastapi" if (method, path) in native | native_with_auth else "flask",
            "auth_app": (method, path) not in plain,
            "proto": message.DESCRIPTOR.name if message else None,
            "fields": message_fields(message.DESCRIPTOR) if message else [],
        })
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="write here instead of to standard output")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlgate-routes-") as directory:
        prepare_auth_environment(Path(directory))
        entries = enumerate_routes()
    text = json.dumps(entries, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()

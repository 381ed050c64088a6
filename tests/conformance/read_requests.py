#!/usr/bin/env python3
"""Read HTTP requests as the installed MLflow does, with its own parsers.

One JSON object per line comes in, one per line goes out; the first line out is `{"ready": true}`.

    in   {"method", "path", "content_type", "body", "fields", "original_path", "original_body"}
    out  {"template", "parameters", "values", "complete", "same"}

`path` and `body` are what the gate would forward, the `original_` ones what a client sent; bodies
are base64 or null. `template` is the route that answers (FastAPI's first, then Flask's; null for
none) with every parameter spelt `{}`, `parameters` its values in their order. `values` has, for each
of `fields` (dotted, `[]` after lists), the ids that MLflow's handler or its auth app reads from
anywhere in the request. `complete` names the fields of which nothing else can be read there; the
others are those that this route's message does not have. `same`: the original means to Python what
the forwarded form means.
"""

import base64
import json
import os
import re
import sys
import tempfile
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

import enumerate_routes


def starlette_scope(method, target, content_type):
    """As uvicorn makes it of a request line."""
    raw_path, _, query = target.partition("?")
    headers = [(b"host", b"mlflow")]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode("latin-1")))
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("mlflow", 5000),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "method": method,
        "path": urllib.parse.unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": headers,
    }


def anonymous(template):
    """Every parameter as `{}`."""
    return re.sub(r"\{[^}]*\}", "{}", template)


def walk(value, path, found):
    """Strings below `value` at a dotted path, through JSON in either spelling or a message."""
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    for spelling in {name, re.sub("_(.)", lambda match: match[1].upper(), name)}:
        inner = None
        if isinstance(value, dict):
            inner = value.get(spelling)
        elif spelling == name and name in value.DESCRIPTOR.fields_by_name:
            inner = getattr(value, name)
        if inner is None:
            continue
        is_list = isinstance(inner, Sequence) and not isinstance(inner, str)
        for item in inner if is_list else [inner]:
            if rest and (isinstance(item, dict) or hasattr(item, "DESCRIPTOR")):
                walk(item, rest, found)
            elif not rest and isinstance(item, str) and item:
                found.append(item)


class Mlflow:
    """The applications of the installed MLflow, asked for what they read and never run."""

    def __init__(self):
        from mlflow.server import app

        self.flask = app
        self.messages = enumerate_routes.request_messages()
        native = enumerate_routes.create_native_app(app)
        self.native = enumerate_routes.flattened(native.routes) if native is not None else []
        import mlflow.server.auth as auth

        self.auth = auth
        self.flask.config["SERVER_NAME"] = None

    def read(self, request):
        body = base64.b64decode(request["body"] or "")
        scope = starlette_scope(request["method"], request["path"], request["content_type"])
        answer = self.read_native(scope, body, request["fields"])
        if answer is None:
            answer = self.read_flask(scope, body, request["fields"])
        original = base64.b64decode(request["original_body"] or "")
        answer["same"] = meaning(request["path"], body) == meaning(request["original_path"], original)
        return answer

    def read_native(self, scope, body, fields):
        from starlette.datastructures import QueryParams
        from starlette.routing import Match

        for route in self.native:
            if not getattr(route, "methods", None):
                continue
            match, found = route.matches(dict(scope))
            if match is not Match.FULL:
                continue
            parameters = found["path_params"]
            query = QueryParams(scope["query_string"])
            document = loaded(body)
            values = {}
            for field in fields:
                if field in parameters:
                    values[field] = [str(parameters[field])]
                    continue
                values[field] = query.getlist(field)
                if isinstance(document, dict):
                    walk(document, field, values[field])
            return {
                "template": anonymous(route.path),
                "parameters": [str(value) for value in parameters.values()],
                "values": values,
                "complete": [],
            }
        return None

    def read_flask(self, scope, body, fields):
        from starlette.middleware.wsgi import build_environ

        environ = build_environ(scope, body)
        environ["CONTENT_LENGTH"] = str(len(body))
        with self.flask.request_context(environ) as context:
            request = context.request
            rule = request.url_rule
            if rule is None:
                return {"template": None, "parameters": [], "values": {}, "complete": []}
            template = enumerate_routes.flask_template(rule.rule)
            parameters = request.view_args or {}
            message, known = self.message(request, template)
            values = {}
            for field in fields:
                values[field] = [str(parameters[field])] if field in parameters else []
                for name in [field, "run_uuid"] if field == "run_id" else [field]:
                    if message is not None:
                        walk(message, name, values[field])
                values[field] += self.parameter(field)
            return {
                "template": anonymous(template),
                "parameters": [str(value) for value in parameters.values()],
                "values": values,
                "complete": [field for field in fields if re.split(r"[.\[]", field)[0] in known],
            }

    def message(self, request, template):
        """The route's message as its handler gets it, and its fields if it was read to the end."""
        from google.protobuf.json_format import ParseError
        from mlflow.exceptions import MlflowException
        from mlflow.server import handlers
        from werkzeug.exceptions import HTTPException

        made = self.messages.get((request.method, template))
        if made is None:
            return None, set()
        failed = []
        parse = handlers.parse_dict

        def noticing(document, message):
            try:
                parse(document, message)
            except ParseError:
                failed.append(True)
                raise

        handlers.parse_dict = noticing
        message = made()
        try:
            handlers._get_request_message(message, request)
        except (MlflowException, HTTPException, ValueError, AttributeError, TypeError):
            return message, set()
        finally:
            handlers.parse_dict = parse
        return message, set() if failed else {field.name for field in message.DESCRIPTOR.fields}

    def parameter(self, field):
        """What the auth app would authorize."""
        from mlflow.exceptions import MlflowException
        from werkzeug.exceptions import HTTPException

        try:
            value = self.auth._get_request_param(field)
        except (MlflowException, HTTPException):
            return []
        return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str) and item]


def loaded(body):
    try:
        return json.loads(body)
    except ValueError:
        return None


def meaning(target, body):
    """What a path, a query and a JSON body mean to Python's parsers; numbers by their text."""
    from werkzeug.datastructures import MultiDict

    path, _, query = target.partition("?")
    query = query.encode("latin-1").decode("utf-8", "backslashreplace")
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote")
    try:
        document = json.loads(body, parse_int=lambda text: ("number", text), parse_float=lambda text: ("number", text))
    except ValueError:
        document = body
    return urllib.parse.unquote_to_bytes(path.encode("latin-1")), MultiDict(pairs), document


def main():
    with tempfile.TemporaryDirectory(prefix="mlgate-read-") as directory:
        enumerate_routes.prepare_auth_environment(Path(directory))
        # MLflow must not write between the answers.
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        mlflow = Mlflow()
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(mlflow.read(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

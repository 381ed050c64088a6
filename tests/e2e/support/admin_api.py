"""Plays the scripted calls of the user, role and permission API against one server.

The script is `policy-server/tests/admin_api/steps.jsonl`, one call per line. What MLflow answers
is recorded beside it and replayed by the policy server's own tests, so that they need no MLflow:

    python admin_api.py --record http://127.0.0.1:5000 admin PASSWORD

records it anew from `mlflow server --app-name basic-auth` with an empty auth database and
`default_permission = NO_PERMISSIONS`.
"""

import json
import re
import sys
from pathlib import Path

import requests

SCRIPT = Path(__file__).parents[3] / "policy-server" / "tests" / "admin_api"
STEPS = SCRIPT / "steps.jsonl"
RECORDED = SCRIPT / "mlflow-3.17.2.json"

ID_FIELDS = {"id", "role_id", "user_id"}


# What the gate refuses before it is asked what it means; MLflow takes it for a call without
# parameters. Both answer 400.
REFUSED_AT_THE_DOOR = {
    "a form is refused where JSON is expected",
    "a body that is not an object has no parameters",
    "a body that does not parse has no parameters",
}

# What the gate adds to a user for clients of MLflow before 3.14.
ADDED = {"experiment_permissions", "registered_model_permissions", "scorer_permissions"}


def recorded():
    return json.loads(RECORDED.read_text())


def steps():
    return [json.loads(line) for line in STEPS.read_text().splitlines() if line]


def play(base_url, admin, admin_password):
    """Returns the normalised answer to every step, by the step's name."""
    saved, answers = {}, {}
    session = requests.Session()
    session.trust_env = False
    for step in steps():
        caller = step["as"]
        name, password = caller if isinstance(caller, list) else (caller, f"{caller}-password-1")
        if name == "admin":
            password = admin_password
        method, path = step["call"].split(" ")
        response = session.request(
            method,
            base_url + path,
            auth=(admin if name == "admin" else name, password),
            params=filled(step.get("query"), saved, text=True),
            **body(step, saved, admin),
            timeout=60,
        )
        answers[step["step"]] = normalised(response, admin)
        for variable, field in step.get("save", {}).items():
            value = response.json()
            for part in field.split("."):
                value = value[part]
            saved[variable] = value
    return answers


def differences(expected, gates):
    """The steps that the gate answers otherwise, as lines to print."""
    for step, answer in gates.items():
        user = answer.get("body", {}).get("user") if isinstance(answer.get("body"), dict) else None
        for array in ADDED if user else ():
            user.pop(array, None)
        if step in REFUSED_AT_THE_DOOR:
            same = answer["status"] == expected[step]["status"] == 400
        else:
            same = answer == expected[step]
        if not same:
            yield f"{step}:\n  MLflow {expected[step]}\n  gate   {answer}"


def body(step, saved, admin):
    if "raw" in step:
        return {"data": step["raw"], "headers": {"Content-Type": step["type"]}}
    if "json" in step:
        named = {
            key: admin if key == "username" and value == "admin" else value
            for key, value in step["json"].items()
        }
        return {"json": filled(named, saved)}
    return {}


def filled(values, saved, text=False):
    if values is None:
        return None
    pairs = values.items() if isinstance(values, dict) else values

    def fill(value):
        if isinstance(value, str) and (found := re.fullmatch(r"\$\{(\w+)\}", value)):
            value = saved[found.group(1)]
            return str(value) if text else value
        return value

    pairs = [(key, fill(value)) for key, value in pairs]
    return dict(pairs) if isinstance(values, dict) else pairs


def normalised(response, admin="admin"):
    """Status and body, without what differs from one run to the next.

    Of a 403 only the status counts: MLflow says `Permission denied` in plain text, the gate in
    the JSON shape of every other error.
    """
    answer = {"status": response.status_code}
    if response.status_code != 403:
        try:
            answer["body"] = normalised_value(None, response.json())
        except ValueError:
            answer["body"] = response.text
    return json.loads(json.dumps(answer).replace(json.dumps(admin), '"admin"'))


def normalised_value(key, value):
    if isinstance(value, dict):
        return {name: normalised_value(name, field) for name, field in value.items()}
    if isinstance(value, list):
        # No list of this API has an order that MLflow promises.
        rows = [normalised_value(None, row) for row in value]
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
    if key in ID_FIELDS and isinstance(value, int):
        return "#"
    if isinstance(value, str):
        value = re.sub(r"__user_\d+__", "__user_#__", value)
        value = re.sub(r"\b(user_id|role_id|id)=\d+", r"\1=#", value)
        # The list of types has one more since 3.18.
        value = value.replace("'skill', ", "")
        # MLflow appends the database's own message, password hash included.
        return value.split(" Error: ")[0]
    return value


if __name__ == "__main__":
    flag, base_url, admin, admin_password = sys.argv[1:]
    assert flag == "--record", __doc__
    answers = play(base_url, admin, admin_password)
    RECORDED.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(answers)} answers in {RECORDED}")

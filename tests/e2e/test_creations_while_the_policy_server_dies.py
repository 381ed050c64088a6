"""Whoever was told that an object exists manages it, whatever happened to the policy server."""

import contextlib
import itertools
import json
import socket
import threading
import time

import pytest
import requests
from support.gate import basic, wait_until

CLIENTS = 10
EACH = 10
# A client that is told to come back does.
PATIENCE_SECONDS = 90
V2 = "/api/2.0/mlflow/"
PROMPT = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
KINDS = itertools.cycle(["experiment", "registered_model", "prompt"])


def creation(kind, name):
    """Path and body of the request that makes such an object."""
    if kind == "experiment":
        return V2 + "experiments/create", {"name": name}
    tags = PROMPT if kind == "prompt" else []
    return V2 + "registered-models/create", {"name": name, "tags": tags}


class Client(threading.Thread):
    """Creates objects one after the other; notes what it was told exists."""

    def __init__(self, gate, number):
        super().__init__()
        self.gate = gate
        self.credential = gate.create_user(f"race-{number}")
        self.wanted = [(next(KINDS), f"race {number} {index}") for index in range(EACH)]
        self.told = []
        # Of these it did not hear again.
        self.left = []
        self.failure = None

    def run(self):
        try:
            for kind, name in self.wanted:
                self.create(kind, name)
        except BaseException as failure:
            self.failure = failure

    def create(self, kind, name):
        path, body = creation(kind, name)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.gate.post(path, self.credential, json=body)
            if answer.status_code == 200:
                self.told.append((kind, name))
                return
            if answer.status_code == 409:
                # It exists, and the message says who can help.
                assert "exists" in answer.text and "administrator" in answer.text, answer.text
                self.told.append((kind, name))
                return
            # Nothing was decided, so nothing was sent on: it may be tried again.
            assert answer.status_code == 503, f"{name}: {answer.status_code} {answer.text}"
            assert time.monotonic() < deadline, f"{name}: never answered"
            time.sleep(0.05)


def send_and_leave(gate, kind, name, credential):
    """A client that does not wait for its answer."""
    path, body = creation(kind, name)
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(*credential)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gate.ready["ports"]["gate"])) as connection:
        connection.sendall(head.encode() + data)
        # Long enough to be decided about; whether MLflow has answered by then is left to chance.
        time.sleep(0.03)


def managed(gate, credential):
    """What the user manages by grants of their own, as (type, pattern)."""
    answer = gate.get("/api/3.0/mlflow/users/current/permissions", credential)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["permissions"]
    return {
        (row["resource_type"], row["resource_pattern"])
        for row in rows
        if row["permission"] == "MANAGE"
    }


def existing(gate):
    """What MLflow has, straight from it: name by (type, id)."""
    found = {}
    with requests.Session() as session:
        session.trust_env = False
        ask = lambda path: session.get(gate.ready["mlflow_url"] + V2 + path, timeout=60).json()
        for item in ask("experiments/search?max_results=5000").get("experiments", []):
            found["experiment", item["experiment_id"]] = item["name"]
        for filter, kind in (
            ("", "registered_model"),
            ("&filter=tag.`mlflow.prompt.is_prompt`%20=%20'true'", "prompt"),
        ):
            path = f"registered-models/search?max_results=1000{filter}"
            for item in ask(path).get("registered_models", []):
                found[kind, item["name"]] = item["name"]
    return found


@pytest.fixture
def restored(gate):
    yield
    with contextlib.suppress(AssertionError):
        wait_until(lambda: gate.get("/health").status_code == 200, "the gate answers")
    if gate.get(V2 + "experiments/get?experiment_id=0", gate.admin).status_code == 503:
        gate.start_policy_server()


def test_every_object_that_a_client_was_told_of_is_its_creators_and_nobody_elses(gate, restored):
    clients = [Client(gate, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = 0
    while any(client.is_alive() for client in clients):
        gate.stop_policy_server()
        kills += 1
        time.sleep(0.2)
        gate.start_policy_server()
        for client in clients[:3]:
            name = f"left {kills} {client.credential[0]}"
            send_and_leave(gate, next(KINDS), name, client.credential)
            client.left.append(name)
        time.sleep(0.7)
    for client in clients:
        client.join()
        if client.failure:
            raise client.failure
        assert len(client.told) == EACH
    assert kills >= 2, "the clients were done before the policy server died"

    owners = {name: client for client in clients for _, name in client.wanted}
    owners |= {name: client for client in clients for name in client.left}

    def whose():
        """Of each object of the race: who manages it."""
        managers = {client: managed(gate, client.credential) for client in clients}
        return {
            name: [client for client in clients if (kind, id) in managers[client]]
            for (kind, id), name in existing(gate).items()
            if name in owners
        }

    # Those that were lost on the way are made up for by the policy server.
    wait_until(lambda: all(whose().values()), "every object has an owner", 30)
    owned = whose()
    for client in clients:
        for _, name in client.told:
            assert name in owned, f"{name}: told of, but not there"
    for name, managing in owned.items():
        assert managing == [owners[name]], name

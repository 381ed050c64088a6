"""Who gets a name next gets nothing that was granted on the last object of that name."""

import contextlib
import json
import socket

import pytest
import requests
from support.gate import basic, wait_until

V2 = "/api/2.0/mlflow/registered-models/"


def create(gate, name, credential):
    answer = gate.post(V2 + "create", credential, json={"name": name})
    assert answer.status_code == 200, answer.text


def status(gate, name, credential):
    return gate.get(V2 + "get", credential, params={"name": name}).status_code


def exists(gate, name):
    with requests.Session() as session:
        session.trust_env = False
        url = gate.ready["mlflow_url"] + V2 + "get"
        return session.get(url, params={"name": name}, timeout=30).status_code == 200


def people(gate):
    return [gate.create_user(f"heir-{name}") for name in ("owner", "reader", "next")]


def test_a_deleted_models_name_comes_without_its_grants(gate, unique):
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    assert status(gate, unique, reader) == 200
    answer = gate.request("DELETE", V2 + "delete", owner, json={"name": unique})
    assert answer.status_code == 200, answer.text
    create(gate, unique, successor)
    assert status(gate, unique, successor) == 200
    assert status(gate, unique, owner) == 403
    assert status(gate, unique, reader) == 403


@contextlib.contextmanager
def sent(gate, request, credential, body):
    """The client of a request waits within the block, and has left after it."""
    data = json.dumps(body).encode()
    head = (
        f"{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(*credential)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    before = gate.recorder.received
    with socket.create_connection(("127.0.0.1", gate.ready["ports"]["gate"])) as connection:
        connection.sendall(head.encode() + data)
        wait_until(lambda: gate.recorder.received > before, "MLflow is asked")
        yield


@pytest.fixture
def policy_server(gate):
    """May be stopped: it is back afterwards."""
    yield gate
    if gate.get(V2 + "search?max_results=1", gate.admin).status_code == 503:
        gate.start_policy_server()


def test_nor_when_the_answer_to_the_deletion_was_lost(gate, unique):
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    with sent(gate, f"DELETE {V2}delete", owner, {"name": unique}):
        # MLflow has the request, and nobody waits for its answer.
        pass
    wait_until(lambda: not exists(gate, unique), "the model is gone")
    create(gate, unique, successor)
    assert status(gate, unique, successor) == 200
    assert status(gate, unique, owner) == 403
    assert status(gate, unique, reader) == 403


def test_a_renamed_model_takes_its_grants_along_and_leaves_none(gate, unique):
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    body = {"name": unique, "new_name": unique + "-2"}
    answer = gate.post(V2 + "rename", owner, json=body)
    assert answer.status_code == 200, answer.text
    assert status(gate, unique + "-2", owner) == 200
    assert status(gate, unique + "-2", reader) == 200
    create(gate, unique, successor)
    assert status(gate, unique, owner) == 403
    assert status(gate, unique, reader) == 403


def test_a_model_is_not_renamed_onto_a_name_that_still_has_grants(gate, unique):
    owner, reader, _ = people(gate)
    create(gate, unique, owner)
    body = {"name": unique, "new_name": unique + "-2"}
    for level in ("READ", "DENY"):
        gate.grant(reader[0], level, "registered_model", unique + "-2")
        with gate.recorder.silence():
            assert gate.post(V2 + "rename", owner, json=body).status_code == 403, level
    gate.revoke(reader[0], "registered_model", unique + "-2")
    assert gate.post(V2 + "rename", owner, json=body).status_code == 200
    assert status(gate, unique + "-2", reader) == 403


def test_nor_when_no_policy_server_was_there_to_hear_of_the_deletion(policy_server, unique):
    gate = policy_server
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    with gate.recorder.answers_held(), sent(gate, f"DELETE {V2}delete", owner, {"name": unique}):
        wait_until(lambda: not exists(gate, unique), "the model is gone")
        gate.stop_policy_server()
    gate.start_policy_server()
    # At once, before anything was made up for.
    create(gate, unique, successor)
    assert status(gate, unique, successor) == 200
    assert status(gate, unique, owner) == 403
    assert status(gate, unique, reader) == 403


def test_nor_when_no_policy_server_was_there_to_hear_of_the_renaming(policy_server, unique):
    gate = policy_server
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    body = {"name": unique, "new_name": unique + "-2"}
    with gate.recorder.answers_held(), sent(gate, f"POST {V2}rename", owner, body):
        wait_until(lambda: exists(gate, unique + "-2"), "the model has its new name")
        gate.stop_policy_server()
    gate.start_policy_server()
    create(gate, unique, successor)
    assert status(gate, unique, owner) == 403
    assert status(gate, unique, reader) == 403
    # The new name is that of the same model, and has the same people.
    for person in (owner, reader):
        assert status(gate, unique + "-2", person) == 200
    assert status(gate, unique + "-2", successor) == 403


def test_nor_when_it_was_deleted_around_the_gate(gate, unique):
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    with requests.Session() as session:
        session.trust_env = False
        url = gate.ready["mlflow_url"] + V2 + "delete"
        assert session.delete(url, json={"name": unique}, timeout=30).status_code == 200
    create(gate, unique, successor)
    assert status(gate, unique, successor) == 200
    assert status(gate, unique, owner) == 403
    assert status(gate, unique, reader) == 403

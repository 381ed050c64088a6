"""Who gets a name next gets nothing that was granted on the last object of that name."""

import json
import socket

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


def test_nor_when_the_answer_to_the_deletion_was_lost(gate, unique):
    owner, reader, successor = people(gate)
    create(gate, unique, owner)
    gate.grant(reader[0], "READ", "registered_model", unique)
    data = json.dumps({"name": unique}).encode()
    head = (
        f"DELETE {V2}delete HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(*owner)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    before = gate.recorder.received
    with socket.create_connection(("127.0.0.1", gate.ready["ports"]["gate"])) as connection:
        connection.sendall(head.encode() + data)
        # MLflow has the request, and nobody waits for its answer.
        wait_until(lambda: gate.recorder.received > before, "MLflow is asked")
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
    gate.grant(reader[0], "READ", "registered_model", unique + "-2")
    body = {"name": unique, "new_name": unique + "-2"}
    with gate.recorder.silence():
        assert gate.post(V2 + "rename", owner, json=body).status_code == 403
    gate.revoke(reader[0], "registered_model", unique + "-2")
    assert gate.post(V2 + "rename", owner, json=body).status_code == 200
    assert status(gate, unique + "-2", reader) == 403

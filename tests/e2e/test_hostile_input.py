"""What no client sends must not hurt the next one."""

import json
import threading

import pytest
import requests
from support.gate import basic
from support.raw import http1

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"


@pytest.fixture
def healthy(gate, admin):
    """Fails if the gate does not serve a good request after the test."""
    yield
    for _ in range(8):
        assert gate.get(SEARCH, admin).status_code == 200


def send(gate, head, body=b""):
    return http1(gate.ready["ports"]["gate"], head + body)


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: \xff\xff\xff",
        b"Authorization: Basic \xff\xff",
        b"Authorization: Bearer \xff.\xff.\xff",
        b"X-Anything: \xff\xfe\xfd",
        b"Content-Type: \xff",
        b"X-MLFLOW-WORKSPACE: \xff",
        b"X-Mlflow-Experiment-Id: \xff",
        b"Cookie: \xff=\xff",
    ],
)
def test_bytes_that_are_not_utf_8_in_a_header_do_no_harm(gate, healthy, header):
    for _ in range(20):
        head = b"GET " + SEARCH.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        answer = send(gate, head + header + b"\r\nConnection: close\r\n\r\n")
        assert answer is not None and answer.status in (400, 401, 403)


def test_bytes_that_are_not_utf_8_with_a_good_credential_do_no_harm(gate, admin, healthy):
    head = f"GET {SEARCH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {basic(*admin)}\r\n"
    answer = send(gate, head.encode() + b"X-Anything: \xff\xfe\r\nConnection: close\r\n\r\n")
    assert answer.status in (200, 400)


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
@pytest.mark.parametrize("shape", ["{x}", "{x}.{x}.{x}"])
def test_a_token_of_60_kib_is_refused(gate, healthy, scheme, shape):
    value = shape.format(x="A" * (60 * 1024 // shape.count("x")))
    with gate.recorder.silence():
        answer = gate.get(SEARCH, headers={"Authorization": f"{scheme} {value}"})
        assert answer.status_code in (400, 401, 431), answer.text


def test_a_5_mib_json_body_is_read_to_its_end(gate, healthy, unique):
    """The id that decides is the last key, behind 5 MiB of others."""
    owner = gate.create_user("large-owner")
    stranger = gate.create_user("large-stranger")
    run = gate.create_run(gate.create_experiment(unique, owner), owner)
    tags = [{"key": f"k{n}", "value": "v" * 4000} for n in range(1320)]
    body = json.dumps({"tags": tags, "run_id": run})
    assert len(body) > 5 << 20
    with gate.recorder.silence():
        refused = gate.post("/api/2.0/mlflow/runs/log-batch", stranger, data=body, headers=JSON)
        assert refused.status_code == 403, refused.text
    # MLflow takes at most 100 tags: that it says so shows that it was asked.
    answer = gate.post("/api/2.0/mlflow/runs/log-batch", owner, data=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert "batch" in answer.text or "tags" in answer.text


JSON = {"Content-Type": "application/json"}


def test_a_body_over_the_limit_is_413_in_mlflows_form(gate, admin, healthy):
    body = b'{"run_id": "' + b"a" * (9 << 20) + b'"}'
    with gate.recorder.silence():
        answer = gate.post("/api/2.0/mlflow/runs/update", admin, data=body, headers=JSON)
        assert answer.status_code == 413, answer.text
        assert "error_code" in answer.json()


def test_a_chunked_body_is_held_back_like_any_other(gate, healthy, unique):
    owner = gate.create_user("chunk-owner")
    stranger = gate.create_user("chunk-stranger")
    run = gate.create_run(gate.create_experiment(unique, owner), owner)
    body = json.dumps({"key": "k", "value": "v" * 5000, "run_id": run}).encode()
    pieces = lambda: (body[i : i + 700] for i in range(0, len(body), 700))
    with gate.recorder.silence():
        refused = gate.post(
            "/api/2.0/mlflow/runs/set-tag", stranger, data=pieces(), headers=JSON
        )
        assert refused.status_code == 403, refused.text
    allowed = gate.post("/api/2.0/mlflow/runs/set-tag", owner, data=pieces(), headers=JSON)
    assert allowed.status_code == 200, allowed.text


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deeply_nested_json_is_refused(gate, admin, healthy, depth):
    body = '{"a":' * depth + "1" + "}" * depth
    with gate.recorder.silence():
        answer = gate.post("/api/2.0/mlflow/runs/set-tag", admin, data=body, headers=JSON)
        assert answer.status_code == 400, answer.text


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(
    gate, admin, healthy
):
    head = (
        f"POST /api/2.0/mlflow/runs/set-tag HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: {basic(*admin)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: 100000\r\n\r\n"
    ).encode()
    import socket

    with gate.recorder.silence():
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", gate.ready["ports"]["gate"])) as client:
                client.sendall(head + b'{"run_id": "' + b"a" * 5000)


def test_poison_between_good_requests_costs_none_of_them(gate, admin):
    """A trap in the filter would cost its worker every request until the module is back."""
    stop = threading.Event()

    def poison():
        while not stop.is_set():
            head = b"GET /\xff\xfe?\xff=\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            send(gate, head + b"Authorization: \xff\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=poison)
    thread.start()
    try:
        with requests.Session() as session:
            session.trust_env = False
            statuses = {
                session.get(gate.url + SEARCH, auth=admin, timeout=30).status_code
                for _ in range(200)
            }
    finally:
        stop.set()
        thread.join()
    assert statuses == {200}

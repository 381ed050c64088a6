"""An Envoy that serves two other things gets the gate: MLflow is guarded, the others stay as they
were, byte by byte."""

import difflib
import re
import statistics
import time

import pytest
from support.envoy import SHIPPED, addresses, localised, running, stats
from support.gate import basic, free_port
from support.raw import http1
from support.services import Service

BEFORE, AFTER = (SHIPPED / "existing" / name for name in ("before.yaml", "after.yaml"))
MARKER = "# This is after.yaml"

# What differs from one request to the next, whoever forwards it.
VARYING = re.compile(
    rb"(?im)^(date|x-envoy-upstream-service-time|x-request-id):[^\r\n]*\r\n"
)

REQUESTS = {
    "a page": b"GET / HTTP/1.1\r\nHost: %h\r\n\r\n",
    "a path of MLflow's": b"GET /api/2.0/mlflow/experiments/search HTTP/1.1\r\nHost: %h\r\n\r\n",
    "an odd path": b"GET //a/./b/../c;d=%2F?q=%00&q=1 HTTP/1.1\r\nHost: %h\r\n\r\n",
    "credentials and identity headers": (
        b"GET /me HTTP/1.1\r\nHost: %h\r\nAuthorization: Basic Zm9vOmJhcg==\r\n"
        b"X-Forwarded-User: eve\r\nX_Mlgate_User: eve\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"
    ),
    "a body": b"POST /form HTTP/1.1\r\nHost: %h\r\nContent-Length: 12\r\n\r\n{\"a\":1,\"a\":2",
    "a large body": b"PUT /up HTTP/1.1\r\nHost: %h\r\nContent-Length: 600000\r\n\r\n" + b"x" * 600000,
    "a compressed answer": b"GET / HTTP/1.1\r\nHost: %h\r\nAccept-Encoding: gzip\r\n\r\n",
    "an upper case host": b"GET / HTTP/1.1\r\nHost: %H\r\n\r\n",
    "another method": b"DELETE /x HTTP/1.1\r\nHost: %h\r\n\r\n",
}


@pytest.fixture(scope="module")
def services():
    services = {"billing": Service("billing"), "wiki": Service("wiki")}
    yield services
    for service in services.values():
        service.close()


class Gateway:
    def __init__(self, gate, services, file, directory):
        self.port, self.admin_port = free_port(), free_port()
        changes = {
            "port_value: 9901": f"port_value: {self.admin_port}",
            "port_value: 10000": f"port_value: {self.port}",
            "port_value: 7001": f"port_value: {services['billing'].port}",
            "port_value: 7002": f"port_value: {services['wiki'].port}",
        }
        if file == AFTER:
            changes = addresses(gate, self.admin_port) | changes
        self.file = directory / file.name
        self.file.write_text(localised(file, changes))


@pytest.fixture(scope="module")
def gateways(gate, services, tmp_path_factory):
    """Before and after, at the same time."""
    directory = tmp_path_factory.mktemp("existing")
    before = Gateway(gate, services, BEFORE, directory)
    after = Gateway(gate, services, AFTER, directory)
    with running(gate, before.file, before.port), running(gate, after.file, after.port):
        yield before, after


def test_the_addition_takes_nothing_away():
    before, after = (file.read_text().splitlines() for file in (BEFORE, AFTER))
    changes = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert not [line for line in changes if line.startswith("-")]
    inside, stray = False, []
    for line in (line for line in after if MARKER not in line):
        inside = inside or "# --- MLflow" in line
        if not inside and line not in before:
            stray.append(line)
        inside = inside and "# --- end ---" not in line
    assert not stray


def exchange(gateway, service, name, request):
    """What the client and the service get, without what varies by itself."""
    host = f"{name}.example.com".encode()
    data = request.replace(b"%h", host).replace(b"%H", host.upper())
    del service.heard[:]
    answer = http1(gateway.port, data)
    heard = [VARYING.sub(b"", sent) for sent in service.heard]
    headers = {n: v for n, v in answer.headers.items() if n not in
               ("date", "x-envoy-upstream-service-time")}
    return answer.status, headers, answer.body, heard


@pytest.mark.parametrize("name", ["billing", "wiki"])
@pytest.mark.parametrize("what", REQUESTS)
def test_other_services_get_and_give_the_same_bytes(gateways, services, name, what):
    before, after = (exchange(g, services[name], name, REQUESTS[what]) for g in gateways)
    assert before == after
    assert before[3], "the service was asked"


def test_the_filter_does_not_even_see_requests_for_other_services(gateways, services):
    _, after = gateways
    before = stats(after.admin_port, "mlgate_")
    for name in services:
        exchange(after, services[name], name, REQUESTS["a page"])
    requests = {n: v for n, v in before.items() if "watch" not in n and "policy" not in n}
    now = stats(after.admin_port, "mlgate_")
    assert {name: now[name] for name in requests} == requests


def test_other_services_are_as_fast_as_before(gateways):
    """In turn, so that whatever else the machine does meets both."""
    spent = {gateway.port: [] for gateway in gateways}
    request = REQUESTS["a page"].replace(b"%h", b"wiki.example.com")
    for _ in range(300):
        for gateway in gateways:
            start = time.perf_counter()
            assert http1(gateway.port, request).status == 200
            spent[gateway.port].append(time.perf_counter() - start)
    before, after = (statistics.median(spent[gateway.port]) for gateway in gateways)
    print(f"median before {before * 1e6:.0f} µs, after {after * 1e6:.0f} µs")
    assert after < before * 1.3 + 0.0002


def mlflow(gateway, path, credential=None, host=b"mlflow.example.com"):
    head = b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n"
    if credential:
        head += b"Authorization: " + basic(*credential).encode() + b"\r\n"
    return http1(gateway.port, head + b"\r\n")


@pytest.mark.parametrize(
    "host",
    [b"mlflow.example.com", b"MLflow.Example.COM", b"mlflow.example.com:10000"],
)
def test_mlflow_is_guarded_by_whatever_spelling_of_its_host(gate, gateways, host, unique):
    _, after = gateways
    owner, stranger = gate.create_user("existing-owner"), gate.create_user("existing-stranger")
    experiment = gate.create_experiment(unique, owner)
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}".encode()
    with gate.recorder.silence():
        assert mlflow(after, path, host=host).status == 401
        assert mlflow(after, path, stranger, host=host).status == 403
    assert mlflow(after, path, owner, host=host).status == 200


def test_a_body_is_read_before_mlflow_sees_the_request(gate, gateways, unique):
    _, after = gateways
    owner, stranger = gate.create_user("existing-owner"), gate.create_user("existing-stranger")
    experiment = gate.create_experiment(unique, owner)
    body = b'{"experiment_id":"%s","new_name":"taken-%s"}' % (experiment.encode(), unique.encode())
    statuses = []
    for who in (stranger, owner):
        head = b"POST /api/2.0/mlflow/experiments/update HTTP/1.1\r\nHost: mlflow.example.com\r\n"
        head += b"Content-Type: application/json\r\nAuthorization: " + basic(*who).encode()
        head += b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        statuses.append(http1(after.port, head + body).status)
    assert statuses == [403, 200]

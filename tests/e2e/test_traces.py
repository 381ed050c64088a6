"""A client's trace, from its request through the filter and the policy server to a collector."""

import json
import re
import secrets

import pytest
import requests
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.canaries import CANARIES
from support.collector import Collector
from support.envoy import another_envoy
from support.gate import basic, wait_until
from support.second_server import another_policy_server

CLIENTS_SPAN = "b7ad6b7169203331"
READ = "/api/2.0/mlflow/experiments/get"
ATTRIBUTES = {
    "rpc.system", "rpc.service", "rpc.method", "http.request.method", "http.route",
    "mlgate.request_id", "mlgate.outcome", "mlgate.reason", "mlgate.revision",
}  # fmt: skip


def tracing_server(gate, url, log_file):
    """A second policy server on the same store, that sends spans; yields its port."""
    # Of calls without a client's trace there are to be no spans: tests find theirs.
    return another_policy_server(gate, log_file, {"otlp-endpoint": url, "otlp-sample": "0"})


class Traced:
    """The gate again, with a policy server that sends spans to a collector."""

    def __init__(self, gate, port, collector):
        self.gate, self.port, self.collector = gate, port, collector

    def request(self, method, path, credential, sampled=True, **options):
        """A request in a trace of its own: the answer, and the trace's id."""
        trace = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace}-{CLIENTS_SPAN}-0{int(sampled)}"}
        headers["Authorization"] = (
            basic(*credential) if isinstance(credential, tuple) else f"Bearer {credential}"
        )
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://127.0.0.1:{self.port}{path}"
            answer = session.request(method, url, headers=headers, timeout=30, **options)
        return answer, trace

    def spans(self, trace):
        """Of this trace, by name: once the call's own span is there, its parts are too."""
        of_trace = lambda: [s for s in self.collector.spans() if s.trace_id.hex() == trace]
        wait_until(
            lambda: any(s.parent_span_id.hex() == CLIENTS_SPAN for s in of_trace()),
            f"a span of {trace} below the client's",
        )
        found = of_trace()
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}


@pytest.fixture(scope="module")
def traced(gate, tmp_path_factory):
    directory, collector = tmp_path_factory.mktemp("traced"), Collector()
    policy = gate.ready["ports"]["policy"]
    with tracing_server(gate, collector.url, directory / "server.log") as port:

        def to_that_server(configuration):
            text = json.dumps(configuration["static_resources"]["clusters"])
            assert text.count(f'"port_value": {policy}') == 1
            text = text.replace(f'"port_value": {policy}', f'"port_value": {port}')
            configuration["static_resources"]["clusters"] = json.loads(text)

        with another_envoy(gate, to_that_server, directory) as listening:
            yield Traced(gate, listening, collector)
    collector.close()


@pytest.fixture(scope="module")
def people(traced):
    """An owner, a stranger, and the owner's experiment."""
    owner, stranger = traced.gate.create_user("trace-owner"), traced.gate.create_user("trace-eve")
    return owner, stranger, traced.gate.create_experiment("traced", owner)


def attributes(span):
    values = ((a.key, a.value) for a in span.attributes)
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values}


def test_a_decision_is_a_span_of_the_trace_that_the_client_began(traced, people):
    owner, stranger, experiment = people
    path = f"{READ}?experiment_id={experiment}"
    with traced.gate.recorder.listening() as heard:
        answer, trace = traced.request("GET", path, owner)
    assert answer.status_code == 200
    spans = traced.spans(trace)
    call, part = spans["Authorize"], spans["authenticate"]
    assert call.kind == Span.SPAN_KIND_SERVER
    assert call.parent_span_id.hex() == CLIENTS_SPAN
    assert part.parent_span_id == call.span_id and part.trace_id == call.trace_id
    assert call.start_time_unix_nano <= part.start_time_unix_nano
    assert part.end_time_unix_nano <= call.end_time_unix_nano
    told = attributes(call)
    assert told["http.route"] == "/2.0/mlflow/experiments/get"
    assert told["mlgate.outcome"].endswith("ALLOWED") and told["mlgate.revision"] > 0
    # MLflow is in the same trace, beside the decision: its parent is the client's span too.
    assert f"traceparent: 00-{trace}-{CLIENTS_SPAN}-01".encode() in heard[0]
    request_id = re.search(rb"(?i)x-request-id: (\S+)", heard[0])[1].decode()
    assert told["mlgate.request_id"] == request_id

    answer, trace = traced.request("GET", path, stranger)
    assert answer.status_code == 403
    told = attributes(traced.spans(trace)["Authorize"])
    assert told["mlgate.outcome"].endswith("DENIED") and told["mlgate.reason"] == "no_grant"


def test_administration_is_a_span_too(traced):
    path = "/api/2.0/mlflow/users/get?username=trace-owner"
    answer, trace = traced.request("GET", path, traced.gate.admin)
    assert answer.status_code == 200
    told = attributes(traced.spans(trace)["Administer"])
    assert told["http.response.status_code"] == 200


def test_what_the_client_does_not_record_and_what_is_cached_is_no_span(traced, people):
    owner, _, experiment = people
    update = "/api/2.0/mlflow/experiments/set-experiment-tag"
    body = {"experiment_id": experiment, "key": "k", "value": "v"}
    unrecorded = traced.request("POST", update, owner, sampled=False, json=body)
    # The same question: it is answered from the cache.
    cached = traced.request("POST", update, owner, json=body)
    assert [answer.status_code for answer, _ in (unrecorded, cached)] == [200, 200]
    # Spans are sent in order: those before this one would be there.
    _, last = traced.request("GET", f"{READ}?experiment_id=4711471147114711", owner)
    traced.spans(last)
    traces = {span.trace_id.hex() for span in traced.collector.spans()}
    assert last in traces and not {trace for _, trace in (unrecorded, cached)} & traces


def test_no_span_says_who_it_was_nor_what_they_sent(traced, people):
    owner, stranger, experiment = people
    made = traced.gate.mlgate("token", "create", "trace-eve", "traced").stdout
    token = re.search(r"mlg_[A-Za-z0-9_-]{48}", made)[0]
    wrong, words = f"wrong-{secrets.token_hex(8)}", [secrets.token_hex(12) for _ in range(4)]
    number = str(10**17 + secrets.randbelow(10**17))
    create = "/api/2.0/mlflow/users/create"
    artifact = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{words[0]}/artifacts/a.txt"
    delete = "/api/2.0/mlflow/registered-models/delete"
    user = {"username": words[3], "password": wrong + wrong}
    asked = [
        traced.request("GET", f"{READ}?experiment_id={number}", token),
        traced.request("GET", f"{READ}?experiment_id={experiment}", (stranger[0], wrong)),
        traced.request("PUT", artifact, stranger, data=words[1].encode()),
        traced.request("DELETE", delete, owner, json={"name": words[2]}),
        traced.request("POST", create, owner, json=user),
    ]
    assert [answer.status_code for answer, _ in asked] == [403, 401, 403, 403, 403]
    calls = [
        span
        for _, trace in asked
        for span in traced.spans(trace).values()
        if span.parent_span_id.hex() == CLIENTS_SPAN
    ]
    assert len(calls) == len(asked)
    for span in calls:
        assert set(attributes(span)) <= ATTRIBUTES | {"http.response.status_code", "error.type"}
    sent = traced.collector.bytes()
    assert b"mlgate.request_id" in sent, "it is looked for in what was sent"
    private = [owner[0], stranger[0], token, wrong, "127.0.0.1", number, *words]
    assert [text for text in private if text.encode() in sent] == []
    assert list(CANARIES.leaks_in(sent, "spans")) == []

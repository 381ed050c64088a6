"""What the gate must filter and cannot read is not passed on: by an upstream that compresses
unasked, answers in pieces, breaks off, or says something else than MLflow."""

import contextlib
import gzip
import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from support.envoy import another_envoy
from support.gate import basic

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=100"
HIDDEN = "hidden-from-everybody"


def rows(mine, others=50):
    """A list with one row that may be read, between those that may not."""
    hidden = [{"experiment_id": str(10**9 + n), "name": HIDDEN} for n in range(others)]
    return {"experiments": [*hidden[:25], {"experiment_id": mine, "name": "mine"}, *hidden[25:]]}


class Upstream(BaseHTTPRequestHandler):
    """Answers as it is told, whatever it is asked."""

    protocol_version = "HTTP/1.1"
    body, answer_headers, chunked = b"", {}, False
    # The whole answer as bytes, after which the connection is closed.
    raw = None
    accepted = []

    def do_GET(self):
        type(self).accepted.append(self.headers.get("Accept-Encoding"))
        if self.raw is not None:
            self.wfile.write(self.raw)
            self.close_connection = True
            return
        self.send_response_only(200)
        for name, value in self.headers_to_send().items():
            self.send_header(name, value)
        self.end_headers()
        if not self.chunked:
            self.wfile.write(self.body)
            return
        for start in range(0, len(self.body), 1000):
            piece = self.body[start : start + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def headers_to_send(self):
        length = {} if self.chunked else {"Content-Length": str(len(self.body))}
        framing = {"Transfer-Encoding": "chunked"} if self.chunked else length
        return {"Content-Type": "application/json", **framing, **type(self).answer_headers}

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """The gate hangs up on answers that it does not take."""


@pytest.fixture(scope="module")
def upstream():
    server = Server(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(scope="module")
def asking(gate, upstream, tmp_path_factory):
    """Sends the search through an Envoy in front of that upstream."""
    user = gate.create_user("judge")
    mine = gate.create_experiment("the judge's own", user)

    def change(configuration):
        for cluster in configuration["static_resources"]["clusters"]:
            if cluster["name"] == "mlflow":
                endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
                endpoint["address"]["socket_address"]["port_value"] = upstream
                # Else Envoy drops the trailers of answers before the filter hears of them.
                [protocol] = cluster["typed_extension_protocol_options"].values()
                options = protocol["explicit_http_config"]["http_protocol_options"]
                options["enable_trailers"] = True

    with another_envoy(gate, change, tmp_path_factory.mktemp("judged")) as port:

        def ask(body, headers=None, chunked=False, raw=None):
            Upstream.body, Upstream.answer_headers, Upstream.chunked = body, headers or {}, chunked
            Upstream.raw = raw
            authorization = {"Authorization": basic(*user), "Accept-Encoding": "gzip, deflate, br"}
            with requests.Session() as session:
                session.trust_env = False
                url = f"http://localhost:{port}{SEARCH}"
                return session.get(url, headers=authorization, timeout=30, stream=True)

        yield ask, mine


def assert_only_mine(answer, mine):
    assert answer.status_code == 200, answer.text
    assert [row["experiment_id"] for row in answer.json()["experiments"]] == [mine]
    assert HIDDEN not in answer.text
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def assert_nothing_shown(answer):
    body = b""
    # A connection that ends early shows no more than one that ends in time.
    with contextlib.suppress(requests.RequestException):
        body = answer.content
    assert answer.status_code in (502, 503), (answer.status_code, body[:500])
    assert HIDDEN.encode() not in body
    assert HIDDEN not in str(answer.headers)


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_a_plain_answer_is_filtered_however_it_is_framed(asking, chunked):
    ask, mine = asking
    assert_only_mine(ask(json.dumps(rows(mine)).encode(), chunked=chunked), mine)
    assert Upstream.accepted[-1] is None, "it was not asked to compress"


def test_a_large_answer_is_filtered_whole(asking):
    ask, mine = asking
    body = json.dumps(rows(mine, others=8000)).encode()
    assert len(body) > 400_000
    assert_only_mine(ask(body, chunked=True), mine)


def stored_brotli(data):
    """Brotli that does without compressing: one uncompressed block, and an empty last one."""
    header = (len(data) - 1) << 4 | 1 << 20
    return header.to_bytes(3, "little") + data + b"\x03"


def stored_zstd(data):
    """A zstd frame of one raw block."""
    head = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    return head + (len(data) << 3 | 1).to_bytes(3, "little") + data


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", stored_brotli),
        ("BR", stored_brotli),
        ("zstd", stored_zstd),
        ("identity, gzip", gzip.compress),
        # JSON under another name is what a client would fail to read: it does not pass either.
        ("br", lambda body: body),
    ],
    ids=["gzip", "x-gzip", "deflate", "br", "BR", "zstd", "identity and gzip", "br in name only"],
)
def test_a_compressed_answer_is_not_passed_on(asking, encoding, compress, chunked):
    ask, mine = asking
    body = compress(json.dumps(rows(mine)).encode())
    assert_nothing_shown(ask(body, {"Content-Encoding": encoding}, chunked))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(rows("1")).encode()[:-10],
        b'{"experiments": [], "experiments": [{"name": "%s"}]}' % HIDDEN.encode(),
        f"<html>{HIDDEN}</html>".encode(),
        json.dumps([rows("1")]).encode(),
        json.dumps({"experiments": HIDDEN}).encode(),
        json.dumps({"experiments": [HIDDEN]}).encode(),
        gzip.compress(json.dumps(rows("1")).encode()),
        stored_brotli(json.dumps(rows("1")).encode()),
        stored_zstd(json.dumps(rows("1")).encode()),
        json.dumps(rows("1")).encode("utf-16"),
    ],
    ids=[
        *("cut", "twice", "html", "list", "text", "texts"),
        *("unsaid gzip", "unsaid br", "unsaid zstd", "utf-16"),
    ],
)
def test_an_answer_that_is_none_of_mlflows_is_not_passed_on(asking, body):
    assert_nothing_shown(asking[0](body))


def test_an_answer_of_another_type_is_not_passed_on(asking):
    ask, mine = asking
    body = json.dumps(rows(mine)).encode()
    assert_nothing_shown(ask(body, {"Content-Type": "text/html"}))


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"


def chunks(body, size=1000, extension=b""):
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)


@pytest.mark.parametrize(
    ("size", "extension", "trailers"),
    [
        (1000, b"", b"X-Checksum: 1\r\n"),
        (1, b"", b""),
        (1000, b";name=value", b"Grpc-Status: 0\r\nContent-Length: 5\r\n"),
    ],
    ids=["a trailer", "a byte at a time", "an extension and trailers"],
)
def test_an_answer_in_odd_chunks_is_filtered(asking, size, extension, trailers):
    ask, mine = asking
    body = json.dumps(rows(mine)).encode()
    raw = CHUNKED + b"\r\n" + chunks(body, size, extension) + b"0\r\n" + trailers + b"\r\n"
    assert_only_mine(ask(b"", raw=raw), mine)


@pytest.mark.parametrize(
    "broken",
    [
        lambda body: CHUNKED + b"\r\n" + chunks(body),
        lambda body: CHUNKED + b"\r\n" + chunks(body) + b"ffff\r\n" + body[:100],
        lambda body: CHUNKED + b"\r\n" + chunks(body) + b"nonsense\r\n",
        lambda body: CHUNKED + b"Content-Length: 20\r\n\r\n" + chunks(body) + b"0\r\n\r\n",
        lambda body: CHUNKED.replace(b"chunked", b"gzip, chunked")
        + b"\r\n" + chunks(gzip.compress(body)) + b"0\r\n\r\n",
        lambda body: CHUNKED.replace(b"chunked", b"identity") + b"\r\n" + body[:-5],
        lambda body: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(body) + 50) + body,
        lambda body: CHUNKED + b"\r\n" + chunks(body) + b"0\r\nbad trailer\r\n\r\n",
    ],
    ids=[
        "no last chunk", "cut in a chunk", "no chunk", "a length besides", "another coding",
        "identity cut", "cut", "a bad trailer",
    ],
)  # fmt: skip
def test_an_answer_that_breaks_off_or_is_framed_in_two_ways_is_not_passed_on(asking, broken):
    ask, mine = asking
    assert_nothing_shown(ask(b"", raw=broken(json.dumps(rows(mine)).encode())))

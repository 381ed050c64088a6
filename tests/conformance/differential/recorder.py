"""What stands where the gate expects MLflow.

A request of the corpus is recorded and answered with an error that has no side effects, so that
the world behind the gate never changes; whatever asks for its answer, and whatever is not of the
corpus, goes on to the real MLflow.
"""

import contextlib
import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CASE_HEADER = "X-Conformance-Case"
FORWARD_HEADER = "X-Conformance-Forward"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length"}
NOT_FOUND = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "recorded"}).encode()


@dataclass(frozen=True)
class Seen:
    """A request as it arrived behind the gate."""

    method: str
    target: str
    body: bytes | None


class Recorder:
    def __init__(self, mlflow_port: int):
        self.mlflow_port = mlflow_port
        self.seen: dict[str, Seen] = {}
        handler = type("Handler", (Handler,), {"recorder": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    recorder: Recorder
    protocol_version = "HTTP/1.1"
    # Headers and body of an answer leave in two segments; Nagle would hold the second back.
    disable_nagle_algorithm = True

    def __getattr__(self, name: str):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        body = self.read_body()
        case = self.headers.get(CASE_HEADER)
        if case is not None:
            self.recorder.seen[case] = Seen(self.command, self.path, body)
        if case is None or FORWARD_HEADER in self.headers:
            self.forward(body)
        else:
            self.reply(404, [("Content-Type", "application/json")], NOT_FOUND)

    def read_body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self.chunks())
        length = self.headers.get("Content-Length")
        return self.rfile.read(int(length)) if length is not None else None

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def forward(self, body: bytes | None) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.recorder.mlflow_port, timeout=120)) as upstream:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            if body is not None:
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            response = upstream.getresponse()
            content = response.read()
            self.reply(response.status, response.getheaders(), content)

    def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass

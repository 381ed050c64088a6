"""An HTTP client that sends what it is given, byte for byte."""

import base64
import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from .corpus.case import Request

TIMEOUT_SECONDS = 20
# In place of a status.
NO_ANSWER = 0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Client:
    """One keep-alive connection; for one thread."""

    def __init__(self, base: str):
        parts = urlsplit(base)
        self.host, self.port = parts.hostname, parts.port
        self.connection: http.client.HTTPConnection | None = None

    def send(self, request: Request, *more: tuple[str, str]) -> Answer:
        """The answer; a connection that the server closed meanwhile is opened again, once."""
        try:
            return self.attempt(request, more)
        except TimeoutError:
            self.close()
            return Answer(NO_ANSWER, {}, f"no answer in {TIMEOUT_SECONDS} s".encode())
        except (http.client.HTTPException, ConnectionError):
            self.close()
            return self.attempt(request, more)

    def attempt(self, request: Request, more: tuple[tuple[str, str], ...]) -> Answer:
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        connection = self.connection
        connection.putrequest(request.method, request.target, skip_accept_encoding=True)
        for name, value in (*request.headers, *more):
            connection.putheader(name, value)
        if request.body is not None:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        with connection.getresponse() as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, headers, response.read())
            if response.will_close:
                self.close()
        return answer

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Admin:
    """JSON calls as the admin."""

    def __init__(self, base: str, username: str, password: str):
        self.client = Client(base)
        self.authorization = ("Authorization", basic(username, password))

    def try_call(self, method: str, path: str, body: object) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = (("Content-Type", "application/json"),)
        return self.client.send(Request(method, path, headers, data), self.authorization)

    def call(self, method: str, path: str, body: object = None) -> dict:
        answer = self.try_call(method, path, body)
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:2000]!r}")
        return json.loads(answer.body)

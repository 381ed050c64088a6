"""The search for secrets in what a session has written (`support/canaries.py`) finds them."""

import base64
import json
import tempfile
import urllib.parse
from pathlib import Path

import pytest
from support.canaries import PASSWORD, Canaries, Leak
from support.gate import basic
from support.tokens import forged

JWT = forged({"alg": "RS256", "kid": "rs256"}, {"sub": "somebody", "exp": 1}, b"x" * 256)
SECRET = "k7!generated at random"

LEAKS = {
    "a password": PASSWORD.format("somebody"),
    "a password in a URL": "/login?p=" + urllib.parse.quote(PASSWORD.format("x")),
    "a password in a form": urllib.parse.urlencode({"password": PASSWORD.format("x")}),
    "a credential": "Authorization: " + basic("somebody", PASSWORD.format("somebody")),
    "only its base64": basic("so", PASSWORD.format("x")).removeprefix("Basic "),
    "base64 shifted by one": base64.b64encode(b"a:" + PASSWORD.format("x").encode()).decode(),
    "base64 shifted by two": base64.b64encode(b"ab:" + PASSWORD.format("x").encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"a:" + SECRET.encode()).decode(),
    "another credential": json.dumps({"authorization": "Basic c29tZWJvZHk6c2VjcmV0"}),
    "a token": "token=mlg_" + "aZ09_-" * 8 + " was refused",
    "a JWT": f"Bearer {JWT}",
    "a hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
    "a hash of werkzeug's": "scrypt:32768:8:1$salt$00ff",
    "what was generated": f"secret: {SECRET}",
    "a key": "-----BEGIN PRIVATE KEY-----",
    "a line that a client wrote": "no such user: a\r\nX-Injected: 1",
}


@pytest.fixture
def directory():
    """Not where the session's own search would find what these tests write."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def canaries():
    canaries = Canaries()
    canaries.watch_for("a generated secret", SECRET)
    return canaries


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_secret_in_a_log_is_found_where_it_is(canaries, leak, directory):
    (directory / "logs").mkdir()
    log = directory / "logs" / "envoy.log"
    before = "x" * 70_000 + "\n"
    log.write_bytes(before.encode() + b"\xff\xfe " + leak.encode() + b"\n")
    leaks, seen = canaries.scan(directory)
    assert leaks and seen > 70_000
    assert all(found.file == str(log) and found.offset >= len(before) for found in leaks)
    assert leak not in "".join(map(str, leaks)), "the report repeats the secret"


def test_what_looks_like_a_secret_and_is_none_is_left_alone(canaries, directory):
    (directory / "server.log").write_text(
        'token {"prefix":"mlg_4fGk1","name":"laptop"}\n'
        'www-authenticate: Basic realm="mlflow"\n'
        "Basic authentication is required; basic understanding helps.\n"
        "run 0123456789abcdef0123456789abcdef eyJhbGciOiJub25lIn0\n"
        "imported 3 hashes (argon2id, scrypt, pbkdf2:sha256)\n"
    )
    # Made by a test on purpose, and no service's log.
    (directory / "password.txt").write_text(PASSWORD.format("somebody"))
    assert canaries.scan(directory) == ([], (directory / "server.log").stat().st_size)


def test_a_core_is_a_leak(canaries, directory):
    (directory / "core.4711").write_bytes(b"\x7fELF")
    (directory / "core_tests").mkdir()
    assert canaries.scan(directory) == ([Leak(str(directory / "core.4711"), 0, "a core")], 0)

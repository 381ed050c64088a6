"""Tokens that lie, each refused for its own reason, beside a genuine one that is accepted.

The keys are those that the policy server has discovered, so that nothing here depends on keys in
Envoy's configuration.
"""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.issuer import Key, decode, encode, signed

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
MINE = {"aud": "mlflow", "sub": "ana"}


@pytest.fixture(scope="module")
def issuer(federation):
    """Publishes a key of each kind; `k1` is ES256."""
    issuer = federation["plain"]
    issuer.more = {"RS256": issuer.publish("r1", "RS256"), "EdDSA": issuer.publish("e1", "EdDSA")}
    for key in [issuer.signing, *issuer.more.values()]:
        deadline = time.monotonic() + 30
        while federation.gate.get(SEARCH, issuer.token(key, **MINE)).status_code != 200:
            assert time.monotonic() < deadline, f"the control of {key.algorithm} is refused"
            time.sleep(0.2)
    return issuer


class Canary:
    """Counts who connects: no token may make anybody fetch anything."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/keys"
        self.visits = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return
            self.visits += 1

    def close(self):
        self._listener.close()


@pytest.fixture
def judge(federation, issuer):
    """Fails unless each token is refused for its reason, MLflow hears nothing of it, and a genuine
    token is accepted before and after."""

    def control(when):
        answer = federation.gate.get(SEARCH, issuer.token(**MINE, jti=str(time.monotonic_ns())))
        assert answer.status_code == 200, f"the control {when}: {answer.headers}"

    def judge(tokens):
        control("before")
        wrong = {}
        for what, (token, reason) in tokens.items():
            with federation.gate.recorder.silence():
                answer = federation.gate.get(SEARCH, token)
            got = (answer.status_code, answer.headers.get("x-mlgate-reason"))
            if got != (401, reason):
                wrong[what] = got
        assert wrong == {}
        control("after")

    return judge


def forged(header, claims, signature=b""):
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return b".".join(map(encode, parts)).decode()


def hmac_signed(secret, header, claims):
    text = encode(json.dumps(header).encode()) + b"." + encode(json.dumps(claims).encode())
    return (text + b"." + encode(hmac.new(secret, text, hashlib.sha256).digest())).decode()


def test_no_token_chooses_its_algorithm(issuer, judge):
    claims = issuer.claims(**MINE)
    rsa, ec = issuer.more["RS256"], issuer.signing
    public = rsa.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.dumps(rsa.jwk()).encode()
    algorithm = {
        f"alg {alg!r}": (forged({"alg": alg, "kid": "k1"}, claims), "jwt_algorithm")
        for alg in ["none", "None", "NONE", "nOnE", "", "es256", "HS256", "ES256K", 7, None, ["ES256"]]
    }
    hs = {
        f"HS256 with the public key as {form}": (
            hmac_signed(secret, {"alg": "HS256", "kid": "r1"}, claims),
            "jwt_algorithm",
        )
        for form, secret in [("PEM", pem), ("bare PEM", pem.strip()), ("DER", der), ("JWK", jwk)]
    }
    header, payload, signature = issuer.token(**MINE).split(".")
    relabelled = {
        # The key's own `alg` pins it.
        "RS256 key shown as PS256": (issuer.token(rsa, {"alg": "PS256"}, **MINE), "jwt_algorithm"),
        "ES256 token with the RSA key's kid": (issuer.token(ec, {"kid": "r1"}, **MINE), "jwt_kid"),
        "RS256 token with the EC key's kid": (issuer.token(rsa, {"kid": "k1"}, **MINE), "jwt_kid"),
        "EdDSA token with the RSA key's kid": (
            issuer.token(issuer.more["EdDSA"], {"kid": "r1"}, **MINE),
            "jwt_kid",
        ),
        "no alg": (forged({"kid": "k1"}, claims), "jwt_algorithm"),
        "no signature": (f"{header}.{payload}.", "jwt_signature"),
        "a signature of zeros": (f"{header}.{payload}.{encode(bytes(64)).decode()}", "jwt_signature"),
        "a signature in DER": (der_signed(issuer), "jwt_signature"),
        "a cut signature": (
            f"{header}.{payload}.{encode(decode(signature)[:-3]).decode()}",
            "jwt_signature",
        ),
        "another payload": (
            f"{header}.{encode(json.dumps({**claims, 'sub': 'root'}).encode()).decode()}.{signature}",
            "jwt_signature",
        ),
    }
    judge({**algorithm, **hs, **relabelled})


def der_signed(issuer):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    text = ".".join(issuer.token(**MINE).split(".")[:2]).encode()
    signature = issuer.signing.private.sign(text, ec.ECDSA(hashes.SHA256()))
    return (text + b"." + encode(signature)).decode()


def test_no_token_brings_its_key(issuer, judge):
    canary, own = Canary(), Key("k1", "ES256")
    certificate = base64.b64encode(b"x" * 400).decode()
    brought = {
        "jwk": own.jwk(),
        "jku": canary.url,
        "x5u": canary.url,
        "x5c": [certificate],
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "enc": "A128GCM",
        "cty": "JWT",
    }
    tokens = {}
    for name, value in brought.items():
        for whose, key in [("own", own), ("the issuer's", issuer.signing)]:
            token = issuer.token(key, {name: value}, **MINE)
            tokens[f"{name}, signed with {whose} key"] = (token, "jwt_header")
    for what, kid in {
        "path": "../../../../dev/null",
        "URL": canary.url,
        "SQL": "k1' UNION SELECT 'AA",
        "command": "k1; id",
        "NUL": "k1\0",
        "blank": "k1 ",
        "case": "K1",
        "empty": "",
        "huge": "k" * 10_000,
        "number": 1,
        "list": ["k1"],
        "object": {"kid": "k1"},
    }.items():
        tokens[f"kid: {what}"] = (issuer.token(own, {"kid": kid}, **MINE), "jwt_kid")
    tokens["a stranger's key under the name"] = (issuer.token(own, **MINE), "jwt_signature")
    tokens["typ of another purpose"] = (
        issuer.token(None, {"typ": "logout+jwt"}, **MINE),
        "jwt_type",
    )
    judge(tokens)
    canary.close()
    assert canary.visits == 0


def test_an_issuer_that_looks_alike_is_another_one(issuer, judge):
    url = issuer.url
    scheme, rest = url.split("://")
    alike = [
        f"{url}/", f"{url}.evil.example", f"{url}/../plain", f"{url}?", f"{url}#", f"{url}%20",
        f" {url}", f"{url} ", f"{scheme.upper()}://{rest}", f"https://{rest}", f"//{rest}",
        url.replace("127.0.0.1", "localhost"), url.replace("plain", "PLAIN"),
        url.replace("a", "\u0430", 1), url.replace("127.0.0.1", "evil@127.0.0.1"), "plain", "",
    ]  # fmt: skip
    tokens = {repr(name): (issuer.token(iss=name, **MINE), "jwt_issuer") for name in alike}
    for what, value in {"none": None, "list": [url], "number": 7, "object": {"": url}}.items():
        tokens[what] = (issuer.token(iss=value, **MINE), "jwt_issuer")
    judge(tokens)


def test_a_token_of_one_issuer_is_nothing_to_another(federation, issuer, judge):
    # Both have a key called `k1`.
    twin = federation["twin"]
    token = issuer.token(**MINE, iss=twin.url)
    back = twin.token(**MINE, iss=issuer.url)
    assert federation.gate.get(SEARCH, twin.token(**MINE)).status_code == 200
    judge({"ours as theirs": (token, "jwt_signature"), "theirs as ours": (back, "jwt_signature")})


def test_claims_that_are_missing_odd_or_meant_for_others_are_refused(issuer, judge):
    now = int(time.time())
    cases = [
        ({"aud": None}, "jwt_audience"),
        ({"aud": "mlflow2"}, "jwt_audience"),
        ({"aud": "MLFLOW"}, "jwt_audience"),
        ({"aud": "mlflow "}, "jwt_audience"),
        ({"aud": ["x", ["mlflow"]]}, "jwt_audience"),
        ({"aud": []}, "jwt_audience"),
        ({"aud": {"mlflow": True}}, "jwt_audience"),
        ({"aud": None, "client_id": "mlflow"}, "jwt_audience"),
        ({"sub": None}, "jwt_no_username"),
        ({"sub": 7}, "jwt_no_username"),
        ({"sub": ["ana"]}, "jwt_no_username"),
        ({"sub": {"": "ana"}}, "jwt_no_username"),
        ({"sub": True}, "jwt_no_username"),
        ({"sub": ""}, "jwt_username"),
        ({"sub": " ana"}, "jwt_username"),
        ({"sub": "ana\0"}, "jwt_username"),
        ({"sub": "ana\r\nx-mlgate-user: root"}, "jwt_username"),
        ({"sub": "a" * 256}, "jwt_username"),
        ({"groups": 7}, "jwt_groups"),
        ({"groups": [7]}, "jwt_groups"),
        ({"groups": [["admins"]]}, "jwt_groups"),
        ({"groups": [f"g{n}" for n in range(513)]}, "jwt_groups"),
        ({"groups": None, "_claim_names": {"groups": "s"}}, "jwt_groups_overage"),
        # The edges of the clock; 30 s are forgiven, some seconds pass until it is read.
        ({"exp": None}, "jwt_no_expiry"),
        ({"exp": now - 31}, "jwt_expired"),
        ({"exp": now + 600, "nbf": now + 60}, "jwt_not_yet_valid"),
        ({"iat": now + 60}, "jwt_from_the_future"),
        ({"exp": str(now + 600)}, "jwt_time"),
        ({"exp": True}, "jwt_time"),
        ({"exp": [now + 600]}, "jwt_time"),
        ({"exp": 0}, "jwt_time"),
        ({"exp": -1}, "jwt_time"),
        ({"exp": 2**31 * 1000}, "jwt_time"),
        ({"exp": 2**63}, "jwt_time"),
        ({"exp": 2**64}, "jwt_time"),
        ({"exp": 10**399}, "jwt_time"),
        # Longer than any number is read.
        ({"exp": 10**400}, "jwt_malformed"),
        ({"exp": 1e300}, "jwt_time"),
        ({"nbf": "now"}, "jwt_time"),
        ({"iat": -(2**63)}, "jwt_time"),
    ]
    judge({str(c)[:200]: (issuer.token(**{**MINE, **c}), reason) for c, reason in cases})


def test_the_clock_is_forgiven_what_is_configured_and_no_more(federation, issuer):
    now = int(time.time())
    for changes in [
        {"exp": now - 20},
        {"nbf": now + 20, "iat": now + 20},
        {"exp": now + 600.5},
        {"nbf": None, "iat": None},
        {"exp": 4_102_444_800},
    ]:
        token = issuer.token(**{**MINE, **changes})
        assert federation.gate.get(SEARCH, token).status_code == 200, changes


def raw(issuer, header, payload):
    return signed(issuer.signing, header.encode(), payload.encode())


def test_what_two_readers_would_read_in_two_ways_is_refused_although_it_is_signed(issuer, judge):
    header = '{"alg":"ES256","kid":"k1"}'
    payload = json.dumps(issuer.claims(**MINE))
    inner = payload[1:-1]
    good = raw(issuer, header, payload)
    head, body, signature = good.split(".")
    malformed = {
        "sub twice": raw(issuer, header, f'{{"sub":"root",{inner}}}'),
        "sub twice, once escaped": raw(issuer, header, f'{{"s\\u0075b":"root",{inner}}}'),
        "aud twice": raw(issuer, header, f'{{{inner},"aud":"x"}}'),
        "exp twice": raw(issuer, header, f'{{{inner},"exp":4102444800}}'),
        "twice within a claim": raw(issuer, header, f'{{{inner},"x":{{"a":1,"a":2}}}}'),
        "alg twice": raw(issuer, '{"alg":"none","alg":"ES256","kid":"k1"}', payload),
        "kid twice": raw(issuer, '{"alg":"ES256","kid":"x","kid":"k1"}', payload),
        "a list": raw(issuer, header, f"[{payload}]"),
        "a string": raw(issuer, header, json.dumps(payload)),
        "a byte order mark": raw(issuer, header, "\ufeff" + payload),
        "UTF-16": signed(issuer.signing, header.encode(), payload.encode("utf-16")),
        "not UTF-8": signed(issuer.signing, header.encode(), payload.encode() + b"\xff"),
        "something after it": raw(issuer, header, payload + "{}"),
        "a comment": raw(issuer, header, payload + "//"),
        "NaN": raw(issuer, header, f'{{{inner},"x":NaN}}'),
        "padding": f"{good}==",
        "padding inside": f"{head}=.{body}.{signature}",
        "four parts": f"{good}.x",
        "five parts, as JWE": f"{head}.{body}.{signature}.{body}.{signature}",
        "an empty part": f"{head}..{body}.{signature}",
        "the other alphabet": f"{head}.{body}.{'+/' + signature[2:]}",
        "bits left over": head + "." + body + "." + signature[:-1] + odd_end(signature[-1]),
    }
    judge({what: (token, "jwt_malformed") for what, token in malformed.items()})


def odd_end(last):
    """A last character that decodes to the same bytes for a lenient reader."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(last) ^ 1]


def test_huge_and_deep_tokens_are_refused_and_harm_nobody(federation, issuer, judge):
    header = '{"alg":"ES256","kid":"k1"}'
    inner = json.dumps(issuer.claims(**MINE))[1:-1]
    deep = "[" * 3_000 + "]" * 3_000
    tokens = {
        "3,000 levels": (raw(issuer, header, f'{{{inner},"x":{deep}}}'), "jwt_malformed"),
        "3,000 levels in the header": (
            raw(issuer, header[:-1] + f',"x":{deep}}}', f"{{{inner}}}"),
            "jwt_malformed",
        ),
        "20 KiB": (raw(issuer, header, f'{{{inner},"x":"{"x" * 20_000}"}}'), "credential_too_long"),
        "60 KiB": (raw(issuer, header, f'{{{inner},"x":"{"x" * 60_000}"}}'), "credential_too_long"),
    }
    judge(tokens)
    many = {f"c{n}": n for n in range(600)}
    accepted = issuer.token(**MINE, **many, groups=[f"g{n}" for n in range(200)])
    assert federation.gate.get(SEARCH, accepted).status_code == 200, "large, and honest"


def test_a_token_is_a_credential_only_where_it_belongs(federation, issuer):
    """Not in the query, not in a cookie, not as a password."""
    token, gate = issuer.token(**MINE), federation.gate
    assert gate.get(SEARCH, token).status_code == 200, "the control"
    elsewhere = [
        (f"{SEARCH}&access_token={token}", {}),
        (SEARCH, {"Cookie": f"access_token={token}"}),
        (SEARCH, {"X-Forwarded-Access-Token": token}),
        (SEARCH, {"Authorization": f"JWT {token}"}),
        (SEARCH, {"Authorization": token}),
    ]
    # What two readers could take for two credentials, or for another one, may also be 400.
    ambiguous = [f"Bearer {token}, Bearer {token}", f"Bearer {token} {token}", f"Bearer\t{token}"]
    with gate.recorder.silence():
        for path, headers in elsewhere:
            answer = gate.get(path, headers=headers)
            assert answer.status_code == 401, (path[:60], list(headers))
        for value in ambiguous:
            answer = gate.get(SEARCH, headers={"Authorization": value})
            assert answer.status_code in (400, 401), value[:20]
        assert gate.get(SEARCH, ("ana", token)).status_code == 401

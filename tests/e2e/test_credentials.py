"""Who is let in, and what the others are told."""

import json
import statistics
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mlflow.exceptions import MlflowException
from support.client import acting_as
from support.gate import basic, wait_until
from support.tokens import IdentityProvider, forged

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"


def is_challenged(answer):
    assert answer.status_code == 401, answer.text
    assert answer.json()["error_code"] == "UNAUTHENTICATED"
    return answer.headers["WWW-Authenticate"]


def test_no_credential_is_401_with_a_challenge_that_makes_browsers_ask(gate):
    with gate.recorder.silence():
        assert 'Basic realm="mlflow"' in is_challenged(gate.get(SEARCH))


def test_a_wrong_password_is_401(gate):
    name, _ = gate.create_user("forgetful")
    with gate.recorder.silence():
        is_challenged(gate.get(SEARCH, (name, "wrong horse battery")))


def test_an_unknown_user_is_answered_like_a_wrong_password(gate):
    name, _ = gate.create_user("known")
    wrong = gate.get(SEARCH, (name, "wrong horse battery"))
    unknown = gate.get(SEARCH, ("unknown", "wrong horse battery"))
    is_challenged(wrong)
    assert (unknown.status_code, unknown.content) == (wrong.status_code, wrong.content)


def test_an_unknown_user_takes_as_long_as_a_wrong_password(gate):
    """A user who exists costs a password hash of tens of milliseconds; so must one who does not."""
    name, _ = gate.create_user("timed")

    def seconds(user, attempt):
        # A refusal is remembered for a moment: each password is another one.
        started = time.perf_counter()
        answer = gate.get(SEARCH, (user, f"wrong horse battery {attempt}"))
        taken = time.perf_counter() - started
        assert answer.status_code == 401
        return taken

    # In turns, so that whatever else the machine does meets both.
    pairs = [(seconds(name, n), seconds(f"untimed-{n}", n)) for n in range(25)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    anonymous = statistics.median(_nobodys_seconds(gate) for _ in range(25))
    assert known > 2 * anonymous, "no hash is seen at all: this measures nothing"
    assert known / 2 < unknown < known * 2, (known, unknown)


def _nobodys_seconds(gate):
    started = time.perf_counter()
    assert gate.get(SEARCH).status_code == 401
    return time.perf_counter() - started


def test_the_official_client_reports_401(gate):
    for credential in [None, ("nobody", "wrong horse battery"), "no-token"]:
        with acting_as(gate, credential) as client, pytest.raises(MlflowException, match="UNAUTHENTICATED"):
            client.search_experiments()


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWRtaW4=",
        "Basic YWRtaW46",
        "Basic OnBhc3N3b3Jk",
        "Bearer",
        "Bearer ",
        "Bearer a.b",
        "Bearer a.b.c",
        "Digest username=admin",
        "Negotiate abc",
        "admin",
    ],
)
def test_a_malformed_authorization_header_is_401(gate, header):
    with gate.recorder.silence():
        answer = gate.get(SEARCH, headers={"Authorization": header})
        assert answer.status_code == 401, answer.text


def test_two_authorization_headers_are_never_taken_for_one(gate, admin):
    from support.raw import http1

    good = basic(*admin)
    for first, second in [(good, basic("x", "y")), (basic("x", "y"), good), (good, good)]:
        request = (
            f"GET {SEARCH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: {first}\r\nauthorization: {second}\r\n\r\n"
        )
        with gate.recorder.silence():
            assert http1(gate.ready["ports"]["gate"], request.encode()).status in (400, 401)


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_genuine_token_is_accepted(gate, identity_provider, algorithm):
    gate.create_user("token-holder")
    token = identity_provider.token("token-holder", algorithm)
    assert gate.get(SEARCH, token).status_code == 200


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://idp.test"},
        {"iss": "https://idp.test/realm/"},
        {"iss": "https://idp.test/realm.evil"},
        {"iss": None},
        {"iss": ["https://idp.test/realm"]},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"aud": "mlflow "},
        {"exp": None},
        {"exp": 1},
        {"exp": "9999999999"},
        {"exp": 2**63},
        {"exp": -1},
        {"nbf": 9999999999},
        {"iat": 9999999999},
        {"preferred_username": None, "sub": None},
        {"preferred_username": "", "sub": ""},
        {"preferred_username": 7, "sub": 7},
        {"preferred_username": ["token-holder"], "sub": None},
    ],
    ids=str,
)
def test_a_token_with_unacceptable_claims_is_401(gate, identity_provider, algorithm, changes):
    gate.create_user("token-holder")
    claims = identity_provider.claims("token-holder", **changes)
    # The library checks some claims when it signs.
    token = jwt.api_jws.encode(
        json.dumps(claims).encode(),
        identity_provider.keys[algorithm],
        algorithm=algorithm,
        headers={"kid": algorithm.lower(), "typ": "JWT"},
    )
    with gate.recorder.silence():
        assert gate.get(SEARCH, token).status_code == 401


def test_an_expired_token_stops_working_although_it_was_accepted_before(gate, identity_provider):
    gate.create_user("token-holder")
    token = identity_provider.token("token-holder", exp=int(time.time()) + 3)
    assert gate.get(SEARCH, token).status_code == 200
    # Clocks may differ by up to 30 s.
    wait_until(lambda: gate.get(SEARCH, token).status_code == 401, "it has expired", 35)


def test_a_token_of_another_key_is_401(gate):
    gate.create_user("token-holder")
    for algorithm in ["RS256", "ES256", "EdDSA"]:
        with gate.recorder.silence():
            token = IdentityProvider().token("token-holder", algorithm)
            assert gate.get(SEARCH, token).status_code == 401


def headers_that_choose(provider):
    rsa_pem = provider.keys["RS256"].public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own_jwk = jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)
    claims = provider.claims("token-holder")
    good = provider.token("token-holder")
    head, payload, signature = good.split(".")
    yield "alg none", forged({"alg": "none"}, claims)
    yield "alg None", forged({"alg": "None", "kid": "rs256"}, claims)
    yield "alg empty", forged({"alg": "", "kid": "rs256"}, claims)
    yield "no alg", forged({"kid": "rs256"}, claims)
    yield "HS256 with the public key", _hmac_signed(rsa_pem, claims)
    yield "key of another type", _relabelled(provider, "RS256", "es256")
    yield "RS256 shown as PS256", _reheaded(good, {"alg": "PS256", "kid": "rs256"})
    yield "own key in jwk", _signed(own, claims, {"jwk": own_jwk, "kid": "rs256"})
    yield "jku", _signed(own, claims, {"jku": "http://127.0.0.1:1/keys", "kid": "rs256"})
    yield "x5u", _signed(own, claims, {"x5u": "http://127.0.0.1:1/cert", "kid": "rs256"})
    yield "crit", provider.token("token-holder", headers={"crit": ["exp"]})
    yield "jwk beside a good signature", provider.token("token-holder", headers={"jwk": own_jwk})
    yield "b64 false", provider.token("token-holder", headers={"b64": False, "crit": ["b64"]})
    yield "kid that is a path", provider.token("token-holder", headers={"kid": "../../x"})
    yield "kid of 10 KiB", provider.token("token-holder", headers={"kid": "k" * 10240})
    yield "kid with NUL", provider.token("token-holder", headers={"kid": "rs256\0"})
    yield "no signature", f"{head}.{payload}."
    yield "cut signature", f"{head}.{payload}.{signature[:-4]}"
    yield "other payload", f"{head}.{forged({}, claims | {'sub': 'x'}).split('.')[1]}.{signature}"
    yield "padding", f"{head}.{payload}.{signature}=="
    yield "five parts", f"{good}.a.b"


def _hmac_signed(secret, claims):
    import base64
    import hashlib
    import hmac
    import json

    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    head = encode(json.dumps({"alg": "HS256", "kid": "rs256"}).encode())
    signed = head + b"." + encode(json.dumps(claims).encode())
    return (signed + b"." + encode(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


def _signed(key, claims, headers):
    return jwt.encode(claims, key, algorithm="RS256", headers=headers)


def _relabelled(provider, algorithm, kid):
    return provider.token("token-holder", algorithm, headers={"kid": kid})


def _reheaded(token, header):
    return ".".join([forged(header, {}).split(".")[0], *token.split(".")[1:]])


def test_a_token_cannot_choose_its_key_or_algorithm(gate, identity_provider):
    gate.create_user("token-holder")
    assert gate.get(SEARCH, identity_provider.token("token-holder")).status_code == 200
    accepted = []
    for name, token in headers_that_choose(identity_provider):
        with gate.recorder.silence():
            if gate.get(SEARCH, token).status_code != 401:
                accepted.append(name)
    assert accepted == []

"""An issuer's keys: new ones, old ones, and those of an issuer that misbehaves."""

import concurrent.futures
import json
import threading
import time

import pytest
from support.envoy import another_envoy
from support.federation import REFETCH, REFRESH, STALE
from support.gate import wait_until
from support.issuer import Key

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
# For a loaded machine.
SLACK = 2


def ask(federation, issuer, key=None, sub="ana"):
    """A fresh token each time: one that was verified before says nothing about keys."""
    token = federation[issuer].token(key, aud="mlflow", sub=sub, jti=str(time.monotonic_ns()))
    return federation.gate.get(SEARCH, token)


def status(federation, issuer, key=None):
    return ask(federation, issuer, key).status_code


@pytest.fixture
def well_again(federation):
    """Takes every fault back, whatever happens in the test."""
    yield
    for name in ["fading", "late", "withdrawn", "rotating"]:
        federation[name].well()


def test_rotation_refuses_no_valid_request(federation):
    issuer = federation["rotating"]
    # A worker that had to ask for the first key asks for no other within a second.
    for _ in range(8):
        assert status(federation, "rotating") == 200
    time.sleep(1)
    answers, stop = [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            key = issuer.signing
            answer = ask(federation, "rotating", key)
            reason = answer.headers.get("x-mlgate-reason")
            answers.append((key.kid, answer.status_code, reason))

    workers = [threading.Thread(target=keep_asking) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(2, 6):
        old, new = issuer.signing.kid, issuer.publish(f"k{number}")
        # Published so long before its first use; real issuers do it days before.
        time.sleep(REFETCH + 0.2)
        issuer.signing = new
        time.sleep(0.5)
        issuer.take_back(old)
        time.sleep(0.5)
    stop.set()
    for worker in workers:
        worker.join()
    assert {answer[0] for answer in answers} == {f"k{number}" for number in range(1, 6)}
    assert [answer for answer in answers if answer[1] != 200] == [], f"of {len(answers)}"


def test_a_key_that_is_taken_back_stops_within_the_configured_time(federation):
    issuer = federation["withdrawn"]
    old = issuer.signing
    assert status(federation, "withdrawn", old) == 200
    token = issuer.token(old, aud="mlflow", sub="verified-before")
    assert federation.gate.get(SEARCH, token).status_code == 200
    issuer.signing = issuer.publish("k2")
    issuer.take_back("k1")
    began = time.monotonic()
    wait_until(lambda: status(federation, "withdrawn", old) == 401, "the old key stops", 30)

    def before():
        with federation.gate.recorder.silence():
            return federation.gate.get(SEARCH, token)

    # Each connection may be another worker's, and these hear of it one after the other.
    wait_until(
        lambda: {before().status_code for _ in range(8)} == {401},
        "a token that was verified before is verified again",
        30,
    )
    took = time.monotonic() - began
    assert took < REFRESH + SLACK, f"{took} s"
    assert before().headers["x-mlgate-reason"] == "jwt_kid"
    assert status(federation, "withdrawn") == 200


def test_an_issuer_that_is_down_keeps_its_known_keys_for_the_configured_time(
    federation, well_again
):
    issuer = federation["fading"]
    assert status(federation, "fading") == 200
    issuer.down = True
    began = time.monotonic()
    # Between the last fetch and now up to REFRESH may have passed.
    while time.monotonic() - began < STALE - REFRESH - SLACK:
        assert status(federation, "fading") == 200
        time.sleep(0.2)
    with federation.gate.recorder.silence():
        new = ask(federation, "fading", Key("k9", "ES256"))
        assert new.status_code == 503, "nobody can tell whose key it is"
        assert new.headers["x-mlgate-reason"] == "jwt_keys_unavailable"
        assert int(new.headers["Retry-After"]) > 0
    wait_until(lambda: status(federation, "fading") == 503, "the keys end", STALE + SLACK)
    took = time.monotonic() - began
    assert took < STALE + SLACK, f"{took} s"
    assert status(federation, "plain") == 200, "other issuers are not concerned"
    issuer.well()
    wait_until(lambda: status(federation, "fading") == 200, "they are back", 30)


def test_a_policy_server_that_starts_while_an_issuer_is_down_leaves_its_keys(
    federation, well_again
):
    gate, issuer = federation.gate, federation["late"]
    assert status(federation, "late") == 200
    issuer.down = True
    gate.stop_policy_server()
    gate.start_policy_server()
    wait_until(lambda: status(federation, "plain") == 200, "decisions are made again")
    assert status(federation, "late") == 200, "the filters still have them"


def test_an_envoy_that_has_just_started_waits_for_the_keys(federation, tmp_path):
    gate = federation.gate

    def unchanged(configuration):
        pass

    with another_envoy(gate, unchanged, tmp_path) as port:
        here = gate.url
        try:
            gate.url = f"http://127.0.0.1:{port}"
            assert status(federation, "plain") == 200, "the very first request"
        finally:
            gate.url = here


def test_an_issuer_whose_discovery_document_names_another_one_is_not_believed(federation):
    answer = ask(federation, "lying")
    assert answer.status_code == 503
    assert answer.headers["x-mlgate-reason"] == "jwt_keys_unavailable"


def test_a_slow_issuer_delays_nobody_else(federation):
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(status, federation, "slow") for _ in range(2)]
        others = [pool.submit(status, federation, "plain") for _ in range(10)]
        assert {other.result() for other in others} == {200}
        assert time.monotonic() - began < 5
        # 503 while the issuer has not answered in the time of one call; never 401.
        assert {one.result() for one in slow} <= {200, 503}
    wait_until(lambda: status(federation, "slow") == 200, "its keys are there", 30)


def test_one_odd_key_does_not_lose_the_others(federation):
    issuer = federation["twin"]
    junk = [7, None, {"kty": "oct", "k": "AAAA", "kid": "k1"}, {"kty": "EC", "crv": "P-256", "x": "AA"}]
    junk += [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"}, {"kty": "future", "kid": "k1"}]
    # For encrypting to it, under the name of the one that signs.
    junk += [{**Key("k1", "ES256").jwk(), "use": "enc"}]
    issuer.published = [*junk, *issuer.published]
    asked = len(issuer.asked)
    wait_until(lambda: len(issuer.asked) >= asked + 2, "the odd set was fetched", 30)
    assert status(federation, "twin") == 200


def test_a_huge_document_is_not_taken_for_one(federation, well_again):
    issuer = federation["withdrawn"]
    assert status(federation, "withdrawn") == 200
    issuer.padding = 20 << 20
    new = issuer.publish("unseen")
    # Who has read the small discovery document a moment ago still asks for the keys.
    time.sleep(0.5)
    asked = len(issuer.asked)
    # Its discovery document is too large already, so its keys are not even asked for.
    time.sleep(2 * REFRESH)
    assert len(issuer.asked) == asked
    assert status(federation, "withdrawn") == 200, "what was known stays"
    assert status(federation, "withdrawn", new) == 503
    issuer.well()
    wait_until(lambda: status(federation, "withdrawn", new) == 200, "it is read again", 30)


def test_what_is_no_key_set_takes_nothing_away_and_adds_nothing(federation, well_again):
    issuer = federation["withdrawn"]
    other = Key("other", "ES256")
    many = [{**other.jwk(), "kid": f"other-{n}"} for n in range(2000)]
    for wrong in ["<html>Sign in</html>", json.dumps({"keys": [*many, other.jwk()]})]:
        issuer.keys_instead = wrong.encode()
        asked = len(issuer.asked)
        wait_until(lambda: len(issuer.asked) >= asked + 2, "it was fetched and read", 30)  # noqa: B023
        assert status(federation, "withdrawn") == 200, f"what was known stays: {wrong[:40]}"
        assert status(federation, "withdrawn", other) in (401, 503), wrong[:40]
    issuer.well()
    wait_until(lambda: status(federation, "withdrawn", other) == 401, "it is read again", 30)


def test_invented_keys_do_not_become_a_flood_at_the_issuer(federation):
    issuer = federation["plain"]
    assert status(federation, "plain") == 200
    asked, began = len(issuer.asked), time.monotonic()
    with federation.gate.recorder.silence(), concurrent.futures.ThreadPoolExecutor(4) as pool:
        forged = Key("k1", "ES256")

        def ask_with(number):
            header = {"kid": f"invented-{number}"}
            token = issuer.token(forged, header, aud="mlflow", sub="eve", jti=str(number))
            answer = federation.gate.get(SEARCH, token)
            return answer.status_code, answer.headers["x-mlgate-reason"]

        assert set(pool.map(ask_with, range(300))) == {(401, "jwt_kid")}
    took = time.monotonic() - began
    fetched = len(issuer.asked) - asked
    assert fetched <= took / REFETCH + took / REFRESH + 2, f"{fetched} in {took} s"
    assert status(federation, "plain") == 200

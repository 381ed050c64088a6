"""Identities that a proxy in front says in headers: from the proxy, and from everybody else."""

import base64
import contextlib
import json
import re
import tomllib

import pytest
from support.envoy import SHIPPED, another_envoy, manager
from support.gate import basic, wait_until
from support.raw import http1

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
SECRET = "4f3c1d5e6a7b8c9d0e1f2a3b4c5d6e7f"
PAGE = (SHIPPED / "sign-in" / "README.md").read_text().replace("PROXY_SECRET", SECRET)
EASY_AUTH, OAUTH2_PROXY = (
    json.loads(block)["forwarded_identity"]
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
)


def believing(gate, forwarded, directory):
    """An Envoy as careless as Envoy lets one be: it takes the client's address from
    X-Forwarded-For, as it does by default, and lets names with underscores pass."""

    def change(configuration):
        connections = manager(configuration)
        connections["use_remote_address"] = False
        connections["common_http_protocol_options"]["headers_with_underscores_action"] = "ALLOW"
        plugin = connections["http_filters"][0]["typed_config"]["config"]["configuration"]
        settings = {**json.loads(plugin["value"]), "forwarded_identity": forwarded}
        plugin["value"] = json.dumps(settings | {"reason_header": True})

    return another_envoy(gate, change, directory)


@pytest.fixture(scope="module")
def easy(gate, tmp_path_factory):
    with believing(gate, EASY_AUTH, tmp_path_factory.mktemp("easy")) as port:
        yield port


@pytest.fixture(scope="module")
def proxied(gate, tmp_path_factory):
    with believing(gate, OAUTH2_PROXY, tmp_path_factory.mktemp("proxied")) as port:
        yield port


def principal(name, provider="aad", **claims):
    listed = [{"typ": "preferred_username", "val": name}]
    listed += [{"typ": typ, "val": val} for typ, vals in claims.items() for val in vals]
    document = {"auth_typ": provider, "name_typ": "name", "role_typ": "roles", "claims": listed}
    return encode(json.dumps(document))


def encode(text):
    return base64.b64encode(text.encode()).decode()


def ask(port, headers, source=PROXY, path="/api/2.0/mlflow/registered-models/search?max_results=9"):
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{''.join(lines)}Connection: close\r\n\r\n"
    return http1(port, head.encode("latin-1"), source=source)


ANA = ("X-MS-CLIENT-PRINCIPAL", principal("ana"))


@contextlib.contextmanager
def nothing_but_ana(gate, port):
    """What is sent in the block does not reach MLflow, and ana still gets through after it."""
    with gate.recorder.silence():
        yield
    assert ask(port, [ANA]).status == 200


def test_a_login_in_front_is_known_by_its_claims_and_nothing_of_it_reaches_mlflow(gate, easy):
    names = [("X-MS-CLIENT-PRINCIPAL-NAME", "ana"), ("X-MS-CLIENT-PRINCIPAL-IDP", "aad")]
    with gate.recorder.listening() as heard:
        answer = ask(easy, [ANA, *names, ("X-MS-TOKEN-AAD-ACCESS-TOKEN", "secret")])
    assert answer.status == 200, answer
    sent = heard[0].lower()
    assert b"x-mlgate-user: entra:ana" in sent
    assert b"x-ms-" not in sent


def test_a_group_of_the_login_gives_its_role_and_the_first_login_a_user(gate, easy, unique):
    experiment = gate.create_experiment(unique, gate.admin)
    gate.mlgate("role", "create", unique)
    gate.mlgate("role", "permit", unique, "experiment", experiment, "READ")
    gate.mlgate("group", "add-role", "entra:team, one", unique)
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"

    def status(**claims):
        return ask(easy, [(ANA[0], principal("bob", **claims))], path=path).status

    wait_until(lambda: status(groups=["other", "team, one"]) == 200, "the group gives its role")
    # A comma in a group's name does not make two groups of it.
    assert status(groups=["team, one, and more"]) == 403
    assert status() == 403


def test_a_forged_header_from_anywhere_else_is_nobody(gate, easy):
    with nothing_but_ana(gate, easy):
        for headers in [
            [ANA],
            [ANA, ("X-Forwarded-For", PROXY)],
            [ANA, ("X-Forwarded-For", f"{PROXY}:4711")],
            [ANA, ("Forwarded", f"for={PROXY}"), ("X-Real-IP", PROXY)],
            [("x_ms_client_principal", ANA[1])],
            [("X-Forwarded-User", "root"), ("X-Auth-Request-User", "root")],
        ]:
            answer = ask(easy, headers, source=STRANGER)
            assert answer.status == 401, headers
    # Whoever has a credential of their own is themselves.
    user = gate.create_user("forwarded-user")
    with gate.recorder.listening() as heard:
        headers = [("Authorization", basic(*user)), ANA, ("x_ms_client_principal_name", "root")]
        assert ask(easy, headers, source=STRANGER).status == 200
    assert b"x-mlgate-user: forwarded-user" in heard[0].lower()
    assert b"principal" not in heard[0].lower()


def test_the_proxy_itself_cannot_be_made_to_say_two_things(gate, easy):
    with nothing_but_ana(gate, easy):
        for headers, reason in [
            ([ANA, ANA], "forwarded_ambiguous"),
            ([ANA, (ANA[0].lower(), principal("root"))], "forwarded_ambiguous"),
            ([ANA, ("x_ms_client_principal", principal("root"))], "forwarded_ambiguous"),
            ([("X_MS_Client_Principal", ANA[1])], "forwarded_ambiguous"),
            ([ANA, ("X-MS-CLIENT-PRINCIPAL-IDP", "google")], "forwarded_provider"),
            ([(ANA[0], principal("ana", "google"))], "forwarded_provider"),
            ([("X-MS-CLIENT-PRINCIPAL-NAME", "ana")], "forwarded_incomplete"),
            ([ANA, ("Authorization", basic(*gate.admin))], "forwarded_and_authorization"),
            ([ANA, ("Authorization", "Bearer x")], "forwarded_and_authorization"),
            # Envoy's X-Forwarded-For makes the proxy's own address the client's.
            ([ANA, ("X-Forwarded-For", "203.0.113.7")], "forwarded_untrusted"),
        ]:
            answer = ask(easy, headers)
            assert (answer.status, answer.headers["x-mlgate-reason"]) == (401, reason), headers


def test_huge_deep_and_broken_principals_are_refused_and_harm_nobody(gate, easy):
    deep = '{"auth_typ":"aad","claims":' + "[" * 15_000 + "]" * 15_000 + "}"
    hostile = {
        "60 KiB": encode("{" + " " * 45_000 + "}"),
        "deep": encode(deep),
        "many claims": principal("ana", x=["y"] * 1100),
        "no base64": "!" * 100,
        "not UTF-8": base64.b64encode(b"\xff\xfe{}").decode(),
        "raw bytes": "\xff\xfe",
        "duplicate keys": encode('{"auth_typ":"aad","auth_typ":"aad","claims":[]}'),
        "two names": principal("ana", preferred_username=["root"]),
        "a control": principal("a\nb"),
        "null": encode("null"),
    }
    with nothing_but_ana(gate, easy):
        for _ in range(5):
            for what, value in hostile.items():
                assert ask(easy, [(ANA[0], value)]).status == 401, what


def test_a_proxy_may_prove_itself_by_a_secret_that_mlflow_never_sees(gate, proxied):
    user = [("X-Forwarded-User", "u1"), ("X-Forwarded-Email", "ana@corp.example")]
    proof = ("X-Mlgate-Proxy-Secret", SECRET)
    with gate.recorder.listening() as heard:
        assert ask(proxied, [*user, proof], source=STRANGER).status == 200
    assert b"x-mlgate-user: sso:ana@corp.example" in heard[0].lower()
    assert SECRET.encode() not in heard[0] and b"x-forwarded-user" not in heard[0].lower()
    with gate.recorder.silence():
        for more in [
            [],
            [("X-Mlgate-Proxy-Secret", SECRET[:-1])],
            [("X-Mlgate-Proxy-Secret", SECRET.upper())],
            [proof, proof],
            [("x-mlgate-proxy-secret", "")],
        ]:
            answer = ask(proxied, [*user, *more])
            assert (answer.status, answer.headers["x-mlgate-reason"]) == (401, "forwarded_untrusted")
        # A name that WSGI would fold onto one that matters is malformed, whoever sends it.
        assert ask(proxied, [*user, ("X_Forwarded_Email", "root@corp.example"), proof]).status == 400
        joined = [("X-Forwarded-Email", "ana@corp.example, root@corp.example"), proof]
        assert ask(proxied, joined).status == 401


def said_by_oauth2_proxy(settings, session):
    """What oauth2-proxy documents to add to a request for these settings, and their defaults."""
    headers = []
    if settings.get("pass_authorization_header", False):
        headers.append(("Authorization", f"Bearer {session['id_token']}"))
    if settings.get("pass_user_headers", True):
        headers += [("X-Forwarded-User", session["user"]), ("X-Forwarded-Email", session["email"])]
        headers += [("X-Forwarded-Groups", ",".join(session["groups"]))]
    return headers


def test_what_oauth2_proxy_hands_on_is_a_token_and_its_headers_change_nothing(
    gate, proxied, identity_provider
):
    settings = tomllib.loads((SHIPPED / "sign-in" / "oauth2-proxy.cfg").read_text())
    session = {
        "id_token": identity_provider.token("by-oauth2-proxy"),
        "user": "root",
        "email": "root@corp.example",
        "groups": ["admins"],
    }
    said = said_by_oauth2_proxy(settings, session)
    assert [name for name, _ in said] == ["Authorization"]
    # With its own headers on it would say them as well: to a gate that has no use for them.
    talkative = said_by_oauth2_proxy({**settings, "pass_user_headers": True}, session)
    assert len(talkative) == 4
    for headers in [said, talkative]:
        with gate.recorder.listening() as heard:
            assert ask(gate.ready["ports"]["gate"], headers).status == 200
        assert b"x-mlgate-user: by-oauth2-proxy" in heard[0].lower()
        assert b"x-forwarded-email" not in heard[0].lower()
    # And to one that believes the headers of a proxy, two credentials are none.
    with gate.recorder.silence():
        proof = ("X-Mlgate-Proxy-Secret", SECRET)
        answer = ask(proxied, [*talkative, proof])
        assert answer.headers["x-mlgate-reason"] == "forwarded_and_authorization"


def test_another_sites_page_cannot_use_the_login(gate, easy, unique):
    body = json.dumps({"name": unique})

    def create(*headers):
        lines = "".join(f"{name}: {value}\r\n" for name, value in [ANA, *headers])
        head = "POST /ajax-api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        return http1(easy, (head + body).encode()).status

    with gate.recorder.silence():
        assert create(("Origin", "https://attacker.example")) == 403
        assert create(("Sec-Fetch-Site", "cross-site")) == 403
    assert create(("Origin", "http://127.0.0.1"), ("Sec-Fetch-Site", "same-origin")) == 200

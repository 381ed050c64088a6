"""People sign in at an identity provider: Envoy's own OAuth2 filter before the gate, in a browser."""

import contextlib
import http.client
import http.server
import json
import ssl
import subprocess
import threading
import urllib.parse

import pytest
import yaml
from support.browser import Browser, find
from support.certificates import Authority
from support.envoy import SHIPPED, addresses, localised, manager, running
from support.gate import basic, free_port, wait_until
from support.interface import click, evaluate, type_into
from support.login import LoginServer

SECRET = "a-clients-secret"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
PAGE = {"Accept": "text/html,application/xhtml+xml"}
QUIET = ["--component-log-level", "oauth2:off"]
# Its certificate is of a throw-away authority.
FLAGS = ["--ignore-certificate-errors"]

needs_browser = pytest.mark.skipif(not find(), reason="no Chromium is installed")


class SignIn:
    """The shipped configuration on loopback: the provider speaks plain HTTP there."""

    def __init__(self, gate, identity_provider, directory):
        self.gate, self.port, admin_port = gate, free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.login = LoginServer(identity_provider, "mlflow", SECRET)
        self.login.redirect_uri = f"{self.url}/oauth2/callback"
        self._tls(directory)
        (directory / "client-secret").write_text(SECRET)
        (directory / "cookie-secret").write_text("nobody-knows-this-secret-of-the-cookies")
        shipped = SHIPPED / "sign-in"
        for name in ["client.yaml", "cookies.yaml"]:
            here = localised(shipped / name, {"/etc/envoy/sign-in/": f"{directory}/"})
            (directory / name).write_text(here)
        changes = addresses(gate, admin_port) | {
            "port_value: 8443": f"port_value: {self.port}",
            "/etc/envoy/tls.yaml": directory / "tls.yaml",
            "/etc/envoy/sign-in/": f"{directory}/",
            "https://mlflow.example.com/": f"{self.url}/",
            "mlflow.example.com": "127.0.0.1",
            "https://idp.example.com/": f"{self.login.base}/",
            "address: idp.example.com, port_value: 443": f"address: 127.0.0.1, port_value: {self.login.port}",
        }
        configuration = yaml.safe_load(localised(shipped / "envoy.yaml", changes))
        clusters = configuration["static_resources"]["clusters"]
        next(c for c in clusters if c["name"] == "identity_provider").pop("transport_socket")
        plugin = manager(configuration)["http_filters"][1]["typed_config"]["config"]
        settings = json.loads(plugin["configuration"]["value"])
        (issuer,) = settings["jwt"]["issuers"]
        (known,) = identity_provider.plugin_config()["jwt"]["issuers"]
        # The shipped block, with the keys of this issuer instead of discovered ones.
        assert issuer["audiences"] == known["audiences"]
        issuer |= {"issuer": known["issuer"], "jwks": known["jwks"]}
        plugin["configuration"]["value"] = json.dumps(settings)
        self.file = directory / "envoy.yaml"
        self.file.write_text(json.dumps(configuration))

    def _tls(self, directory):
        certificates = directory / "tls"
        certificates.mkdir()
        Authority(directory / "authority.pem").issue(certificates, "127.0.0.1")
        (directory / "tls.yaml").write_text(
            localised(SHIPPED / "plain" / "tls.yaml", {"/etc/envoy/tls": certificates})
        )

    def ask(self, path, headers=None, method="GET", body=None):
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=context
        )
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.text = answer.read().decode(errors="replace")
        connection.close()
        return answer


@pytest.fixture(scope="module")
def sign_in(gate, identity_provider, tmp_path_factory):
    sign_in = SignIn(gate, identity_provider, tmp_path_factory.mktemp("sign-in"))
    # As the page says: Envoy's filter writes into its log what it finds in a cookie and cannot decrypt.
    with running(gate, sign_in.file, sign_in.port, options=QUIET):
        yield sign_in
    sign_in.login.close()


def test_the_file_is_the_plain_one_but_for_the_sign_in():
    plain = yaml.safe_load((SHIPPED / "plain" / "envoy.yaml").read_text())
    ours = yaml.safe_load((SHIPPED / "sign-in" / "envoy.yaml").read_text())
    filters, clusters = manager(ours)["http_filters"], ours["static_resources"]["clusters"]
    assert filters.pop(0)["name"] == "sign_in"
    assert clusters.pop(1)["name"] == "identity_provider"
    settings = [
        manager(file)["http_filters"][0]["typed_config"]["config"]["configuration"]
        for file in (plain, ours)
    ]
    read = [json.loads(setting.pop("value")) for setting in settings]
    assert set(read[1].pop("jwt")) == {"issuers"}
    assert read[0] == read[1]
    assert ours == plain


def test_who_opens_a_page_is_sent_to_the_provider_and_nobody_else_is(gate, sign_in):
    with gate.recorder.silence():
        sent = sign_in.ask("/", PAGE)
        assert sent.status == 302
        place = urllib.parse.urlsplit(sent.headers["Location"])
        assert place.path == "/authorize" and place.port == sign_in.login.port
        asked = urllib.parse.parse_qs(place.query)
        assert asked["code_challenge_method"] == ["S256"] and asked["state"]
        assert sign_in.ask("/", {"Accept": "application/json"}).status == 401
        assert sign_in.ask(SEARCH).status == 401
    # The client, with a password or a token of its own.
    assert sign_in.ask(SEARCH, {"Authorization": basic(*gate.admin)}).status == 200
    with gate.recorder.silence():
        assert sign_in.ask(SEARCH, {"Authorization": "Bearer forged"}).status == 401


def test_no_cookie_that_somebody_made_up_is_a_login(gate, sign_in, identity_provider):
    token = identity_provider.token("made-up")
    made_up = [
        f"BearerToken={token}",
        f"IdToken={token}; BearerToken={token}; OauthExpires=4102444800; OauthHMAC=AAAA",
        f"BearerToken={token}; OauthExpires=4102444800; OauthHMAC=",
    ]
    with gate.recorder.silence():
        for cookie in made_up:
            assert sign_in.ask(SEARCH, {"Cookie": cookie}).status == 401
            assert sign_in.ask("/", {"Cookie": cookie, **PAGE}).status == 302
        # A code that nobody has asked for in this browser.
        stolen = sign_in.ask("/oauth2/callback?code=x&state=y", PAGE)
        assert stolen.status in (302, 401), stolen.text
        assert "BearerToken" not in (stolen.headers["Set-Cookie"] or "")


def enter(browser, sign_in, user, path):
    browser.open(sign_in.url + "/")
    browser.wait_for_text("Sign in to the test's provider")
    type_into(browser, "document.querySelector('#user')", user)
    click(browser, "document.querySelector('#enter')")
    wait_until(lambda: "BearerToken" in cookies(browser), "the browser has a session")
    browser.wait_until_quiet()
    browser.open(sign_in.url + path)


def cookies(browser):
    found = browser.call("Network.getCookies")["cookies"]
    return {cookie["name"]: cookie for cookie in found}


@pytest.fixture(scope="module")
def reader(gate):
    """A user of the provider who may read one experiment."""
    owner = gate.create_user("sign-in-owner")
    experiment = gate.create_experiment("Shown after signing in", owner)
    gate.create_experiment("Not for who signs in", owner)
    gate.mlgate("user", "create", "sign-in-reader", "--service-account")
    gate.grant("sign-in-reader", "READ", "experiment", experiment)
    return "sign-in-reader"


@needs_browser
def test_a_browser_signs_in_works_and_signs_out(gate, sign_in, reader):
    with Browser(flags=FLAGS) as browser:
        enter(browser, sign_in, reader, "/#/experiments")
        browser.wait_for_text("Shown after signing in")
        assert "Not for who signs in" not in browser.text()
        assert browser.challenges == 0, "nobody was asked for a password"
        browser.wait_until_quiet()
        refused = [r for r in browser.responses if r[0] in (400, 403, 413, 429, 503)]
        assert not [r for r in refused if "/workspaces" not in r[1] and "/assistant/" not in r[1]]
        # What the interface itself sends: the page's own, and the reader may create.
        create = "/ajax-api/2.0/mlflow/experiments/create"
        created = post(browser, create, {"name": "Made by who signed in"})
        assert created["status"] == 200, created
        kept = cookies(browser)
        for name in ["BearerToken", "OauthHMAC", "OauthExpires", "RefreshToken"]:
            assert kept[name]["httpOnly"] and kept[name]["secure"], name
            assert kept[name]["sameSite"] == "Lax", name
        assert "eyJ" not in kept["BearerToken"]["value"], "the token is encrypted"
        browser.open(sign_in.url + "/oauth2/sign_out")
        browser.wait_for_text("Signed out at the test's provider")
        assert not {"BearerToken", "OauthHMAC"} & set(cookies(browser))
        browser.open(sign_in.url + "/")
        browser.wait_for_text("Sign in to the test's provider")


def answers(browser, url):
    evaluate(browser, "0")
    return [status for status, seen in browser.responses if seen == url]


@contextlib.contextmanager
def neighbour(sign_in):
    """A page on another port of the same host."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<h1>Somebody else's page</h1>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates = sign_in.file.parent / "tls"
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


POST = """fetch({url}, {{method: 'POST', headers: {{'Content-Type': {kind}}},
  body: {body}, credentials: 'include', mode: {mode}}})
  .then(async answer => JSON.stringify({{status: answer.status, text: await answer.text()}}))
  .catch(error => JSON.stringify({{status: 0, text: String(error)}}))"""


def post(browser, url, body=None, mode="same-origin"):
    """Without a JSON body it is what a form may send."""
    kind = "application/json" if body else "text/plain"
    text = json.dumps(body) if body else "something"
    names = {"url": url, "kind": kind, "body": text, "mode": mode}
    expression = POST.format(**{name: json.dumps(value) for name, value in names.items()})
    result = browser.call("Runtime.evaluate", expression=expression, awaitPromise=True)
    return json.loads(result["result"]["value"])


@needs_browser
def test_a_page_of_another_site_gets_nowhere_with_the_session(
    gate, sign_in, reader, identity_provider, unique
):
    """Even from a neighbouring port, which is the same site: the cookies are sent along there. What
    it sends is a form's kind of body, which the gate takes on this route alone."""
    token = identity_provider.token(reader)
    run = gate.create_run(gate.create_experiment(unique, token), token)
    path = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=page.txt"
    target = sign_in.url + path
    with neighbour(sign_in) as foreign, Browser(flags=FLAGS) as browser:
        enter(browser, sign_in, reader, "/#/experiments")
        browser.wait_for_text("Shown after signing in")
        browser.wait_until_quiet()
        browser.open(foreign)
        browser.wait_for_text("Somebody else's page")
        assert "BearerToken" in cookies(browser)
        with gate.recorder.silence():
            post(browser, target, mode="no-cors")
            wait_until(lambda: answers(browser, target), "the answer is seen")
        # By the gate: without the cookies it would have been Envoy's 401.
        assert answers(browser, target) == [403]
        # The session is as good as before.
        browser.open(sign_in.url + "/#/experiments")
        browser.wait_for_text("Shown after signing in")
        assert post(browser, target, mode="same-origin")["status"] == 200


@needs_browser
def test_a_session_is_renewed_without_the_person_and_ends_when_the_provider_says_so(
    gate, sign_in, reader
):
    sign_in.login.lifetime = 2
    try:
        with Browser(flags=FLAGS) as browser:
            enter(browser, sign_in, reader, "/version")
            before = sign_in.login.asked.count("/token")
            wait_until(
                lambda: get(browser, SEARCH) == 200 and sign_in.login.asked.count("/token") > before,
                "a new token was fetched",
            )
            sign_in.login.refresh.clear()
            sign_in.login.sessions.clear()
            wait_until(lambda: get(browser, SEARCH) == 401, "the session is over")
    finally:
        sign_in.login.lifetime = 600


def get(browser, path):
    expression = f"fetch({json.dumps(path)}).then(answer => answer.status)"
    result = browser.call("Runtime.evaluate", expression=expression, awaitPromise=True)
    return result["result"].get("value")


def test_envoy_takes_the_file_as_it_is_shipped_but_for_its_paths(gate, sign_in):
    """With the provider's TLS, which the other tests leave out."""
    shipped = localised(
        SHIPPED / "sign-in" / "envoy.yaml",
        {
            "/etc/envoy/mlgate_filter.wasm": gate.ready["wasm"],
            "/etc/envoy/tls.yaml": sign_in.file.parent / "tls.yaml",
            "/etc/envoy/sign-in/": f"{sign_in.file.parent}/",
            "/etc/ssl/certs/ca-certificates.crt": sign_in.file.parent / "authority.pem",
        },
    )
    file = sign_in.file.parent / "shipped.yaml"
    file.write_text(shipped)
    command = [gate.ready["envoy"], "--mode", "validate", "-c", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr

"""The login page of an identity provider, on loopback: authorization codes with PKCE, and logout."""

import base64
import hashlib
import html
import json
import secrets
import threading
import urllib.parse
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FORM = """<!doctype html><title>Sign in</title><h1>Sign in to the test's provider</h1>
<form method="post" action="/authorize?{query}"><input name="user" id="user">
<button id="enter">Sign in</button></form>"""


class LoginServer:
    """Knows one client. Whoever types a name is that person."""

    def __init__(self, identity_provider, client_id, client_secret):
        self.identity_provider = identity_provider
        self.client = (client_id, client_secret)
        self.redirect_uri = None
        # How long access tokens live, in s, and what else they say.
        self.lifetime = 600
        self.claims = {}
        self.sessions, self.codes, self.refresh = {}, {}, {}
        # Paths that were asked for, without their queries.
        self.asked = []
        login = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                login.answer(self, "GET", b"")

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                login.answer(self, "POST", self.rfile.read(length))

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.base = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler, method, body):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        self.asked.append(url.path)
        match (method, url.path):
            case ("GET" | "POST", "/authorize"):
                self._authorize(handler, url.query, query, form)
            case ("POST", "/token"):
                self._token(handler, form)
            case ("GET", "/logout"):
                self.sessions.pop(self._session(handler), None)
                self._page(handler, 200, "<h1>Signed out at the test's provider</h1>")
            case _:
                self._page(handler, 404, "nothing here")

    # --- the browser's half ---

    def _authorize(self, handler, raw, query, form):
        ours = (query.get("client_id"), query.get("redirect_uri")) == (
            self.client[0],
            self.redirect_uri,
        )
        if not ours or query.get("response_type") != "code" or "openid" not in query["scope"]:
            self._page(handler, 400, "not a client of this provider")
            return
        session = self._session(handler)
        if "user" in form:
            session = secrets.token_hex(16)
            self.sessions[session] = form["user"]
        user = self.sessions.get(session)
        if user is None:
            self._page(handler, 200, FORM.format(query=html.escape(raw)))
            return
        code = secrets.token_hex(16)
        self.codes[code] = (user, query.get("code_challenge"), query.get("code_challenge_method"))
        answer = urllib.parse.urlencode({"code": code, "state": query.get("state", "")})
        self._send(
            handler,
            302,
            b"",
            [
                ("Location", f"{self.redirect_uri}?{answer}"),
                ("Set-Cookie", f"provider={session}; HttpOnly; Path=/"),
            ],
        )

    @staticmethod
    def _session(handler):
        cookie = SimpleCookie(handler.headers.get("Cookie", "")).get("provider")
        return cookie.value if cookie else None

    # --- the proxy's half ---

    def _token(self, handler, form):
        if (form.get("client_id"), form.get("client_secret")) != self.client:
            self._send(handler, 401, b'{"error":"invalid_client"}', [])
            return
        if form.get("grant_type") == "refresh_token":
            # More than once: requests that come together are renewed together.
            user = self.refresh.get(form.get("refresh_token"))
        else:
            user = self._redeem(form)
        if user is None:
            self._send(handler, 400, b'{"error":"invalid_grant"}', [])
            return
        refresh = secrets.token_hex(16)
        self.refresh[refresh] = user
        answer = {
            "access_token": self.identity_provider.token(user, **self.claims),
            "id_token": self.identity_provider.token(user, aud=self.client[0]),
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
        }
        self._send(
            handler, 200, json.dumps(answer).encode(), [("Content-Type", "application/json")]
        )

    def _redeem(self, form):
        """Once, by whoever began the login."""
        user, challenge, method = self.codes.pop(form.get("code"), (None, None, None))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        ours = form.get("redirect_uri") == self.redirect_uri
        return user if ours and method == "S256" and proof == challenge else None

    def _page(self, handler, status, text):
        self._send(handler, status, text.encode(), [("Content-Type", "text/html")])

    @staticmethod
    def _send(handler, status, body, headers):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

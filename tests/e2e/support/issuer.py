"""OIDC issuers on loopback, each with switches for what goes wrong on a bad day."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

MAKERS = {
    "RS256": (lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), RSAAlgorithm),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
}


class Key:
    def __init__(self, kid, algorithm):
        make, self._encoder = MAKERS[algorithm]
        self.kid, self.algorithm, self.private = kid, algorithm, make()

    def jwk(self):
        jwk = json.loads(self._encoder.to_jwk(self.private.public_key()))
        return {**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, text):
        """A JWS signature over exactly these bytes."""
        return jwt.get_algorithm_by_name(self.algorithm).sign(text, self.private)


class Issuer:
    """Publishes `published`, signs with `signing`; both change as a test likes."""

    def __init__(self, base, path, slash, algorithm):
        self.path = path
        # As tokens have it; some issuers end with a slash.
        self.url = f"{base}{path}" + ("/" if slash else "")
        self._jwks_url = f"{base}{path}/keys"
        self.signing = Key("k1", algorithm)
        self.published = [self.signing.jwk()]
        self.well()
        self.asked = []

    # --- faults ---

    def well(self):
        self.down = False
        self.delay = 0
        self.claimed = self.url
        self.padding = 0
        # Instead of the key set: bytes that are none.
        self.keys_instead = None

    def publish(self, kid, algorithm=None):
        """A further key, that does not sign yet."""
        key = Key(kid, algorithm or self.signing.algorithm)
        self.published = [*self.published, key.jwk()]
        return key

    def take_back(self, kid):
        self.published = [jwk for jwk in self.published if jwk.get("kid") != kid]

    # --- answers ---

    def answer(self, path):
        if path == f"{self.path}/.well-known/openid-configuration":
            return {"issuer": self.claimed, "jwks_uri": self._jwks_url, "x": "x" * self.padding}
        if path == f"{self.path}/keys":
            self.asked.append(time.monotonic())
            if self.keys_instead is not None:
                return self.keys_instead
            return {"keys": self.published, "x": "x" * self.padding}
        return None

    # --- tokens ---

    def claims(self, **changes):
        """`None` takes a claim away."""
        now = int(time.time())
        claims = {"iss": self.url, "iat": now, "nbf": now, "exp": now + 600, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key=None, header=None, **claims):
        key = key or self.signing
        header = {"alg": key.algorithm, "kid": key.kid, **(header or {})}
        header = {name: value for name, value in header.items() if value is not None}
        payload = json.dumps(self.claims(**claims)).encode()
        return signed(key, json.dumps(header).encode(), payload)


def signed(key, header, payload):
    """A token of exactly these bytes, which a library might refuse to make."""
    text = encode(header) + b"." + encode(payload)
    return (text + b"." + encode(key.sign(text))).decode()


def encode(data):
    return jwt.utils.base64url_encode(data)


def decode(text):
    return jwt.utils.base64url_decode(text)


class IssuerServer:
    def __init__(self):
        self.issuers = []
        issuers = self.issuers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer = next((i for i in issuers if self.path.startswith(i.path + "/")), None)
                if issuer is None or issuer.down:
                    # As if nobody were there.
                    self.close_connection = True
                    return
                time.sleep(issuer.delay)
                answer = issuer.answer(self.path)
                body = answer if isinstance(answer, bytes) else json.dumps(answer or {}).encode()
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                # What an issuer allows does not lengthen what is configured.
                self.send_header("Cache-Control", "max-age=86400")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments):
                """Clients that stop waiting for a slow issuer are no error."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, name, slash=False, algorithm="RS256"):
        issuer = Issuer(self.base, f"/{name}", slash, algorithm)
        self.issuers.append(issuer)
        return issuer

    def close(self):
        self._server.shutdown()
        self._server.server_close()

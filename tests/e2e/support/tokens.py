"""An identity provider's keys and tokens, made anew for every run."""

import base64
import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://idp.test/realm"
AUDIENCE = "mlflow"


class IdentityProvider:
    """Signs with RS256, ES256 and EdDSA; `kid` is the algorithm in lower case."""

    def __init__(self, issuer=ISSUER):
        self.issuer = issuer
        self.keys = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def jwks(self):
        makers = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
        keys = []
        for algorithm, key in self.keys.items():
            jwk = json.loads(makers[algorithm].to_jwk(key.public_key()))
            keys.append({**jwk, "kid": algorithm.lower(), "alg": algorithm, "use": "sig"})
        return {"keys": keys}

    def plugin_config(self):
        return {
            "jwt": {
                "issuers": [
                    {
                        "name": "idp",
                        "issuer": self.issuer,
                        "audiences": [AUDIENCE],
                        "algorithms": sorted(self.keys),
                        "jwks": self.jwks(),
                        "groups_claim": "groups",
                    }
                ]
            }
        }

    def claims(self, username, **changes):
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": username,
            "preferred_username": username,
            "iat": now,
            "exp": now + 600,
        }
        claims.update(changes)
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, username, algorithm="RS256", headers=None, **changes):
        return jwt.encode(
            self.claims(username, **changes),
            self.keys[algorithm],
            algorithm=algorithm,
            headers={"kid": algorithm.lower(), **(headers or {})},
        )


def forged(header, claims, signature=b""):
    """A token with exactly these parts, for what no library would make."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

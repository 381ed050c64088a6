"""A gate whose users come from many identity providers at once."""

import json
import re

from .gate import ROOT, Demo, Gate, free_port
from .issuer import IssuerServer
from .recorder import Recorder

PAGE = ROOT / "envoy" / "identity-providers.md"

# In seconds, as the policy server is told below.
REFRESH = 2
REFETCH = 0.5
STALE = 10

# Issuers of no particular make; the tests of each fault have their own.
PLAIN = ["plain", "twin", "rotating", "fading", "lying", "slow", "withdrawn", "late"]


def profiles():
    """The blocks of the documentation, by the name of their issuer."""
    blocks = map(json.loads, re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL))
    return {block["name"]: block for block in blocks}


class Federation:
    def __init__(self, directory, store):
        self.server = IssuerServer()
        self.issuers = {}
        entries = []
        for name, block in profiles().items():
            issuer = self.server.add(name, slash=block["issuer"].endswith("/"))
            self.issuers[name] = issuer
            # The only thing that is changed of what the page says to paste.
            entries.append({**block, "issuer": issuer.url})
        for name in PLAIN:
            issuer = self.server.add(name, algorithm="ES256")
            self.issuers[name] = issuer
            entries.append(plain(name, issuer))
        self["slow"].delay = 3
        self["lying"].claimed = self["lying"].url + "/"
        plugin = directory / "plugin.json"
        plugin.write_text(json.dumps({"jwt": {"issuers": entries}, "reason_header": True}))
        config = directory / "server.toml"
        known = [f"{name}={issuer.url}" for name, issuer in self.issuers.items()]
        config.write_text(
            f"oidc_issuers = {json.dumps(known)}\nmax_failures = 1000\n"
            f"oidc_refresh = '{REFRESH}s'\noidc_refetch = '{int(REFETCH * 1000)}ms'\n"
            f"oidc_stale = '{STALE}s'\nadmin_groups = ['keycloak:mlflow-admin']\n"
        )
        mlflow_port = free_port()
        self._recorder = Recorder(mlflow_port)
        demo = Demo(
            directory / "data",
            *("--listen", "127.0.0.1:0", "--store", store, "--plugin-config", plugin),
            *("--server-config", config),
            *("--mlflow-port", mlflow_port, "--mlflow-through", self._recorder.port),
            "--policy-server-may-end",
        )
        self.gate = Gate(demo, self._recorder)

    def __getitem__(self, name):
        return self.issuers[name]

    def close(self):
        self.gate.close()
        self._recorder.close()
        self.server.close()


def plain(name, issuer):
    return {
        "name": name,
        "issuer": issuer.url,
        "audiences": ["mlflow"],
        "algorithms": ["ES256", "RS256", "EdDSA"],
        "username_claims": ["sub"],
        "username_prefix": f"{name}:",
        "groups_claim": "groups",
        "groups_prefix": f"{name}:",
    }

"""envoy/plain/policy-server-tls.yaml as it is shipped: Envoy and the policy server prove to each
other who they are, and with anybody else nothing is decided."""

import contextlib
import shutil

import pytest
import requests
import yaml
from support.certificates import Authority
from support.envoy import SHIPPED, another_envoy, localised
from support.gate import wait_until
from support.second_server import another_policy_server

HOST = "policy.mlgate.internal"
DIRECTORY = "/etc/envoy/policy-tls"
PATH = "/api/2.0/mlflow/experiments/get?experiment_id=0"


class Authorities:
    """Of servers, of Envoys, and one that nobody trusts."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("servers", "envoys", "strangers"):
            setattr(self, name, Authority(directory / f"{name}.crt"))

    def certificate(self, name, signed_by, host, trusts):
        """A directory with tls.crt, tls.key and ca.crt."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        signed_by.issue(directory, host)
        shutil.copy(trusts.file, directory / "ca.crt")
        return directory


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    return Authorities(tmp_path_factory.mktemp("authorities"))


def policy_server(gate, files, log_file):
    """A second server on the same store, that speaks TLS; yields its port."""
    return another_policy_server(gate, log_file, {
        "tls-certificate": files / "tls.crt",
        "tls-key": files / "tls.key",
        "tls-client-ca": files / "ca.crt",
    })


@pytest.fixture(scope="module")
def server(gate, authorities):
    files = authorities.certificate("server", authorities.servers, HOST, authorities.envoys)
    with policy_server(gate, files, authorities.directory / "server.log") as port:
        yield port


def over_tls(gate, port, files):
    """Changes Envoy's cluster to that server, with these certificates; in plain without."""
    plain = gate.ready["ports"]["policy"]
    socket = None
    if files:
        text = localised(SHIPPED / "plain" / "policy-server-tls.yaml", {DIRECTORY: files})
        socket = yaml.safe_load(text)["transport_socket"]

    def change(configuration):
        changed = 0
        for cluster in configuration["static_resources"]["clusters"]:
            endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            address = endpoint["address"]["socket_address"]
            if address["port_value"] == plain:
                address["port_value"], changed = port, changed + 1
                if socket:
                    cluster["transport_socket"] = socket
        assert changed == 1

    return change


def ask(port, who):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://127.0.0.1:{port}{PATH}", auth=who, timeout=30)


def test_with_the_right_certificates_on_both_sides_it_is_decided(
    gate, authorities, server, tmp_path
):
    files = authorities.certificate("right", authorities.envoys, "envoy", authorities.servers)
    with another_envoy(gate, over_tls(gate, server, files), tmp_path) as port:
        wait_until(lambda: ask(port, gate.admin).status_code == 200, "the admin is let in")
        assert ask(port, (gate.admin[0], "not the password")).status_code == 401


WRONG = {
    "the server is signed by somebody else": ("envoys", "strangers", HOST),
    "Envoy is signed by somebody else": ("strangers", "servers", HOST),
    "the server's authority makes no Envoys": ("servers", "servers", HOST),
    "the server has another name": ("envoys", "servers", "other.mlgate.internal"),
    "Envoy speaks in plain": None,
}


@pytest.mark.parametrize("case", WRONG)
def test_with_anybody_else_everything_is_503(gate, authorities, server, tmp_path, case):
    with contextlib.ExitStack() as stack:
        files, at = None, server
        if WRONG[case]:
            signer, trusted, name = WRONG[case]
            signed_by, trusts = getattr(authorities, signer), getattr(authorities, trusted)
            files = authorities.certificate(case.replace(" ", "-"), signed_by, "envoy", trusts)
            if name != HOST:
                own = authorities.certificate("named", authorities.servers, name, authorities.envoys)
                at = stack.enter_context(policy_server(gate, own, tmp_path / "server.log"))
        port = stack.enter_context(another_envoy(gate, over_tls(gate, at, files), tmp_path))
        with gate.recorder.silence():
            for _ in range(3):
                answer = ask(port, gate.admin)
                assert answer.status_code == 503, answer.text
                assert "Retry-After" in answer.headers

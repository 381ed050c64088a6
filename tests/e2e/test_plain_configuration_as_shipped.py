"""envoy/plain runs with TLS as it is shipped; only addresses and paths are others."""

import shutil
import socket
import ssl

import h2.config
import h2.connection
import h2.events
import pytest
from support.certificates import Authority
from support.envoy import SHIPPED, addresses, localised, running, stats
from support.gate import basic, free_port, wait_until

HOST = "mlflow.example.com"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


class Shipped:
    def __init__(self, gate, directory):
        self.gate, self.port, self.admin_port = gate, free_port(), free_port()
        self.directory = directory
        self.certificates = directory / "tls"
        self.certificates.mkdir()
        self.authority = Authority(directory / "authority.pem")
        self.serial = self.authority.issue(self.certificates, HOST)
        secret = directory / "tls.yaml"
        secret.write_text(
            localised(SHIPPED / "plain" / "tls.yaml", {"/etc/envoy/tls": self.certificates})
        )
        self.file = directory / "envoy.yaml"
        changes = addresses(gate, self.admin_port) | {
            "port_value: 8443": f"port_value: {self.port}",
            "/etc/envoy/tls.yaml": secret,
        }
        self.file.write_text(localised(SHIPPED / "plain" / "envoy.yaml", changes))

    def connect(self, protocols=("http/1.1",), version=ssl.TLSVersion.MAXIMUM_SUPPORTED):
        context = ssl.create_default_context(cafile=str(self.authority.file))
        # Else OpenSSL itself would not offer what the server is to refuse.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.set_alpn_protocols(list(protocols))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(plain, server_hostname=HOST)

    def http1(self, host, path, credential=None):
        """The status and the body of one request."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"Authorization: {basic(*credential)}"] if credential else []
        with self.connect() as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


@pytest.fixture(scope="module")
def shipped(gate, tmp_path_factory):
    shipped = Shipped(gate, tmp_path_factory.mktemp("shipped"))
    with running(gate, shipped.file, shipped.port):
        yield shipped


def test_the_gate_is_served_over_http1_and_tls(shipped, gate):
    status, body = shipped.http1(f"{HOST}:{shipped.port}", SEARCH, gate.admin)
    assert status == 200 and b"experiments" in body
    assert shipped.http1(HOST, SEARCH)[0] == 401


def test_the_gate_is_served_over_http2_and_tls(shipped, gate):
    with shipped.connect(("h2", "http/1.1")) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        protocol = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        protocol.initiate_connection()
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", HOST)]
        headers += [(":path", SEARCH), ("authorization", basic(*gate.admin))]
        protocol.send_headers(protocol.get_next_available_stream_id(), headers, end_stream=True)
        connection.sendall(protocol.data_to_send())
        status = None
        while status is None and (data := connection.recv(65536)):
            for event in protocol.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
            connection.sendall(protocol.data_to_send())
    assert status == "200"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "attacker.example", "example.com"])
def test_a_host_that_is_not_listed_gets_nothing(shipped, gate, host):
    """A page that has rebound its own name to this address (CVE-2025-14279)."""
    status, body = shipped.http1(host, SEARCH, gate.admin)
    assert status == 404 and b"experiments" not in body


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(shipped):
    shipped.connect(version=ssl.TLSVersion.TLSv1_2).close()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shipped.connect(version=ssl.TLSVersion.TLSv1_1)


def test_plain_http_is_not_answered(shipped):
    with socket.create_connection(("127.0.0.1", shipped.port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: mlflow.example.com\r\n\r\n")
        try:
            assert not connection.recv(1024).startswith(b"HTTP/")
        except ConnectionError:
            pass


def test_a_renewed_certificate_is_served_without_a_restart(shipped):
    renewed = shipped.directory / "renewed"
    renewed.mkdir()
    serial = shipped.authority.issue(renewed, HOST)
    assert serial != shipped.serial
    for name in ("tls.key", "tls.crt"):
        shutil.move(renewed / name, shipped.certificates / name)

    def served():
        with shipped.connect() as connection:
            return int(connection.getpeercert()["serialNumber"], 16)

    wait_until(lambda: served() == serial, "the renewed certificate is served")


def test_the_policy_servers_health_is_asked_for(shipped):
    health = "cluster.mlgate_policy.health_check."
    wait_until(lambda: stats(shipped.admin_port, health)[health + "success"] > 0, "it is healthy")
    assert stats(shipped.admin_port, health)[health + "healthy"] == 1

"""Large artifacts stream through: the proxy holds no more of them than its buffers."""

import hashlib
import socket
import threading
import time
from pathlib import Path

import pytest
from support.gate import basic

PATH = "/api/2.0/mlflow-artifacts/artifacts/{}/{}/artifacts/large.bin"
MEBIBYTE = 1 << 20
SIZE = 256 * MEBIBYTE
# Buffers of both sides, and what the allocator keeps.
GROWTH = 32 * MEBIBYTE
PIECE = bytes(range(256)) * (MEBIBYTE // 256)


def resident(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


class Watch(threading.Thread):
    """Samples the memory of a process while the block runs."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.before = self.most = resident(pid)
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, resident(self.pid))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    @property
    def growth(self):
        return self.most - self.before


@pytest.fixture(scope="module")
def artifact(gate):
    owner = gate.create_user("large-owner")
    experiment = gate.create_experiment("large artifacts", owner)
    path = PATH.format(experiment, gate.create_run(experiment, owner))
    # What the first transfer allocates stays.
    assert gate.request("PUT", path, owner, data=PIECE * 16).status_code == 200
    assert len(gate.get(path, owner).content) == 16 * MEBIBYTE
    return owner, path


def test_the_proxys_memory_is_flat_while_a_large_artifact_goes_up_and_down(gate, artifact):
    owner, path = artifact
    pieces = (PIECE for _ in range(SIZE // MEBIBYTE))
    with Watch(gate.ready["pids"]["envoy"]) as up:
        # Chunked: not even the length is known in advance.
        assert gate.request("PUT", path, owner, data=pieces).status_code == 200
    assert up.growth < GROWTH, f"grew by {up.growth / MEBIBYTE:.0f} MiB"
    digest, received = hashlib.sha256(), 0
    with Watch(gate.ready["pids"]["envoy"]) as down:
        answer = gate.get(path, owner, stream=True)
        assert answer.status_code == 200
        for piece in answer.iter_content(MEBIBYTE):
            digest.update(piece)
            received += len(piece)
    assert received == SIZE
    assert down.growth < GROWTH, f"grew by {down.growth / MEBIBYTE:.0f} MiB"
    whole = hashlib.sha256()
    for _ in range(SIZE // MEBIBYTE):
        whole.update(PIECE)
    assert digest.digest() == whole.digest()


def test_a_client_that_reads_slowly_is_waited_for_and_not_buffered_for(gate, artifact):
    owner, path = artifact
    pieces = (PIECE for _ in range(SIZE // MEBIBYTE))
    assert gate.request("PUT", path, owner, data=pieces).status_code == 200
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(*owner)}\r\n\r\n"
    with Watch(gate.ready["pids"]["envoy"]) as watch:
        with socket.create_connection(("127.0.0.1", gate.ready["ports"]["gate"])) as client:
            client.sendall(head.encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            # MLflow could send all of it by now.
            time.sleep(3)
    assert watch.growth < GROWTH, f"grew by {watch.growth / MEBIBYTE:.0f} MiB"

"""A TCP proxy between Envoy and MLflow that keeps what Envoy sends.

That a refused request never reaches MLflow is the promise under test, so it is judged by the
bytes on the wire and not by a log that MLflow might or might not write.
"""

import contextlib
import socket
import threading
import time

# Long enough for a request that Envoy lets through to arrive.
SETTLE_SECONDS = 0.08
KEPT_BYTES = 4 << 20


class Recorder:
    def __init__(self, upstream_port):
        self._upstream = ("127.0.0.1", upstream_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._answers = threading.Event()
        self._answers.set()
        self.received = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    @contextlib.contextmanager
    def silence(self):
        """Fails unless MLflow receives nothing at all within the block."""
        before = self.received
        yield
        self.settle()
        assert self.received == before, f"MLflow received {self._since(before)[:2000]!r}"

    @contextlib.contextmanager
    def listening(self):
        """Yields a list to which the bytes that MLflow received in the block are appended."""
        heard = []
        before = self.received
        yield heard
        self.settle()
        heard.append(self._since(before))

    @contextlib.contextmanager
    def answers_held(self):
        """MLflow hears what is sent within the block; nobody hears its answers until the end."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    def _since(self, position):
        """What was received after a position, as far as it is kept."""
        with self._lock:
            return bytes(self._kept[max(0, position - self.received + len(self._kept)) :])

    @staticmethod
    def settle():
        time.sleep(SETTLE_SECONDS)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(self._upstream)
        except OSError:
            client.close()
            return
        back = threading.Thread(target=_copy, args=(server, client, self._hold), daemon=True)
        back.start()
        _copy(client, server, self._keep)
        back.join()
        client.close()
        server.close()

    def _hold(self, _):
        self._answers.wait()

    def _keep(self, data):
        with self._lock:
            self.received += len(data)
            self._kept += data
            del self._kept[: max(0, len(self._kept) - KEPT_BYTES)]


def _copy(source, sink, seen=lambda data: None):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            seen(data)
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

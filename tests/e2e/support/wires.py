"""Networks that can be cut: TCP proxies on loopback, in threads."""

import contextlib
import socket
import struct
import threading

FREE, HELD, REFUSED = "free", "held", "refused"


class Wire:
    """Carries connections to a port.

    Held, it delivers nothing in either direction and nobody is told, as when packets are lost;
    what was sent arrives once it is free again. Refused, connections are reset.
    """

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._state = FREE
        self._changed = threading.Condition()
        self._sockets = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, state):
        with self._changed:
            self._state = state
            sockets = list(self._sockets) if state == REFUSED else []
            self._changed.notify_all()
        for each in sockets:
            _reset(each)

    @contextlib.contextmanager
    def being(self, state):
        self.set(state)
        try:
            yield
        finally:
            self.set(FREE)

    def close(self):
        self._listener.close()
        self.set(REFUSED)

    def relay(self, source, sink, downwards):
        """Copies until the source ends; `downwards` from the target to whoever connected."""
        while data := source.recv(65536):
            if not self.pass_on(sink, data):
                return

    def pass_on(self, sink, data):
        with self._changed:
            self._changed.wait_for(lambda: self._state != HELD)
            if self._state == REFUSED:
                return False
        sink.sendall(data)
        return True

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._state == REFUSED:
                _reset(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            _reset(client)
            return
        both = {client, server}
        for each in both:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._sockets |= both
        back = threading.Thread(target=self._copy, args=(server, client, True), daemon=True)
        back.start()
        self._copy(client, server, False)
        back.join()
        with self._changed:
            self._sockets -= both
        for each in both:
            each.close()

    def _copy(self, source, sink, downwards):
        with contextlib.suppress(OSError):
            self.relay(source, sink, downwards)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class PostgresWire(Wire):
    """Carries Postgres' protocol, without TLS; may swallow notifications, as a pooler does."""

    NOTIFICATION = b"A"

    def __init__(self, target):
        super().__init__(target)
        self.swallows_notifications = False
        self.swallowed = 0

    def relay(self, source, sink, downwards):
        if not downwards:
            super().relay(source, sink, downwards)
            return
        held = b""
        while data := source.recv(65536):
            held += data
            whole, held = self._messages(held)
            if whole and not self.pass_on(sink, whole):
                return

    def _messages(self, data):
        """The complete messages that go on, and the rest. One is a letter, a length, and that."""
        kept, start = [], 0
        while len(data) - start >= 5:
            end = start + 1 + struct.unpack_from("!I", data, start + 1)[0]
            if end > len(data):
                break
            if self.swallows_notifications and data[start : start + 1] == self.NOTIFICATION:
                self.swallowed += 1
            else:
                kept.append(data[start:end])
            start = end
        return b"".join(kept), data[start:]


def _reset(connection):
    """Ends a connection at once, so that the peer gets a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()

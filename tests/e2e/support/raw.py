"""Requests as exact bytes, which no HTTP library would send."""

import socket
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events


# HTTP/2's smallest limit of a frame, which a peer need not raise.
FRAME = 1 << 14


@dataclass
class Answer:
    status: int
    headers: dict = field(default_factory=dict)
    body: bytes = b""


def both(port, method, target, headers=(), data=None, host="127.0.0.1"):
    """One request over HTTP/1.1 and over HTTP/2, and the answer to each."""
    headers = [*headers] + ([("Content-Length", str(len(data)))] if data is not None else [])
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n"
    pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", target)]
    fields = [(n.lower().encode(), v.encode()) for n, v in [*pseudo, *headers]]
    return [http1(port, head.encode() + (data or b"")), http2(port, fields, data or None)]


def http1(port, data, timeout=20, source="127.0.0.1"):
    """Sends bytes as they are and returns the first answer, or None if there is none. `source` is
    the sender's address."""
    with socket.create_connection(("127.0.0.1", port), timeout, (source, 0)) as connection:
        connection.sendall(data)
        # An answer to HEAD tells how long the body would be.
        return _read_answer(connection, has_body=not data.startswith(b"HEAD "))


def trickled(port, pieces, pause=0.02, timeout=20):
    """The same, with a pause after each piece."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        return _read_answer(connection)


def _read_answer(connection, has_body=True):
    received = b""
    while b"\r\n\r\n" not in received:
        piece = _receive(connection)
        if not piece:
            return None
        received += piece
        if received.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in received:
            # An interim answer such as 100 Continue.
            received = received.split(b"\r\n\r\n", 1)[1]
    head, body = received.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    expected = int(headers.get("content-length", 0)) if has_body else 0
    while len(body) < expected and (piece := _receive(connection)):
        body += piece
    return Answer(int(lines[0].split()[1]), headers, body)


def _receive(connection):
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def http2(port, headers, body=None, trailers=None, timeout=20):
    """One HTTP/2 request with prior knowledge, headers as given; None if the stream was reset."""
    config = h2.config.H2Configuration(
        client_side=True,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        header_encoding=None,
    )
    protocol = h2.connection.H2Connection(config)
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        protocol.initiate_connection()
        stream = protocol.get_next_available_stream_id()
        protocol.send_headers(stream, headers, end_stream=body is None and trailers is None)
        if body is not None:
            for start in range(0, len(body), FRAME):
                protocol.send_data(stream, body[start : start + FRAME])
            protocol.send_data(stream, b"", end_stream=trailers is None)
        if trailers is not None:
            protocol.send_headers(stream, trailers, end_stream=True)
        connection.sendall(protocol.data_to_send())
        return _read_h2_answer(connection, protocol)


def _read_h2_answer(connection, protocol):
    answer = None
    while data := _receive(connection):
        for event in protocol.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    headers = {n.decode(): v.decode("latin-1") for n, v in event.headers}
                    answer = Answer(int(headers.pop(":status")), headers)
                case h2.events.DataReceived():
                    answer.body += event.data
                    protocol.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                case h2.events.StreamEnded():
                    return answer
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    return answer
        connection.sendall(protocol.data_to_send())
    return answer

"""A collector that takes OTLP over gRPC in cleartext, and keeps what it is sent.

The messages' classes are those that MLflow brings along; gRPC is a handful of headers and five
bytes around each message, so that it needs no more than HTTP/2.
"""

import contextlib
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.events
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# Not compressed, and empty: nothing was rejected.
ACCEPTED = struct.pack(">BI", 0, 0)


class Collector:
    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._exports = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def bytes(self):
        """All exports as they came."""
        with self._lock:
            return b"".join(self._exports)

    def spans(self):
        with self._lock:
            exports = [ExportTraceServiceRequest.FromString(export) for export in self._exports]
        resources = (resource for export in exports for resource in export.resource_spans)
        return [span for found in resources for scope in found.scope_spans for span in scope.spans]

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        protocol = h2.connection.H2Connection(config)
        protocol.initiate_connection()
        calls = {}
        with connection, contextlib.suppress(OSError):
            connection.sendall(protocol.data_to_send())
            while received := connection.recv(65536):
                for event in protocol.receive_data(received):
                    self._take(protocol, calls, event)
                connection.sendall(protocol.data_to_send())

    def _take(self, protocol, calls, event):
        match event:
            case h2.events.RequestReceived():
                calls[event.stream_id] = dict(event.headers)[":path"], bytearray()
            case h2.events.DataReceived():
                calls[event.stream_id][1].extend(event.data)
                length = event.flow_controlled_length
                protocol.acknowledge_received_data(length, event.stream_id)
            case h2.events.StreamEnded():
                self._answer(protocol, event.stream_id, *calls.pop(event.stream_id))

    def _answer(self, protocol, stream, path, body):
        compressed, length = struct.unpack(">BI", body[:5])
        # 12: there is no such call, or not in this form.
        status = "0" if (path, compressed, length) == (EXPORT, 0, len(body) - 5) else "12"
        if status == "0":
            with self._lock:
                self._exports.append(bytes(body[5:]))
        protocol.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        protocol.send_data(stream, ACCEPTED)
        protocol.send_headers(stream, [("grpc-status", status)], end_stream=True)

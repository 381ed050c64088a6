"""Services that have nothing to do with MLflow."""

import socketserver
import threading

ANSWER = b"the %s service says hello\n" * 40


class Service:
    """Answers every request with the same bytes and keeps what it was sent."""

    def __init__(self, name):
        self.heard = []
        service = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while request := _read(self.rfile):
                    service.heard.append(request)
                    body = ANSWER.replace(b"%s", name.encode())
                    head = f"HTTP/1.1 200 OK\r\nx-from: {name}\r\ncontent-type: text/plain\r\n"
                    head += f"content-length: {len(body)}\r\n\r\n"
                    self.wfile.write(head.encode() + body)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def _read(stream):
    """One request's bytes; the body must have a length."""
    head = b""
    while line := stream.readline():
        head += line
        if line == b"\r\n":
            break
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head + stream.read(length)

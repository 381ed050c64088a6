"""`python quick_upstream.py PORT` answers every request at once: an MLflow that is never the limit."""

import asyncio
import sys

BODY = b'{"run":{"info":{"run_id":"0","experiment_id":"1","status":"RUNNING"},"data":{}}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ANSWER += b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            if length:
                await reader.readexactly(int(length))
            writer.write(ANSWER)
    except (OSError, EOFError):
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

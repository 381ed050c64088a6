"""`python counting_upstream.py PORT` stands for MLflow: it answers at once, and counts by the user
whom the gate names how many requests reached it. `/seen`, asked directly, tells."""

import asyncio
import itertools
import json
import sys
from collections import Counter

SEEN = Counter()
EXPERIMENTS = itertools.count(1_000_000)
EXPERIMENT = {"experiment": {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}}


def answer(head):
    path = head.split(b" ", 2)[1]
    if path == b"/seen":
        return SEEN
    user = head.partition(b"\r\nx-mlgate-user: ")[2].partition(b"\r\n")[0]
    SEEN[user.decode()] += 1
    if path.endswith(b"/experiments/create"):
        return {"experiment_id": str(next(EXPERIMENTS))}
    return EXPERIMENT


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            if length:
                await reader.readexactly(int(length))
            body = json.dumps(answer(head)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
    except (OSError, EOFError):
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

"""Wrong passwords for one user, as fast as the machine takes them: pipelined, on several
connections, from a process of its own and from an address of one's choice.

`python pipelining.py PORT ADDRESS SECONDS USER` prints what came back, as JSON. Without a user the requests
have no credential.
"""

import asyncio
import base64
import itertools
import json
import subprocess
import sys
import time
from collections import Counter

CONNECTIONS = 64
# Requests that are on their way on each connection. Envoy ends one on which more answers queue up.
DEPTH = 2
ANSWER = b"HTTP/1.1 "
WANTED = {status: ANSWER + status.encode() for status in ("200", "401", "429", "503")}
WAIT = b"\r\nretry-after: "
NUMBERS = itertools.count()


def attempt(user):
    """No two have the same password."""
    credential = base64.b64encode(f"{user}:no password {next(NUMBERS)}".encode())
    authorization = b"Authorization: Basic " + credential + b"\r\n" if user else b""
    return (
        b"GET /api/2.0/mlflow/experiments/get?experiment_id=0 HTTP/1.1\r\nHost: localhost\r\n"
        + authorization + b"\r\n"
    )  # fmt: skip


class Attacker(asyncio.Protocol):
    def __init__(self, user, counts):
        self.user, self.counts, self.last, self.stopped = user, counts, b"", False

    def connection_made(self, transport):
        self.transport = transport
        self.send(DEPTH)

    def send(self, number):
        self.transport.write(b"".join(attempt(self.user) for _ in range(number)))

    def data_received(self, data):
        window = self.last + data
        # What was whole before has been counted.
        new = lambda text: window.count(text) - self.last.count(text)
        answered = new(ANSWER)
        for status, text in WANTED.items():
            self.counts[status] += new(text)
        self.counts["retry-after"] += new(WAIT)
        self.counts["answers"] += answered
        self.last = window[-len(WAIT) :]
        if answered and not self.stopped:
            self.send(answered)

    def connection_lost(self, _):
        self.counts["lost"] += not self.stopped


async def attack(port, address, seconds, user):
    loop, counts = asyncio.get_running_loop(), Counter(lost=0)
    attackers = []
    for _ in range(CONNECTIONS):
        make = lambda: Attacker(user, counts)
        opened = await loop.create_connection(make, "127.0.0.1", port, local_addr=(address, 0))
        attackers.append(opened)
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    counts = dict(counts, seconds=time.monotonic() - begun)
    for transport, attacker in attackers:
        attacker.stopped = True
        transport.abort()
    return counts


class Attack:
    """The handle on such a process; its end is waited for by `counts`."""

    def __init__(self, port, address, seconds, user):
        arguments = [str(port), address, str(seconds), user]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
        )

    def counts(self):
        output, _ = self.process.communicate(timeout=120)
        return json.loads(output)


if __name__ == "__main__":
    _, port, address, seconds, user = sys.argv
    print(json.dumps(asyncio.run(attack(int(port), address, float(seconds), user))))

"""Load that can be steered while it runs, in a process of its own.

A *lane* is one keep-alive connection on which the same request is sent again and again, at a fixed
pace; it keeps when each was sent and answered, and how. `{n}` in a request is a number of nine
digits that was never used before, `{k}` one of a million.
`python lanes.py` reads commands from standard input, one JSON object a line, and answers each.
"""

import asyncio
import contextlib
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter

TIMEOUT = 6
NUMBERS = itertools.count(100_000_000)
MILLION = range(1_000_000, 2_000_000)


def filled(text):
    if "{n}" in text:
        text = text.replace("{n}", str(next(NUMBERS)))
    if "{k}" in text:
        text = text.replace("{k}", str(random.choice(MILLION)))
    return text.encode("latin-1")


async def answer(reader):
    """The status of the next answer, and whether the connection ends with it."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    if length:
        await reader.readexactly(int(length))
    elif b"transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return int(head.split()[1]), b"connection: close" in head


class Lane:
    def __init__(self, port, text, period):
        self.port, self.text, self.period = port, text, period
        self.records, self.connections = [], 0
        # Cancelling alone will not do: before Python 3.12 `wait_for` may swallow it.
        self.closed = False

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.connections += 1

    async def run(self):
        due = time.time()
        while not self.closed:
            due = max(due + self.period, time.time())
            await asyncio.sleep(due - time.time())
            sent = time.time()
            try:
                self.writer.write(filled(self.text))
                status, closes = await asyncio.wait_for(answer(self.reader), TIMEOUT)
            except (OSError, EOFError, asyncio.TimeoutError):
                status, closes = 0, True
            self.records.append((sent, time.time(), status))
            if closes:
                await self.reconnect()

    async def reconnect(self):
        while not self.closed:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.connect()
                return
            await asyncio.sleep(0.1)

    def take(self):
        records, self.records = self.records, []
        return {"records": records, "connections": self.connections}


async def burst(port, text, connections):
    """All at once, each on a connection that is open already."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    for _, writer in opened:
        writer.write(filled(text))
    answers = await asyncio.gather(
        *(asyncio.wait_for(answer(reader), TIMEOUT) for reader, _ in opened)
    )
    for _, writer in opened:
        writer.close()
    return Counter(status for status, _ in answers)


async def flood(port, text, count, connections):
    """As fast as answers come."""
    statuses, left = Counter(), iter(range(count))

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(filled(text))
            status, closes = await asyncio.wait_for(answer(reader), 60)
            statuses[status] += 1
            assert not closes, "the connection was closed"
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return statuses


async def main():
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    lanes = {}
    while line := await commands.readline():
        command = json.loads(line)
        result = await perform(command.pop("do"), command, lanes)
        print(json.dumps(result), flush=True)


async def perform(what, command, lanes):
    match what:
        case "open":
            name = command.pop("lane")
            lane = Lane(**command)
            await lane.connect()
            lanes[name] = (lane, asyncio.create_task(lane.run()))
        case "text":
            for name in command["lanes"]:
                lanes[name][0].text = command["text"]
        case "take":
            return {name: lanes[name][0].take() for name in command["lanes"]}
        case "close":
            for name in command["lanes"]:
                lane, task = lanes.pop(name)
                lane.closed = True
                task.cancel()
                lane.writer.close()
        case "burst":
            return await burst(**command)
        case "flood":
            return await flood(**command)
    return None


class Lanes:
    """The handle on such a process."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.turn = threading.Lock()

    def do(self, command, **arguments):
        with self.turn:
            self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def take(self, *lanes):
        """What has been answered since it was asked last: (sent, answered, status) by lane."""
        taken = self.do("take", lanes=lanes)
        return {name: [tuple(r) for r in lane["records"]] for name, lane in taken.items()}

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()


if __name__ == "__main__":
    asyncio.run(main())

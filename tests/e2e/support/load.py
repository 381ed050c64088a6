"""A bounded load at a fixed rate over keep-alive connections, in a process of its own.

`python load.py` reads a job from standard input as JSON, and prints what came of it. A request is
sent when it is due, or as soon as its connection is free: none is left out.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter


async def _connection(job, number, start, report):
    requests = [r["text"].encode("latin-1") for r in job["requests"]]
    expected = [r["status"] for r in job["requests"]]
    connections, rate = job["connections"], job["rate"]
    reader, writer = await asyncio.open_connection("127.0.0.1", job["port"])
    due = number
    while due < job["count"]:
        await asyncio.sleep(max(0, start + due / rate - time.monotonic()))
        which = due % len(requests)
        sent = time.monotonic()
        try:
            writer.write(requests[which])
            status, closes = await asyncio.wait_for(_answer(reader), job["timeout"])
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            status, closes = type(error).__name__, True
        report["slowest"] = max(report["slowest"], time.monotonic() - sent)
        if status == expected[which]:
            report["as_expected"] += 1
        else:
            report["others"][f"{which}: {status}"] += 1
        if closes:
            report["reconnects"] += 1
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", job["port"])
        due += connections
    writer.close()


async def _answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    if length:
        await reader.readexactly(int(length))
    elif b"transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return int(head.split()[1]), b"connection: close" in head


async def _run(job):
    report = {"as_expected": 0, "others": Counter(), "reconnects": 0, "slowest": 0.0}
    start = time.monotonic() + 0.2
    every = (_connection(job, n, start, report) for n in range(job["connections"]))
    await asyncio.gather(*every)
    report["seconds"] = time.monotonic() - start
    return report


def run_in_background(**job):
    """Starts the load; `finish` of what it returns waits for the report."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    return process


def finish(process):
    output = process.stdout.read()
    assert process.wait(timeout=30) == 0
    return json.loads(output)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(json.load(sys.stdin)))))

"""python -m differential.crowd --work-dir DIR --demo 'COMMAND …'

Fails (exit status 1) if a list differs from that of MLflow's `basic-auth`, or if anything that the
gate answered gives away an object that the user may not read. Writes its counts to the file that
the environment variable MLGATE_TEST_REPORT names.
"""

import argparse
import base64
import json
import os
import re
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .. import gate, reference
from ..http_client import Answer, Client, basic
from ..users import PASSWORD
from . import people, world
from .people import PEOPLE, Person
from .searches import Search, searches

# By default_permission: what differs with it is which rows are shown, not how pages are cut.
PAGE_SIZES = {"NO_PERMISSIONS": (1, 10, 100), "READ": (10,)}
# Of long lists not every page is compared; the seven come on eight pages of one.
MOST_PAGES = 9
EXPERIMENT_ID = re.compile(rb'"experiment_?[iI]ds?"\s*:\s*\[?\s*"?(\d+)')


@dataclass
class Followed:
    """A list as it was shown: status of the first page, rows in order, and all that was sent."""

    status: int = 0
    rows: list[object] = field(default_factory=list)
    pages: int = 0
    answers: list[Answer] = field(default_factory=list)


def follow(client: Client, search: Search, size: int | None, authorization: tuple[str, str]) -> Followed:
    followed, token = Followed(), None
    while followed.pages < MOST_PAGES:
        answer = client.send(search.request(size, token), authorization)
        followed.answers.append(answer)
        followed.status = followed.status or answer.status
        if answer.status != 200:
            followed.status = answer.status
            break
        body = json.loads(answer.body)
        followed.rows += [search.key(row) for row in body.get(search.rows) or []]
        followed.pages += 1
        token = body.get("next_page_token")
        if not search.paged or not token:
            break
    return followed


class Canaries:
    """Finds what gives away objects that a user may not read."""

    def __init__(self, things: list[dict]):
        self.owner = {mark.encode(): thing["index"] for thing in things for mark in world.marks(thing)}
        self.pattern = re.compile(b"|".join(map(re.escape, sorted(self.owner, key=len, reverse=True))))
        self.experiments = {str(thing["exp"]).encode(): thing["index"] for thing in things}

    def given_away(self, answer: Answer, person: Person, default_permission: str) -> list[str]:
        sent = json.dumps(answer.headers).encode() + b"\n" + answer.body
        # Tokens are base64, and some of them hold ids.
        for text in re.findall(rb"[A-Za-z0-9+/_-]{16,}={0,2}", sent):
            try:
                sent += b"\n" + base64.b64decode(text, altchars=b"-_" if b"_" in text or b"-" in text else None)
            except ValueError:
                continue
        found = [(self.owner[match[0]], match) for match in self.pattern.finditer(sent)]
        found += [(self.experiments[match[1]], match) for match in EXPERIMENT_ID.finditer(sent) if match[1] in self.experiments]
        around = lambda match: sent[max(0, match.start() - 40) : match.end() + 40].decode(errors="replace")
        return [f"{index} in …{around(match)}…" for index, match in found if not person.reads(index, default_permission)]


@dataclass
class Comparison:
    canaries: Canaries
    lists: int = 0
    answers: int = 0
    shown: int = 0
    failures: list[str] = field(default_factory=list)

    def compare(self, place: str, search: Search, size: int | None, person: Person, default: str, ours: Client, theirs: Client) -> None:
        authorization = ("Authorization", basic(person.name, PASSWORD))
        expected = follow(theirs, search, size, authorization)
        found = follow(ours, search, size, authorization)
        if search.for_everybody:
            readable = lambda row: person.reads(self.canaries.experiments[row.encode()], default)
            expected.rows = [row for row in expected.rows if readable(row)]
        self.lists += 1
        self.answers += len(found.answers)
        self.shown += len(found.rows)
        refused = expected.status in (401, 403)
        if refused != (found.status in (401, 403)) or (not refused and found.status != expected.status):
            body = found.answers[-1].body[:200].decode(errors="replace")
            self.failures.append(f"{place}: {found.status} instead of {expected.status}: {body}")
        elif found.rows != expected.rows:
            self.failures.append(f"{place}: {difference(expected.rows, found.rows)}")
        for answer in found.answers:
            if hidden := self.canaries.given_away(answer, person, default):
                self.failures.append(f"{place}: gives away {len(hidden)} times what is hidden, e.g. {hidden[0]}")
                break


def difference(expected: list, found: list) -> str:
    if sorted(map(str, expected)) == sorted(map(str, found)):
        return "the same rows in another order"
    missing = [row for row in expected if row not in found]
    extra = [row for row in found if row not in expected]
    return f"{len(found)} rows instead of {len(expected)}; missing {missing[:5]}, extra {extra[:5]}"


def note(message: str) -> None:
    print(f"crowd: {message}", file=sys.stderr, flush=True)


def run(demo: list[str], work: Path, only: re.Pattern) -> Comparison:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    note(f"making {world.OBJECTS} objects")
    things = world.build(work / "world")
    for side in ("reference", "gate"):
        shutil.copytree(work / "world", work / side)
    comparison = Comparison(Canaries(things))
    wanted = [search for search in searches(things) if only.search(search.name)]
    for default, sizes in PAGE_SIZES.items():
        note(f"default_permission = {default}")
        theirs = reference.Reference(work / "reference", default)
        ours = None
        try:
            ours = gate.Gate(demo, work / "gate", default)
            if comparison.lists == 0:
                for server in (theirs, ours):
                    people.register(server.admin(), things)
            clients = Client(ours.url), Client(theirs.url)
            for person in PEOPLE:
                for search in wanted:
                    for size in sizes if search.paged else (None,):
                        place = f"{search.name}, pages of {size}, as {person.name} (default {default})"
                        comparison.compare(place, search, size, person, default, *clients)
        finally:
            theirs.stop()
            if ours is not None:
                ours.stop()
    return comparison


def main() -> int:
    parser = argparse.ArgumentParser(prog="differential.crowd", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="for databases and logs; emptied first")
    parser.add_argument("--demo", type=shlex.split, required=True, help="the command that starts the gate")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="a pattern for the names of searches")
    arguments = parser.parse_args()
    # So that servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    comparison = run(arguments.demo, arguments.work_dir.resolve(), arguments.only)
    for failure in comparison.failures:
        print(failure)
    print(f"{comparison.lists} lists in {comparison.answers} answers with {comparison.shown} rows; {len(comparison.failures)} failures")
    # A comparison of nothing with nothing would find no difference.
    nothing = comparison.shown == 0
    if counts := os.environ.get("MLGATE_TEST_REPORT"):
        failed = len(comparison.failures) + nothing
        numbers = {"passed": max(0, comparison.lists - failed), "failed": failed, "skipped": 0}
        Path(counts).write_text(json.dumps(numbers))
    return 1 if comparison.failures or nothing else 0


if __name__ == "__main__":
    sys.exit(main())

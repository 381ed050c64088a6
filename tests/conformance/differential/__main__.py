"""python -m differential --work-dir DIR --demo 'COMMAND …'

Fails (exit status 1) if the gate lets anything through that MLflow's `basic-auth` denies, if it is
stricter where stricter.json does not say so, or if the corpus misses a route of the installed MLflow.
Writes its counts to the file that the environment variable MLGATE_TEST_REPORT names.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from . import corpus, gate, reference, world
from .coverage import missing_routes
from .report import Report
from .run import Result, Runner, all_users, tasks

DEFAULTS = ("NO_PERMISSIONS", "READ", "EDIT", "MANAGE")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="differential", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="for databases and logs; emptied first")
    parser.add_argument("--demo", type=shlex.split, help="the command that starts the gate, e.g. 'cargo xtask demo --no-build'; without it only the reference is run, and the corpus checked")
    parser.add_argument("--defaults", nargs="+", default=DEFAULTS, choices=DEFAULTS, help="values of default_permission to compare under")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="a pattern for 'METHOD path [label]'")
    parser.add_argument("--workers", type=int, default=2, help="reference servers, each with a thread")
    parser.add_argument("--report", type=Path, help="write every result here as it comes, a line of JSON each")
    return parser.parse_args()


def note(message: str) -> None:
    print(f"differential: {message}", file=sys.stderr, flush=True)


def run_all(arguments: argparse.Namespace, cases: list, keep: Callable[[list[Result]], None]) -> Report:
    work = arguments.work_dir.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    note("making the objects")
    worlds = world.build(work / "world")
    users = all_users(cases, arguments.defaults)
    note(f"creating {len(users)} users")
    reference_ids = reference.prepare(work / "world", work / "reference", worlds, users)
    copies = reference.copies(work / "reference", arguments.workers)
    gate_ids = gate.prepare(arguments.demo, work / "world", work / "gate", worlds, users) if arguments.demo else {}
    results = []
    for default in arguments.defaults:
        started = time.monotonic()
        todo = list(tasks(cases, default))
        note(f"default_permission = {default}: {len(todo)} requests")
        references = [reference.Reference(data, default) for data in copies]
        side = gate.Gate(arguments.demo, work / "gate", default) if arguments.demo else None
        try:
            runner = Runner(worlds, references, side, default)
            runner.reference_ids, runner.gate_ids = reference_ids, gate_ids
            results += runner.run(todo, keep)
            gate_ids = runner.gate_ids
        finally:
            for server in [*references, *([side] if side else [])]:
                server.stop()
        note(f"  took {time.monotonic() - started:.0f} s")
    return Report(results)


def write(output: TextIO, results: list[Result]) -> None:
    for result in results:
        row = {
            "case": result.case.name, "family": result.case.family, "prefix": result.prefix,
            "user": result.user.describe(), "default": result.default_permission,
            "verdict": result.verdict.value, "reference": result.reference, "gate": result.gate,
            "detail": result.detail,
        }  # fmt: skip
        output.write(json.dumps(row) + "\n")
    output.flush()


def main() -> int:
    arguments = parse_arguments()
    # So that servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    everything = corpus.cases()
    missing = missing_routes(everything)
    for route in missing:
        print(f"the corpus has no case for {route}")
    cases = [case for case in everything if arguments.only.search(case.name)]
    with open(arguments.report or os.devnull, "w") as output:
        report = run_all(arguments, cases, lambda results: write(output, results))
    print(report.table())
    if explanation := report.explain():
        print(explanation)
    failures = len(missing) + report.failures
    if counts := os.environ.get("MLGATE_TEST_REPORT"):
        numbers = {"passed": len(report.results) - report.failures, "failed": failures, "skipped": 0}
        Path(counts).write_text(json.dumps(numbers))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

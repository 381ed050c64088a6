"""Sends every case as every user to both sides and compares."""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from . import users as matrix
from .corpus.case import Case, Request, render
from .gate import Gate
from .http_client import Answer, Client, basic
from .provision import ADMIN_NAME, ADMIN_PASSWORD, renew_somebody
from .recorder import CASE_HEADER, FORWARD_HEADER, Seen
from .reference import Reference
from .users import User
from .visible import Seer

DENIED = {401, 403}
# Answered by the gate itself: that MLflow is not reached says nothing.
ACCOUNT_FAMILIES = {"user-admin", "role-admin"}


class Verdict(Enum):
    SAME = "same"
    STRICTER = "stricter"
    MORE_PERMISSIVE = "more permissive"
    # The reference does not take the request from its own admin: the corpus is wrong.
    BAD_CASE = "bad case"


@dataclass(frozen=True)
class Result:
    case: Case
    prefix: str
    user: User
    default_permission: str
    verdict: Verdict
    reference: int
    gate: int | None
    detail: str = ""

    def line(self) -> str:
        place = f"{self.case.method} {self.prefix}{self.case.path}"
        label = f" [{self.case.label}]" if self.case.label else ""
        gate = "-" if self.gate is None else self.gate
        detail = f": {self.detail}" if self.detail else ""
        return (
            f"{place}{label} as {self.user.describe()} (default {self.default_permission}): "
            f"reference {self.reference}, gate {gate}{detail}"
        )


@dataclass(frozen=True)
class Task:
    case: Case
    prefix: str
    # Whose objects the request is about.
    letter: str
    user: User


def tasks(cases: list[Case], default_permission: str) -> Iterator[Task]:
    full = default_permission == "NO_PERMISSIONS"
    for case in cases:
        if case.spelling:
            users = [matrix.ANONYMOUS, matrix.BOTH_SIDES, matrix.NOBODY] + ([matrix.ADMIN] if full else [])
            yield from (Task(case, "", "a", user) for user in users)
            continue
        users = matrix.for_tiers(case.tiers) if full else matrix.few_for_tiers(case.tiers)
        strangers = [matrix.OWNER, matrix.BOTH_SIDES] if case.tiers else []
        for prefix in case.prefixes():
            yield from (Task(case, prefix, "a", user) for user in users)
            yield from (Task(case, prefix, "b", user) for user in strangers)


def authorization(user: User) -> list[tuple[str, str]]:
    if user.is_anonymous:
        return []
    name, password = (ADMIN_NAME, ADMIN_PASSWORD) if user.is_admin else (user.name, matrix.PASSWORD)
    return [("Authorization", basic(name, password))]


def all_users(cases: list[Case], defaults: Iterable[str]) -> list[User]:
    return matrix.unique([task.user for default in defaults for task in tasks(cases, default)])


class Runner:
    """Works through tasks with one thread per reference server; the gate is shared."""

    def __init__(self, worlds: dict[str, dict], references: list[Reference], gate: Gate | None, default_permission: str):
        self.worlds = worlds
        self.references = references
        self.gate = gate
        self.default_permission = default_permission
        self.seer = Seer(worlds)
        # Per side: ids of what each made for itself.
        self.reference_ids: dict[str, object] = {}
        self.gate_ids: dict[str, object] = {}
        self.gate_accounts = threading.Lock()
        self.results: list[Result] = []
        self.errors: list[BaseException] = []

    def run(self, work: list[Task], keep: Callable[[list[Result]], None]) -> list[Result]:
        # Neighbouring tasks share a case and its restorations: whole cases go to one server.
        groups = iter([list(group) for _, group in itertools.groupby(work, key=lambda task: task.case.name)])
        lock = threading.Lock()

        def serve(reference: Reference) -> None:
            clients = Client(reference.url), Client(self.gate.url) if self.gate else None
            try:
                while not self.errors:
                    with lock:
                        group = next(groups, None)
                    if group is None:
                        return
                    results = [self.compare(task, reference, *clients) for task in group]
                    with lock:
                        self.results += results
                        keep(results)
            except BaseException as error:
                self.errors.append(error)

        threads = [threading.Thread(target=serve, args=(reference,)) for reference in self.references]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        return self.results

    def ids(self, task: Task, own: dict[str, object]) -> dict[str, object]:
        ids = dict(self.worlds[task.letter]) | own
        for letter, world in self.worlds.items():
            ids |= {f"{letter}_{key}": value for key, value in world.items()}
        trace = uuid.uuid4().hex
        return ids | {"unique": uuid.uuid4().hex[:12], "hex32": trace, "user": task.user.name}

    def compare(self, task: Task, reference: Reference, client: Client, gate_client: Client | None) -> Result:
        case, user = task.case, task.user
        ids = self.ids(task, self.reference_ids)
        if case.visible:
            # What the gate's MLflow shows never changes: what this one shows must not either.
            reference.forget_changes()
        expected = client.send(render(case, task.prefix, ids), *authorization(user))
        allowed = expected.status not in DENIED
        if case.restore and allowed:
            reference.restore()
        elif allowed and case.changes:
            reference.changed = True
        verdict, detail, gate = Verdict.SAME, "", None
        if user.is_admin and not self.well_made(case, expected):
            verdict, detail = Verdict.BAD_CASE, expected.body[:200].decode(errors="replace")
        elif gate_client is not None:
            gate, passed = self.through_gate(task, ids, gate_client)
            if case.spelling and isinstance(passed, Seen) and not allowed:
                # Envoy or the gate may have made another spelling of it: what MLflow is then
                # asked must be what the reference allows, and that is what counts.
                expected = client.send(self.as_seen(task, ids, passed), *authorization(user))
                allowed = expected.status not in DENIED
                if allowed and case.changes:
                    reference.restore()
            verdict, detail = self.judge(case, expected, allowed, gate, bool(passed))
        return Result(
            case, task.prefix, user, self.default_permission, verdict, expected.status,
            gate.status if gate else None, detail,
        )  # fmt: skip

    def as_seen(self, task: Task, ids: dict[str, object], seen: Seen) -> Request:
        sent = render(task.case, task.prefix, ids)
        return Request(seen.method, seen.target, sent.headers, seen.body)

    def well_made(self, case: Case, answer: Answer) -> bool:
        return case.spelling or 200 <= answer.status < 300 or answer.status in case.expect

    def through_gate(self, task: Task, ids: dict[str, object], client: Client) -> tuple[Answer, Seen | bool | None]:
        """The gate's answer, and whether or as what it let the request through."""
        case = task.case
        if case.family in ACCOUNT_FAMILIES:
            # The gate keeps what these requests change: one at a time, and with the newest ids.
            with self.gate_accounts:
                request = render(case, task.prefix, ids | self.gate_ids)
                answer = client.send(request, *authorization(task.user))
                passed = answer.status not in DENIED | {400}
                if case.restore and answer.status < 300:
                    self.gate_ids |= renew_somebody(self.gate.admin(), self.worlds)
            return answer, passed
        request = render(case, task.prefix, ids)
        mark = uuid.uuid4().hex
        extra = [(CASE_HEADER, mark)] + ([(FORWARD_HEADER, "1")] if case.visible else [])
        answer = client.send(request, *authorization(task.user), *extra)
        return answer, self.gate.recorder.seen.pop(mark, None)

    def judge(self, case: Case, expected: Answer, allowed: bool, gate: Answer, passed: bool) -> tuple[Verdict, str]:
        if case.visible and passed:
            return self.judge_visible(expected, allowed, gate)
        if passed and not allowed:
            return Verdict.MORE_PERMISSIVE, "reached MLflow"
        if allowed and not passed and not (case.family in ACCOUNT_FAMILIES and gate.status == expected.status):
            if case.visible and not self.seer.see(expected.body):
                return Verdict.SAME, ""
            if case.spelling and expected.status >= 400:
                return Verdict.SAME, ""
            return Verdict.STRICTER, gate.body[:160].decode(errors="replace")
        return Verdict.SAME, ""

    def judge_visible(self, expected: Answer, allowed: bool, gate: Answer) -> tuple[Verdict, str]:
        """Both were answered: what the gate shows must be what the reference shows."""
        theirs = self.seer.see(expected.body) if allowed else set()
        ours = self.seer.see(gate.body) if gate.status < 400 else set()
        if extra := ours - theirs:
            return Verdict.MORE_PERMISSIVE, "shows " + ", ".join(sorted(extra))
        if not allowed and gate.status < 400:
            return Verdict.MORE_PERMISSIVE, "reached MLflow"
        if missing := theirs - ours:
            return Verdict.STRICTER, "does not show " + ", ".join(sorted(missing))
        return Verdict.SAME, ""

"""The table, the written list of stricter cases, and the outcome."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .run import Result, Verdict

STRICTER_FILE = Path(__file__).with_name("stricter.json")
COLUMNS = (Verdict.SAME, Verdict.STRICTER, Verdict.MORE_PERMISSIVE)
SHOWN_PER_CASE = 4


@dataclass
class Entry:
    """One line of the written list."""

    family: re.Pattern
    cases: re.Pattern
    users: re.Pattern
    reason: str
    uses: int = 0

    def covers(self, result: Result) -> bool:
        return bool(
            self.family.fullmatch(result.case.family)
            and self.cases.search(result.case.name)
            and self.users.search(result.user.describe())
        )

    def describe(self) -> str:
        return " / ".join(part.pattern for part in (self.family, self.cases, self.users) if part.pattern)


def read_list() -> list[Entry]:
    """Each entry: patterns for `family` (whole), `cases` and `users`; and the `reason`."""
    return [
        Entry(
            re.compile(entry.get("family", ".*")),
            re.compile(entry.get("cases", "")),
            re.compile(entry.get("users", "")),
            entry["reason"],
        )
        for entry in json.loads(STRICTER_FILE.read_text())
    ]


@dataclass
class Report:
    results: list[Result]
    entries: list[Entry] = field(default_factory=read_list)
    unlisted: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        for result in self.of(Verdict.STRICTER):
            entry = next((entry for entry in self.entries if entry.covers(result)), None)
            if entry is None:
                self.unlisted.append(result)
            else:
                entry.uses += 1

    def of(self, verdict: Verdict) -> list[Result]:
        return [result for result in self.results if result.verdict is verdict]

    def table(self) -> str:
        counts: dict[str, Counter] = defaultdict(Counter)
        for result in self.results:
            counts[result.case.family][result.verdict] += 1
        width = max(map(len, counts), default=0)
        head = "  ".join(f"{column.value:>15}" for column in COLUMNS)
        lines = [f"{'route family':<{width}}  {head}"]
        for family, count in sorted(counts.items()):
            lines.append(f"{family:<{width}}  " + "  ".join(f"{count[column]:>15}" for column in COLUMNS))
        total = Counter(result.verdict for result in self.results)
        lines.append(f"{'all':<{width}}  " + "  ".join(f"{total[column]:>15}" for column in COLUMNS))
        return "\n".join(lines)

    def explain(self) -> str:
        parts = []
        for title, results in (
            ("MORE PERMISSIVE than MLflow", self.of(Verdict.MORE_PERMISSIVE)),
            ("stricter, and not on the list in stricter.json", self.unlisted),
            ("requests that MLflow does not take from its own admin", self.of(Verdict.BAD_CASE)),
        ):
            if results:
                parts.append(f"{title}: {len(results)}")
                parts += [f"  {line}" for line in sample(results)]
        unused = [entry for entry in self.entries if not entry.uses]
        parts += [f"no case needs this entry of stricter.json: {entry.describe()}" for entry in unused]
        return "\n".join(parts)

    @property
    def failures(self) -> int:
        return len(self.of(Verdict.MORE_PERMISSIVE)) + len(self.unlisted) + len(self.of(Verdict.BAD_CASE))


def sample(results: list[Result]) -> list[str]:
    """A few lines of each case, and how many more there are."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.case.name].append(result)
    lines = []
    for group in groups.values():
        lines += [result.line() for result in group[:SHOWN_PER_CASE]]
        if len(group) > SHOWN_PER_CASE:
            lines.append(f"    … and {len(group) - SHOWN_PER_CASE} more of {group[0].case.name}")
    return lines

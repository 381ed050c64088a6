"""Which objects of the worlds an answer shows."""

import re

# Kinds of ids that are long enough to be found anywhere in a text without meaning something else.
UNMISTAKABLE = 8
EXPERIMENT_ID = re.compile(rb'"experiment_?[iI]ds?"\s*:\s*\[?\s*"(\d+)"')
# Two worlds share these.
SHARED = {"webhook", "budget"}


class Seer:
    def __init__(self, worlds: dict[str, dict[str, object]]):
        self.experiments = {str(ids["exp"]).encode(): f"exp-{letter}" for letter, ids in worlds.items()}
        self.marks = {
            str(value).encode(): f"{kind} of {letter}"
            for letter, ids in worlds.items()
            for kind, value in ids.items()
            if kind not in SHARED and len(str(value)) >= UNMISTAKABLE
        }

    def see(self, body: bytes) -> set[str]:
        """Names of the objects that `body` mentions."""
        found = {name for mark, name in self.marks.items() if mark in body}
        for match in EXPERIMENT_ID.finditer(body):
            if match[1] in self.experiments:
                found.add(self.experiments[match[1]])
        return found

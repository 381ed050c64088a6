"""Where a run finds the gate stricter than MLflow, the filter's page says so."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENTRIES = json.loads((ROOT / "tests/conformance/differential/stricter.json").read_text())
HEADING = "## Where the gate is stricter than MLflow"


def section():
    page = (ROOT / "filter/README.md").read_text()
    assert page.count(HEADING) == 1
    return page.split(HEADING)[1].split("\n## ")[0]


def test_every_entry_of_the_list_names_what_the_page_says_of_it():
    said = section()
    lost = [entry for entry in ENTRIES if entry["readme"] not in said]
    assert len(ENTRIES) > 20
    assert lost == []


def test_no_two_entries_name_the_same_words():
    named = [entry["readme"] for entry in ENTRIES]
    assert len(set(named)) == len(named)

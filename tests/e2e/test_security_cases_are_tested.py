"""The list of security cases names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests/conformance/security-cases.md"


def test_every_test_that_the_list_names_is_there():
    quoted = re.findall(r"`([a-z0-9_]+)`", LIST.read_text())
    named = {name for name in quoted if name.count("_") >= 3}
    sources = [*ROOT.glob("tests/e2e/test_*.py"), *ROOT.glob("filter/tests/*.rs")]
    sources += [*ROOT.glob("filter/src/**/*.rs"), *ROOT.glob("policy-server/src/**/*.rs")]
    defined = set()
    for source in sources:
        defined.update(re.findall(r"(?:def|fn) (\w+)\(", source.read_text()))
    assert len(named) > 50
    assert named <= defined, named - defined

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
    sources += ROOT.glob("policy-server/tests/**/*.rs")
    defined = set()
    for source in sources:
        defined.update(re.findall(r"(?:def|fn) (\w+)\(", source.read_text()))
    assert len(named) > 50
    assert named <= defined, named - defined


def test_every_parser_differential_has_a_test():
    """PD-01 to PD-25, as the research into MLflow has numbered them."""
    rows = [line for line in LIST.read_text().splitlines() if line.startswith("| PD-")]
    numbered = {number for row in rows for number in re.findall(r"PD-(\d\d)", row.split("|")[1])}
    assert numbered == {f"{n:02}" for n in range(1, 26)}
    assert all(re.search(r"`[a-z0-9_]{12,}`", row) for row in rows)


def test_the_gate_shares_its_vm_id_with_no_other_module():
    """Modules under one vm_id share the memory in which the gate keeps its decisions."""
    files = [file for end in ("yaml", "json") for file in (ROOT / "envoy").rglob(f"*.{end}")]
    ids = {file: re.findall(r'"?vm_id"?:\s*"?([\w-]+)', file.read_text()) for file in files}
    shipped = {file: found for file, found in ids.items() if found}
    assert len(shipped) >= 4
    for file, found in shipped.items():
        assert found == ["mlgate"], file


# What makes Envoy send a request again, or elsewhere too, past the decision on it.
AGAIN = re.compile(
    r"^[^#\n]*\b(internal_?redirect\w*|request_?mirror\w*|mirror\w*|shadow_cluster|retry_?policy\b|"
    r"retries:(?! *\d)|num_?retries|retry_?on\b).*",
    re.IGNORECASE | re.MULTILINE,
)


def test_no_shipped_configuration_sends_a_request_to_mlflow_twice_or_around_the_gate():
    kinds = {".yaml", ".json", ".tpl", ".bicep", ".cfg"}
    files = [file for file in (ROOT / "envoy").rglob("*") if file.suffix in kinds]
    assert sum("mlgate_filter" in file.read_text() for file in files) >= 4
    again = {
        f"{file.name}: {line[0].strip()}"
        for file in files
        for line in AGAIN.finditer(file.read_text())
        # Another service of the example, which the gate has nothing to do with.
        if "cluster: billing" not in line[0]
    }
    assert again == set()
    # Only the gateway that has other services too switches the filter off, and on for MLflow.
    off = [file for file in files if re.search(r"- name: mlgate\n\s+disabled: true", file.read_text())]
    assert [file.relative_to(ROOT / "envoy").as_posix() for file in off] == ["existing/after.yaml"]
    assert len(re.findall("FilterConfig\n", off[0].read_text())) == 1

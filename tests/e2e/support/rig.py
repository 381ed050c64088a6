"""The gate at the size at which it is run, without MLflow: one Postgres, two policy servers, two
Envoys of two workers each, and, unless it is for measuring, networks between them that can be cut.

Envoy's configuration is the shipped one. In MLflow's place stands an upstream that counts whose
requests reach it; the policy servers read a small tracking database.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import requests
import yaml

from .canaries import CANARIES, PASSWORD
from .envoy import MODULE, SHIPPED, manager, running, stats
from .gate import PARTS, ROOT, accepts, basic, free_port, package, wait_until
from .lanes import Lanes
from .private_postgres import Postgres
from .tokens import IdentityProvider
from .wires import PostgresWire, Wire

MLGATE, WASM = PARTS["policy-server"], PARTS["filter"]
ENVOY = package("envoy") / "_bin" / "envoy"

WORKERS = 2
# Shorter than as shipped, for the sake of the tests' time.
MAX_STALENESS = 3.0
# What the machine may add: requests that were on their way, a process that was not scheduled.
NOISE = 1.0
ADMIN = ("admin", "administrator of the rig")
CANARIES.watch_for("the password of the rig's administrator", ADMIN[1])
EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id={}"
# Below other users' ids, who are granted theirs one by one.
FIRST_EXPERIMENT = 1000


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("MLGATE_")}


def request_text(path, authorization, method="GET", body="", address="10.0.0.1"):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {authorization}"]
    # Envoy is told to believe it: failures are counted by address.
    lines.append(f"X-Forwarded-For: {address}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


class PolicyServer:
    def __init__(self, number, directory, store, tracking, wired):
        self.port = free_port()
        self.file = directory / f"policy-server-{number}.toml"
        self.log = open(directory / f"policy-server-{number}.log", "ab")
        self.store = PostgresWire(store.port) if wired else None
        port = self.store.port if wired else store.port
        url = f"postgresql://mlgate@127.0.0.1:{port}/mlgate?sslmode=disable"
        self.file.write_text(
            f'listen = "127.0.0.1:{self.port}"\nstore = "{url}"\n'
            f'tracking_uri = "sqlite:///{tracking}"\nmax_failures = 1000\n'
        )
        self.start()

    def start(self):
        environment = clean_environment()
        environment["MLGATE_ADMIN_USERNAME"], environment["MLGATE_ADMIN_PASSWORD"] = ADMIN
        self.process = subprocess.Popen(
            [str(MLGATE), "--config", str(self.file), "serve"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment,
        )  # fmt: skip
        wait_until(lambda: self.process.poll() is not None or accepts(self.port), "it listens", 60)
        assert self.process.poll() is None, self.file.with_suffix(".log").read_text()

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=20)

    @contextlib.contextmanager
    def stopped(self):
        """It exists, and does nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.kill()
        if self.store:
            self.store.close()
        self.log.close()


class Envoy:
    """One Envoy of the rig, with a wire of its own to each policy server."""

    def __init__(self, rig, number, module=WASM, hot=False):
        self.directory = rig.directory
        self.port, self.admin_port = free_port(), free_port()
        self.wires = [Wire(server.port) for server in rig.servers] if rig.wired else []
        self.name = f"envoy-{number}"
        self.settings = rig.settings
        self.configuration = self._configuration(rig, module)
        self.delivered = None
        if hot:
            self._discover()
        self.file = rig.directory / f"{self.name}.yaml"
        self.file.write_text(yaml.safe_dump(self.configuration))
        self.running = running(rig, self.file, self.port, WORKERS)
        self.process = psutil.Process(self.running.__enter__().pid)

    def _configuration(self, rig, module):
        configuration = yaml.safe_load((SHIPPED / "plain" / "envoy.yaml").read_text())
        configuration["admin"]["address"]["socket_address"]["port_value"] = self.admin_port
        listener = configuration["static_resources"]["listeners"][0]
        listener["address"]["socket_address"].update(address="127.0.0.1", port_value=self.port)
        listener["filter_chains"][0].pop("transport_socket")
        # So that connections, opened one after the other, reach every worker.
        listener["connection_balance_config"] = {"exact_balance": {}}
        manager(configuration).pop("access_log")
        manager(configuration)["xff_num_trusted_hops"] = 1
        manager(configuration)["route_config"]["virtual_hosts"][0]["domains"] = ["*"]
        plugin = manager(configuration)["http_filters"][0]["typed_config"]["config"]
        code = plugin["vm_config"]["code"]["local"]
        assert code["filename"] == MODULE
        code["filename"] = str(module)
        plugin["configuration"]["value"] = json.dumps(self.settings)
        mlflow, policy = configuration["static_resources"]["clusters"]
        mlflow["load_assignment"]["endpoints"][0]["lb_endpoints"] = [endpoint(rig.upstream_port)]
        endpoints = [endpoint(peer.port) for peer in self.wires or rig.servers]
        policy["load_assignment"]["endpoints"][0]["lb_endpoints"] = endpoints
        return configuration

    def _discover(self):
        """The filter comes by extension configuration discovery, as envoy/hot has it."""
        filters = manager(self.configuration)["http_filters"]
        self.plugin = filters[0]["typed_config"]
        self.delivered = self.directory / f"{self.name}-mlgate.yaml"
        shipped = (SHIPPED / "hot" / "filter.yaml").read_text()
        filters[0] = yaml.safe_load(shipped.replace("/etc/envoy/mlgate.yaml", str(self.delivered)))
        # The directory that is watched for the file being moved there.
        source = filters[0]["config_discovery"]["config_source"]["path_config_source"]
        source["watched_directory"] = {"path": str(self.directory)}
        self.versions = 0
        self.deliver()

    def deliver(self, **settings):
        """Another version of the filter's configuration."""
        self.versions += 1
        self.plugin["config"]["configuration"]["value"] = json.dumps({**self.settings, **settings})
        resource = yaml.safe_load((SHIPPED / "hot" / "mlgate.yaml").read_text())
        resource["version_info"] = str(self.versions)
        resource["resources"][0]["typed_config"] = self.plugin
        new = self.delivered.with_suffix(".new")
        new.write_text(yaml.safe_dump(resource))
        os.replace(new, self.delivered)

    def stats(self, text="wasmcustom.mlgate"):
        return stats(self.admin_port, text)

    def counted(self, name):
        """One of the filter's own counters or gauges."""
        return self.stats(f"mlgate_{name}$").get(f"wasmcustom.mlgate_{name}", 0)

    def connections_by_worker(self):
        found = self.stats("worker_[0-9]+.downstream_cx_total")
        found = {key: n for key, n in found.items() if key.startswith("listener.127")}
        return [found[key] for key in sorted(found)]

    def resident(self):
        return self.process.memory_info().rss

    @contextlib.contextmanager
    def policy(self, state):
        """The networks to all policy servers in a state."""
        with contextlib.ExitStack() as stack:
            for wire in self.wires:
                stack.enter_context(wire.being(state))
            yield

    def close(self):
        self.running.__exit__(None, None, None)
        for wire in self.wires:
            wire.close()


class Rig:
    def __init__(self, directory, wired=True):
        self.directory, self.wired = directory, wired
        self.ready = {"envoy": str(ENVOY)}
        self.identity_provider = IdentityProvider()
        jwt = {**self.identity_provider.plugin_config()["jwt"], "checks_per_second": 100}
        self.settings = {
            "policy": {"cluster": "mlgate_policy"},
            "cache": {"max_staleness_ms": int(MAX_STALENESS * 1000)},
            "jwt": jwt,
        }
        self.experiments = itertools.count(FIRST_EXPERIMENT)
        with contextlib.ExitStack() as stack:
            self.postgres = closing(stack, Postgres())
            self.postgres.query("create database mlgate")
            tracking = directory / "tracking.db"
            make = [sys.executable, str(ROOT / "tests" / "bench" / "tracking.py")]
            subprocess.run([*make, str(tracking), "100"], check=True)
            self.upstream_port = free_port()
            counting = Path(__file__).with_name("counting_upstream.py")
            upstream = subprocess.Popen([sys.executable, str(counting), str(self.upstream_port)])
            stack.callback(upstream.wait)
            stack.callback(upstream.kill)
            self.servers = []
            for number in range(2):
                server = PolicyServer(number, directory, self.postgres, tracking, wired)
                self.servers.append(closing(stack, server))
            self.envoys = [closing(stack, Envoy(self, number)) for number in range(2)]
            self.lanes = closing(stack, Lanes())
            for envoy in self.envoys:
                self.wait_for_stream(envoy)
            self.close = stack.pop_all().close

    def another_envoy(self, name, **options):
        """Further Envoys, to be closed by whoever wants them."""
        envoy = Envoy(self, name, **options)
        self.wait_for_stream(envoy)
        return contextlib.closing(envoy)

    @staticmethod
    def wait_for_stream(envoy, seconds=30):
        """Changes are heard of, and no older than a heartbeat.

        Younger than what was heard before a cut of 1.5 s, whose age the gauge may still show from a
        tick ago.
        """

        def hears():
            age = envoy.counted("watch_heard_age_ms")
            return envoy.counted("watch_opened_total") > 0 and 0 < age < 1200

        wait_until(hears, f"{envoy.name} hears of changes", seconds)

    def cli(self, *arguments, **options):
        """The command line, on the store itself; returns what it prints."""
        url = f"postgresql://mlgate@127.0.0.1:{self.postgres.port}/mlgate?sslmode=disable"
        command = [str(MLGATE), "--store", url, "--json", *map(str, arguments)]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=clean_environment(), **options
        )
        assert result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
        return json.loads(result.stdout) if result.stdout else None

    def committed(self, revision):
        """When the change was committed, by Postgres' own record; s since the epoch."""
        question = "select extract(epoch from pg_xact_commit_timestamp(xmin)) from changes"
        rows = self.postgres.query(f"{question} where revision = %s", revision, database="mlgate")
        return float(rows[0][0])

    def create_user(self, name, **grants):
        """The `Authorization` of a new user; grants are levels by type, on every object of it."""
        password = PASSWORD.format(name)
        self.cli("user", "create", name, "--password-stdin", input=password + "\n")
        for resource, level in grants.items():
            self.cli("grant", name, resource, "*", level)
        return basic(name, password)

    def reader(self, name):
        """A user who may read an experiment of their own, and a request for it."""
        authorization = self.create_user(name)
        experiment = next(self.experiments)
        self.cli("grant", name, "experiment", experiment, "READ")
        return experiment, request_text(EXPERIMENT.format(experiment), authorization)

    def seen(self):
        """How many requests of each user reached the upstream."""
        return self.get(self.upstream_port, "/seen").json()

    @staticmethod
    def request(method, port, path, authorization=None, **options):
        headers = {"Authorization": authorization} if authorization else {}
        url = f"http://127.0.0.1:{port}{path}"
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, url, headers=headers, timeout=20, **options)

    def get(self, port, path, authorization=None):
        return self.request("GET", port, path, authorization)

    def post(self, port, path, authorization, body):
        return self.request("POST", port, path, authorization, json=body)

    def open_lanes(self, prefix, text, period, envoys=None):
        """One lane to each worker of each Envoy; their names, each telling where it ends."""
        names = []
        for envoy in envoys or self.envoys:
            missing = set(range(WORKERS))
            while missing:
                name = f"{prefix}/{envoy.name}/{len(names)}"
                before = envoy.connections_by_worker()
                self.lanes.do("open", lane=name, port=envoy.port, text=text, period=period)
                wait_until(lambda: envoy.connections_by_worker() != before, "it is accepted")
                after = envoy.connections_by_worker()
                worker = [old != new for old, new in zip(before, after)].index(True)
                if worker in missing:
                    missing.remove(worker)
                    names.append(name)
                else:
                    self.lanes.do("close", lanes=[name])
        return names

    def healthy(self):
        """As a test should find it: everything runs, and every Envoy hears of changes."""
        for server in self.servers:
            if server.process.poll() is not None:
                server.start()
        for envoy in self.envoys:
            wait_until(
                lambda: self.get(envoy.port, EXPERIMENT.format(1), basic(*ADMIN)).ok, "it decides"
            )
            self.wait_for_stream(envoy)


def endpoint(port):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"endpoint": {"address": address}}


def closing(stack, thing):
    stack.callback(thing.close)
    return thing


def allowed(records):
    return [record for record in records if record[2] == 200]


def last_allowed(records, default=0.0):
    """When the last allowed answer was there."""
    return max((answered for _, answered, _ in allowed(records)), default=default)


def statuses_between(records, start, end=float("inf")):
    return {status for sent, _, status in records if start <= sent < end}


def wait_for_statuses(rig, lanes, wanted, seconds=20):
    """Until the newest answer on each lane is as wanted; returns all there were meanwhile."""
    records = {lane: [] for lane in lanes}
    deadline = time.monotonic() + seconds
    while True:
        for lane, new in rig.lanes.take(*lanes).items():
            records[lane] += new
        newest = {lane: r[-1][2] if r else None for lane, r in records.items()}
        if all(status in wanted for status in newest.values()):
            return records
        assert time.monotonic() < deadline, f"not within {seconds} s {wanted}: {newest}"
        time.sleep(0.04)

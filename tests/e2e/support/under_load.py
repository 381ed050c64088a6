"""Users whose requests go on while something fails, and what must be true of their answers."""

import contextlib
import time

from .gate import wait_until
from .rig import EXPERIMENT, last_allowed, request_text, statuses_between

# Between two requests of a user at each worker.
PERIOD = 0.03
# Without help, after the cause is gone.
RECOVERY = 12


class UnderLoad:
    """At every worker, without pause: `reader`, whose decisions are cached; `seeker`, who may read
    everything and asks for another experiment each time; `revoked`, who is to lose their grant;
    `stranger` and `prowler`, who have no grants and ask like the first two.
    """

    def __init__(self, rig, prefix, envoys=None):
        self.rig = rig
        self.envoys = envoys or rig.envoys
        names = ("reader", "revoked", "seeker", "stranger", "prowler")
        self.users = {role: f"{prefix}-{role}" for role in names}
        reader, reads = rig.reader(self.users["reader"])
        self.experiment, loses = rig.reader(self.users["revoked"])
        anything = EXPERIMENT.format("{n}")
        seeks = request_text(anything, rig.create_user(self.users["seeker"], experiment="READ"))
        strange = rig.create_user(self.users["stranger"])
        prowls = request_text(anything, rig.create_user(self.users["prowler"]))
        texts = {
            "reader": reads,
            "revoked": loses,
            "seeker": seeks,
            "stranger": request_text(EXPERIMENT.format(reader), strange),
            "prowler": prowls,
        }
        self.lanes = {
            role: rig.open_lanes(self.users[role], text, PERIOD, self.envoys)
            for role, text in texts.items()
        }
        self.records = {lane: [] for lanes in self.lanes.values() for lane in lanes}
        self.revoked_at = None

    def take(self):
        for lane, records in self.rig.lanes.take(*self.records).items():
            self.records[lane] += records

    def wait(self, what, seconds=RECOVERY, **wanted):
        """Until the answers of the roles, to what they ask from now on, are these statuses."""
        start = time.time()

        def is_as_wanted(lane, statuses):
            newest = self.records[lane][-1] if self.records[lane] else (0, 0, None)
            return newest[0] >= start and newest[2] in statuses

        def are():
            self.take()
            return all(
                is_as_wanted(lane, statuses)
                for role, statuses in wanted.items()
                for lane in self.lanes[role]
            )

        wait_until(are, what, seconds)

    def revoke(self):
        """Takes the grant away, whatever else happens; returns when that was committed."""
        user = self.users["revoked"]
        revision = self.rig.cli("revoke", user, "experiment", self.experiment)["revision"]
        self.revoked_at = self.rig.committed(revision)
        return self.revoked_at

    def restore(self):
        """Gives the grant back."""
        self.rig.cli("grant", self.users["revoked"], "experiment", self.experiment, "READ")
        self.wait("it is granted again", revoked={200})

    def statuses(self, role, start=0.0, end=float("inf"), envoy=None):
        self.take()
        found = set()
        for lane in self.lanes_at(role, envoy):
            found |= statuses_between(self.records[lane], start, end)
        return found

    def lanes_at(self, role, envoy=None):
        return [x for x in self.lanes[role] if envoy is None or f"/{envoy.name}/" in x]

    def last_allowed(self, role, envoy=None):
        self.take()
        return max(last_allowed(self.records[lane]) for lane in self.lanes_at(role, envoy))

    def recovered(self, hanging=False):
        """Waits until all is as it should be, and checks that nothing ever was as it should not.

        `hanging`: some requests may have got no answer at all.
        """
        unanswered = {0} if hanging else set()
        wanted = {"reader": {200}, "seeker": {200}, "stranger": {403}, "prowler": {403}}
        if self.revoked_at:
            wanted["revoked"] = {403}
        self.wait("all is well again", **wanted)
        before = time.time()
        time.sleep(0.5)
        for role, statuses in wanted.items():
            assert self.statuses(role, before) == statuses, f"{role} once all was well"
        seen = self.rig.seen()
        for role in ("stranger", "prowler"):
            assert self.statuses(role) <= {403, 503} | unanswered, role
            assert self.users[role] not in seen, f"requests of {role} reached the upstream"
        for role in ("reader", "seeker"):
            assert self.statuses(role) <= {200, 503} | unanswered, role
            assert seen[self.users[role]] > 0, role
        assert self.statuses("revoked") <= {200, 403, 503} | unanswered


@contextlib.contextmanager
def under_load(rig, prefix, envoys=None):
    load = UnderLoad(rig, prefix, envoys)
    try:
        load.wait("the load is there", reader={200}, revoked={200}, seeker={200}, prowler={403})
        load.wait("the load is there", stranger={403})
        yield load
    finally:
        rig.lanes.do("close", lanes=list(load.records))

"""Who acts in the security tests, and what they act on."""

from dataclasses import dataclass

from .gate import basic


@dataclass
class Scene:
    """`eve` is a valid user without any grant; `mallory` owns `own`; `alice` owns the victim."""

    gate: object
    alice: tuple
    eve: tuple
    mallory: tuple
    experiment: str
    run: str
    own: str
    own_run: str
    model: str

    def fill(self, text):
        """Replaces `{victim}`, `{run}`, `{own}`, `{own_run}` and `{model}`."""
        for name, value in {
            "victim": self.experiment,
            "run": self.run,
            "own": self.own,
            "own_run": self.own_run,
            "model": self.model,
        }.items():
            text = text.replace("{" + name + "}", value)
        return text

    def authorization(self, who):
        return basic(*getattr(self, who))


def make(gate, prefix):
    """Creates the users and the objects, each through the gate."""
    alice, eve, mallory = (gate.create_user(f"{prefix}-{n}") for n in ("alice", "eve", "mallory"))
    experiment = gate.create_experiment(f"{prefix}-victim", alice)
    own = gate.create_experiment(f"{prefix}-own", mallory)
    model = f"{prefix}-model"
    gate.post("/api/2.0/mlflow/registered-models/create", alice, json={"name": model})
    run = gate.create_run(experiment, alice)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/a.txt"
    assert gate.request("PUT", path, alice, data=b"secret").status_code == 200
    return Scene(
        gate, alice, eve, mallory, experiment, run, own, gate.create_run(own, mallory), model
    )

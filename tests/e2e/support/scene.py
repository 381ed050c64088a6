"""Who acts in the security tests, and what they act on."""

import uuid
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
    own_model: str
    logged_model: str
    trace: str

    def fill(self, text):
        """Replaces `{victim}`, `{run}`, `{own}`, `{own_run}`, `{model}`, `{own_model}`,
        `{logged_model}` and `{trace}`, and some of them
        in capitals, which is another spelling."""
        for name, value in {
            "victim": self.experiment,
            "run": self.run,
            "own": self.own,
            "own_run": self.own_run,
            "RUN": self.run.upper(),
            "model": self.model,
            "MODEL": self.model.upper(),
            "own_model": self.own_model,
            # As OTLP writes it.
            "TRACE": self.trace.removeprefix("tr-"),
            "logged_model": self.logged_model,
            "trace": self.trace,
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
    make = lambda path, **body: _make(gate, alice, path, body)
    make("2.0/mlflow/registered-models/create", name=model)
    _make(gate, mallory, "2.0/mlflow/registered-models/create", {"name": f"{prefix}-own-model"})
    logged = make("2.0/mlflow/logged-models", experiment_id=experiment, name="logged")
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": f"tr-{uuid.uuid4().hex}", "trace_location": location, "state": "OK"}
    info["request_time"] = "2026-01-02T03:04:05Z"
    make("3.0/mlflow/traces", trace={"trace_info": info})
    run = gate.create_run(experiment, alice)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/a.txt"
    assert gate.request("PUT", path, alice, data=b"secret").status_code == 200
    return Scene(
        gate,
        alice,
        eve,
        mallory,
        experiment,
        run,
        own,
        own_run=gate.create_run(own, mallory),
        model=model,
        own_model=f"{prefix}-own-model",
        logged_model=logged["model"]["info"]["model_id"],
        trace=info["trace_id"],
    )


def _make(gate, who, path, body):
    answer = gate.post(f"/api/{path}", who, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()

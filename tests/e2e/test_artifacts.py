"""Artifacts stream through, whatever their size, and only for those who may."""

import hashlib
import os

PATH = "/api/2.0/mlflow-artifacts/artifacts/{}/{}/artifacts/{}"


def test_a_large_artifact_passes_unchanged_both_ways(gate, unique):
    owner = gate.create_user("artifact-owner")
    experiment = gate.create_experiment(unique, owner)
    run = gate.create_run(experiment, owner)
    path = PATH.format(experiment, run, "large.bin")
    data = os.urandom(48 << 20)
    assert gate.request("PUT", path, owner, data=data).status_code == 200
    answer = gate.get(path, owner)
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(data).digest()


def test_a_refused_upload_does_not_reach_mlflow(gate, unique):
    owner = gate.create_user("artifact-owner")
    stranger = gate.create_user("artifact-stranger")
    experiment = gate.create_experiment(unique, owner)
    run = gate.create_run(experiment, owner)
    path = PATH.format(experiment, run, "stolen.bin")
    with gate.recorder.silence():
        answer = gate.request("PUT", path, stranger, data=os.urandom(1 << 20))
        assert answer.status_code == 403, answer.text
        assert gate.get(path, stranger).status_code == 403
        assert gate.request("DELETE", path, stranger).status_code == 403


def test_deleting_an_artifact_needs_manage(gate, unique):
    owner = gate.create_user("artifact-owner")
    editor = gate.create_user("artifact-editor")
    experiment = gate.create_experiment(unique, owner)
    gate.grant(editor[0], "EDIT", "experiment", experiment)
    path = PATH.format(experiment, gate.create_run(experiment, owner), "a.txt")
    assert gate.request("PUT", path, editor, data=b"x").status_code == 200
    with gate.recorder.silence():
        assert gate.request("DELETE", path, editor).status_code == 403
    assert gate.request("DELETE", path, owner).status_code == 200

"""The shipped configuration, and how Envoy takes good and bad ones."""

import json

import pytest
import requests
from support.envoy import MODULE, SHIPPED, another_envoy, manager, validate



def wasm(configuration):
    return manager(configuration)["http_filters"][0]["typed_config"]["config"]


@pytest.mark.parametrize("name", ["plain/envoy.yaml", "existing/before.yaml", "existing/after.yaml"])
def test_envoy_accepts_the_shipped_configurations_as_they_are(gate, tmp_path, name):
    paths = {MODULE: gate.ready["wasm"], "/etc/envoy/tls.yaml": SHIPPED / "plain" / "tls.yaml"}
    text = (SHIPPED / name).read_text()
    for shipped, here in paths.items():
        text = text.replace(shipped, str(here))
    file = tmp_path / "envoy.yaml"
    file.write_text(text)
    status, messages = validate(gate, file)
    assert status == 0, messages


@pytest.mark.parametrize(
    "settings, named",
    [
        ({}, "policy"),
        ({"policy": {"cluster": "mlgate_policy"}, "surprise": 1}, "surprise"),
        ({"policy": {"cluster": ""}}, "policy.cluster"),
        ({"policy": {"cluster": "mlgate_policy", "timeout_ms": 0}}, "policy.timeout_ms"),
        ({"policy": {"cluster": "mlgate_policy"}, "mode": "open"}, "open"),
        ({"policy": {"cluster": "mlgate_policy"}, "jwt": {"issuers": []}}, "jwt.issuers"),
        ({"policy": {"cluster": "mlgate_policy"}, "body_limit_bytes": 1}, "body_limit_bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_plugin_configuration_is_refused_by_the_fields_name(gate, tmp_path, settings, named):
    configuration = json.loads(open(gate.ready["envoy_config"]).read())
    wasm(configuration)["configuration"]["value"] = json.dumps(settings)
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(configuration))
    status, messages = validate(gate, file)
    assert status != 0
    assert named in messages, messages


def test_failures_of_the_module_never_open_the_gate():
    """No shipped file may say so."""
    for file in SHIPPED.rglob("*.yaml"):
        assert "failure_policy: FAIL_OPEN" not in file.read_text(), file
        assert "fail_open: true" not in file.read_text(), file


def body_of_a_stranger(gate, port, unique):
    owner, stranger = gate.create_user("flag-owner"), gate.create_user("flag-stranger")
    run = gate.create_run(gate.create_experiment(unique, owner), owner)
    answers = []
    for who in (stranger, owner):
        with gate.recorder.listening() as heard, requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/set-tag",
                auth=who,
                json={"key": "k", "value": "v" * 3000, "run_id": run},
                timeout=20,
            )
        answers.append((answer.status_code, b"set-tag" in heard[0]))
    return answers


def test_without_the_flag_a_request_that_needs_its_body_is_refused_and_never_passes(
    gate, tmp_path, unique
):
    def change(configuration):
        wasm(configuration).pop("allow_on_headers_stop_iteration")
        wasm(configuration)["vm_config"]["vm_id"] = "without-flag"

    with another_envoy(gate, change, tmp_path) as port:
        for status, reached in body_of_a_stranger(gate, port, unique):
            assert status in (403, 500, 503) and not reached


def test_the_buffer_filter_holds_bodies_back_where_the_flag_does_not_exist(gate, tmp_path, unique):
    buffer = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 16777216,
        },
    }

    def change(configuration):
        plugin = wasm(configuration)
        plugin.pop("allow_on_headers_stop_iteration")
        plugin["vm_config"]["vm_id"] = "with-buffer"
        settings = json.loads(plugin["configuration"]["value"])
        plugin["configuration"]["value"] = json.dumps({**settings, "body_mode": "buffer_filter"})
        manager(configuration)["http_filters"].insert(1, buffer)

    with another_envoy(gate, change, tmp_path) as port:
        assert body_of_a_stranger(gate, port, unique) == [(403, False), (200, True)]

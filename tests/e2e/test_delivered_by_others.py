"""The gate as Istio, Envoy Gateway and Azure Container Apps would configure it, on a real Envoy."""

import json
import threading

import pytest
import requests
import yaml
from support.envoy import (
    SHIPPED,
    addresses,
    another_envoy,
    localised,
    manager,
    running,
    validate,
)
from support.gate import basic, free_port, wait_until
from support.raw import http1
from support.tokens import IdentityProvider

V8 = "envoy.wasm.runtime.v8"
MEBIBYTE = 1 << 20


def of_kind(file, kind):
    objects = yaml.safe_load_all((SHIPPED / file).read_text())
    return next(found["spec"] for found in objects if found["kind"] == kind)


def clusters(configuration):
    return configuration["static_resources"]["clusters"]


def as_istio(gate, file):
    """Turns the shipped objects into the filters that Istio makes of them: the plugin without a
    vm_id, then what the EnvoyFilter inserts before the router."""
    plugin = of_kind(file, "WasmPlugin")
    patches = of_kind(file, "EnvoyFilter")["configPatches"]
    (inserted,) = (p["patch"]["value"] for p in patches if p["applyTo"] == "HTTP_FILTER")
    settings = json.dumps(plugin["pluginConfig"])

    def change(configuration):
        clusters(configuration)[1]["name"] = plugin["pluginConfig"]["policy"]["cluster"]
        filters = manager(configuration)["http_filters"]
        filters[0]["typed_config"]["config"] = {
            "name": "mlflow.mlgate",
            "root_id": plugin["pluginName"],
            "vm_config": {"runtime": V8, "code": {"local": {"filename": gate.ready["wasm"]}}},
            "failure_policy": plugin["failStrategy"],
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": settings,
            },
        }
        filters.insert(1, inserted)

    return change


@pytest.fixture(scope="module", params=["istio/mlflow.yaml", "istio/ambient.yaml"])
def istio(request, gate, tmp_path_factory):
    directory = tmp_path_factory.mktemp("istio")
    with another_envoy(gate, as_istio(gate, request.param), directory) as port:
        yield port


def send(port, method, path, who, **options):
    with requests.Session() as session:
        session.trust_env = False
        url = f"http://127.0.0.1:{port}{path}"
        return session.request(method, url, auth=who, timeout=60, **options)


def test_istios_plugin_and_buffer_hold_a_body_back_until_it_is_decided_on(gate, istio, unique):
    owner, stranger = gate.create_user("istio-owner"), gate.create_user("istio-stranger")
    name = f"{unique}-{istio}"
    run = gate.create_run(gate.create_experiment(name, owner), owner)
    tag = {"key": "k", "value": "v" * 3000, "run_id": run}
    path = "/api/2.0/mlflow/runs/set-tag"
    with gate.recorder.silence():
        assert send(istio, "POST", path, stranger, json=tag).status_code == 403
        assert send(istio, "POST", path, None, json=tag).status_code == 401
    assert send(istio, "POST", path, owner, json=tag).status_code == 200


def test_artifacts_stream_past_istios_buffer(gate, istio, unique):
    """More than the buffer holds gets through, and MLflow has the first bytes before the last."""
    owner, stranger = gate.create_user("istio-owner"), gate.create_user("istio-stranger")
    experiment = gate.create_experiment(f"{unique}-{istio}", owner)
    run = gate.create_run(experiment, owner)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/large.bin"
    with gate.recorder.silence():
        assert send(istio, "PUT", path, stranger, data=b"x" * MEBIBYTE).status_code == 403
    before, arrived = gate.recorder.received, threading.Event()

    def pieces():
        for _ in range(4):
            yield b"x" * MEBIBYTE
        for _ in range(200):
            if gate.recorder.received - before > MEBIBYTE:
                arrived.set()
                break
            gate.recorder.settle()
        for _ in range(16):
            yield b"x" * MEBIBYTE

    assert send(istio, "PUT", path, owner, data=pieces()).status_code == 200
    assert arrived.is_set(), "MLflow got the beginning while the end was not sent yet"


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow/runs/set-tag?x=/api/2.0/mlflow-artifacts/artifacts/",
        "/api/2.0/mlflow/runs/set-tag?/mlflow/upload-artifact",
        "/api/2.0/mlflow-artifacts/artifacts/../../mlflow/runs/set-tag",
        "/api/2.0/mlflow-artifacts/artifacts/%2e%2e/%2e%2e/mlflow/runs/set-tag",
        "/api/2.0/mlflow/upload-artifact/../runs/set-tag",
    ],
)
def test_no_spelling_leads_a_denied_body_past_the_buffer(gate, istio, path):
    owner, stranger = gate.create_user("istio-owner"), gate.create_user("istio-stranger")
    name = f"{path}-{istio}"
    run = gate.create_run(gate.create_experiment(name, owner), owner)
    body = json.dumps({"key": "k", "value": "v", "run_id": run}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {basic(*stranger)}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with gate.recorder.silence():
        assert http1(istio, head.encode() + body).status in (400, 403)


def test_envoy_takes_the_cluster_and_the_settings_for_envoy_gateway(gate, tmp_path):
    bootstrap = yaml.safe_load(of_kind("envoy-gateway/mlflow.yaml", "EnvoyProxy")["bootstrap"]["value"])
    (plugin,) = of_kind("envoy-gateway/mlflow.yaml", "EnvoyExtensionPolicy")["wasm"]
    configuration = json.loads(open(gate.ready["envoy_config"]).read())
    clusters(configuration)[1:] = bootstrap["static_resources"]["clusters"]
    settings = manager(configuration)["http_filters"][0]["typed_config"]["config"]
    settings["configuration"]["value"] = json.dumps(plugin["config"])
    assert plugin["config"]["policy"]["cluster"] == clusters(configuration)[1]["name"]
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(configuration))
    status, messages = validate(gate, file)
    assert status == 0, messages


# --- Azure Container Apps ---


def test_the_file_for_azure_is_the_plain_one_but_for_what_it_says():
    plain = yaml.safe_load((SHIPPED / "plain" / "envoy.yaml").read_text())
    azure = yaml.safe_load((SHIPPED / "azure" / "envoy.yaml").read_text())
    listener = plain["static_resources"]["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = 8080
    listener["filter_chains"][0].pop("transport_socket")
    manager(plain)["xff_num_trusted_hops"] = 1
    login, plugin = manager(azure)["http_filters"][:2]
    assert login["name"] == "easyauth_token"
    del manager(azure)["http_filters"][0]
    settings = plugin["typed_config"]["config"]["configuration"]
    settings["value"] = json.dumps(
        {k: v for k, v in json.loads(settings["value"].replace("JWT_SETTINGS", "null")).items() if v}
    )
    other = manager(plain)["http_filters"][0]["typed_config"]["config"]["configuration"]
    other["value"] = json.dumps(json.loads(other["value"]))
    assert azure == plain


@pytest.fixture(scope="module")
def azure(gate, identity_provider, tmp_path_factory):
    directory = tmp_path_factory.mktemp("azure")
    port, admin_port = free_port(), free_port()
    changes = addresses(gate, admin_port) | {
        "port_value: 8080": f"port_value: {port}",
        "mlflow.example.com": "127.0.0.1",
        "JWT_SETTINGS": json.dumps(identity_provider.plugin_config()["jwt"]),
    }
    file = directory / "envoy.yaml"
    file.write_text(localised(SHIPPED / "azure" / "envoy.yaml", changes))
    with running(gate, file, port):
        yield port


def ask(gate, port, experiment, **headers):
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(port, "GET", path, None, headers=names).status_code


def is_let_in(gate, port, experiment, **headers):
    """A grant made on the command line reaches a running server within milliseconds, not at once."""
    wait_until(lambda: ask(gate, port, experiment, **headers) == 200, "the grant is in force")


def test_a_login_by_easyauth_counts_by_its_token_and_by_nothing_else(
    gate, azure, identity_provider, unique
):
    experiment = gate.create_experiment(unique, gate.admin)
    gate.create_user("easy")
    gate.grant("easy", "READ", "experiment", experiment)
    token = identity_provider.token("easy")
    forged = IdentityProvider().token("easy")
    is_let_in(gate, azure, experiment, X_MS_TOKEN_AAD_ID_TOKEN=token)
    with gate.recorder.silence():
        assert ask(gate, azure, experiment, X_MS_TOKEN_AAD_ID_TOKEN=forged) == 401
        assert ask(gate, azure, experiment, X_MS_CLIENT_PRINCIPAL_NAME="easy") == 401
        stranger = identity_provider.token("easy-stranger")
        assert ask(gate, azure, experiment, X_MS_TOKEN_AAD_ID_TOKEN=stranger) == 403


def test_a_credential_of_the_clients_own_goes_before_easyauths(
    gate, azure, identity_provider, unique
):
    experiment = gate.create_experiment(unique, gate.admin)
    stranger = identity_provider.token("easy-stranger")
    assert (
        ask(gate, azure, experiment, X_MS_TOKEN_AAD_ID_TOKEN=stranger, Authorization=basic(*gate.admin))
        == 200
    )


def test_the_token_of_easyauth_does_not_reach_mlflow(gate, azure, identity_provider, unique):
    experiment = gate.create_experiment(unique, gate.admin)
    gate.create_user("easy")
    gate.grant("easy", "READ", "experiment", experiment)
    token = identity_provider.token("easy")
    with gate.recorder.listening() as heard:
        is_let_in(gate, azure, experiment, X_MS_TOKEN_AAD_ID_TOKEN=token)
    assert token.encode() not in heard[0] and b"x-ms-token" not in heard[0].lower()
    assert b"x-mlgate-user: easy" in heard[0].lower()

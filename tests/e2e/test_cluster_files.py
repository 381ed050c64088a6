"""What is shipped for Kubernetes, Helm, compose and Azure, checked as far as it can be without them."""

import json
import re

import helm_python
import kubernetes_validate
import pycep
import pytest
import yaml
from support.envoy import SHIPPED

CHART = SHIPPED / "helm" / "mlgate"
OTHER_VALUES = {
    "image": {"repository": "r.example/m", "tag": "9", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "replicas": 1,
    "existingSecret": "other",
    "settings": {"MLGATE_DEFAULT_PERMISSION": "READ", "RUST_LOG": "debug"},
    "tls": {"secretName": "certificate", "clientCa": True},
    "serviceMonitor": True,
}


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def of_file(name):
    return documents((SHIPPED / name).read_text())


def rendered(values=None):
    with helm_python.Chart.load(str(CHART)) as chart:
        files = chart.render(values or {}, name="mlgate", namespace="mlgate")
    return [document for text in files.values() for document in documents(text)]


def by_kind(objects):
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}


def validate(objects):
    for found in objects:
        # The schema of a custom resource is not Kubernetes' own.
        if "monitoring.coreos.com" not in found["apiVersion"]:
            kubernetes_validate.validate(found, "1.33", strict=True)


@pytest.mark.parametrize(
    "file", sorted((SHIPPED / "kubernetes").glob("*.yaml")), ids=lambda file: file.name
)
def test_kubernetes_objects_match_their_schemas(file):
    objects = documents(file.read_text())
    assert objects
    validate(objects)


def test_a_wrong_field_would_be_noticed():
    (deployment,) = (d for d in of_file("kubernetes/gate.yaml") if d["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["argz"] = ["x"]
    with pytest.raises(kubernetes_validate.ValidationError):
        validate([deployment])


def test_the_chart_makes_the_same_objects_as_the_plain_file():
    assert by_kind(rendered()) == by_kind(of_file("kubernetes/policy-server.yaml"))


def test_the_chart_with_other_values_makes_sound_objects_of_them():
    objects = by_kind(rendered(OTHER_VALUES))
    validate(objects.values())
    assert ("ServiceMonitor", "mlgate") in objects
    settings = objects["ConfigMap", "mlgate"]["data"]
    assert settings["MLGATE_TLS_CLIENT_CA"] == "/etc/mlgate/tls/ca.crt"
    assert settings["MLGATE_DEFAULT_PERMISSION"] == "READ"
    pod = objects["Deployment", "mlgate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "r.example/m:9"
    assert pod["containers"][0]["envFrom"][1] == {"secretRef": {"name": "other"}}
    assert pod["volumes"][0]["secret"]["secretName"] == "certificate"
    # One replica that may never be away would stop every node's maintenance.
    assert "minAvailable" not in objects["PodDisruptionBudget", "mlgate"]["spec"]


@pytest.mark.parametrize(
    "values", [{"replicas": 0}, {"settings": {"PATH": "/"}}, {"surprise": 1}], ids=str
)
def test_the_chart_refuses_values_that_mean_nothing(values):
    with helm_python.Chart.load(str(CHART)) as chart:
        with pytest.raises(helm_python.HelmError):
            chart.validate_schema(values)


def test_the_charts_linter_finds_nothing():
    findings = helm_python.lint(str(CHART))
    assert findings["errors"] == []
    # 1 is a hint, e.g. that an icon would be nice.
    assert [message for message in findings["messages"] if message["severity"] > 1] == []


def pods():
    for file in (SHIPPED / "kubernetes").glob("*.yaml"):
        for found in documents(file.read_text()):
            if found["kind"] == "Deployment":
                yield pytest.param(found["spec"]["template"]["spec"], id=file.stem)


@pytest.mark.parametrize("pod", list(pods()))
def test_no_container_is_root_or_can_become_it(pod):
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    for container in pod["containers"]:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"]
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_every_setting_that_is_shipped_is_one_of_the_servers(gate):
    known = set(re.findall(r"MLGATE_[A-Z_]+", gate.mlgate("serve", "--help").stdout))
    fields = json.loads(gate.mlgate("--json", "config").stdout)
    known |= {f"MLGATE_{name.upper()}" for name in fields}
    files = [f for f in SHIPPED.rglob("*") if f.suffix in (".yaml", ".bicep", ".tpl", ".json")]
    used = {name for file in files for name in re.findall(r"MLGATE_[A-Z_]+[A-Z]", file.read_text())}
    assert len(used) > 5
    assert used <= known


def test_in_the_compose_file_only_envoy_can_be_reached():
    services = of_file("compose/compose.yaml")[0]["services"]
    assert services.pop("envoy")["ports"] == ["8443:8443"]
    for name, service in services.items():
        assert "ports" not in service, name
        assert service["network_mode"] == "service:envoy", name
    assert "--host=127.0.0.1" in services["mlflow"]["command"]
    assert "listen_addresses=127.0.0.1" in services["postgres"]["command"]


def test_files_that_the_compose_file_mounts_are_there():
    directory = SHIPPED / "compose"
    for service in of_file("compose/compose.yaml")[0]["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            # tls is the user's to make.
            if source.startswith(".") and source != "./tls":
                assert (directory / source).exists(), source
        if "build" in service:
            # The context, target/dist, is made by `cargo xtask dist`.
            name = service["build"]["dockerfile"].removeprefix("../../")
            assert (SHIPPED.parent / name).is_file()


def test_images_are_not_root_and_have_the_module_where_it_is_looked_for():
    images = {file.stem: file.read_text() for file in (SHIPPED / "images").iterdir()}
    assert "FROM scratch\nCOPY mlgate_filter.wasm /plugin.wasm\n" in images["filter"]
    assert "/etc/envoy/mlgate_filter.wasm" in images["envoy"]
    for name in ("envoy", "policy-server"):
        assert "USER 65532:65532" in images[name]


def test_the_bicep_file_can_be_read():
    read = pycep.BicepParser().parse(file_path=SHIPPED / "azure" / "main.bicep")
    assert set(read["resources"]) == {"managedEnvironment", "app", "easyAuth"}
    secret = {"databasePassword", "adminPassword", "loginClientSecret", "tokenStoreSasUrl"}
    parameters = read["parameters"].items()
    secure = {n for n, p in parameters if "secure" in str(p.get("decorators"))}
    assert secret <= secure

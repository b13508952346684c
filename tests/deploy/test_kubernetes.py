"""The manifests: rendered, valid by the schemas of what reads them, and of one mind with the
gateway's configuration."""

import copy
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml
from fakes.manifests import KUBERNETES, OVERLAYS, Manifests, Resource, overlay, rendered, with_components

from server.settings.reading import read_settings
from server.settings.schema import Settings

VERSION = "1.37"
SCHEMAS = Path(__file__).parent / "schemas"
ROOT = Path(__file__).parents[2]
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
STATE = "/var/lib/smallfirst"
URL = "postgresql://smallfirst:0123456789abcdef@postgresql:5432/smallfirst"
DATABASE = {"postgresql/url": URL, "postgresql/password": "0123456789abcdef"}
ALL = ("redis", "postgresql", "prometheus-operator", "keda", "scale-to-zero", "keys")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The base with all components."""
    return with_components(tmp_path_factory.mktemp("all") / "everything", "base", *ALL)


@pytest.fixture(params=["base", *OVERLAYS, "everything"])
def manifests(request: pytest.FixtureRequest, everything: Manifests) -> Manifests:
    """What can be applied."""
    if request.param in OVERLAYS:
        return overlay(request.param)
    return everything if request.param == "everything" else rendered(KUBERNETES / "base")


def refuse_invalid(resource: Resource) -> None:
    """Raise a ValidationError where the resource is not what Kubernetes, or its operator, takes."""
    file = SCHEMAS / f"{resource['kind'].lower()}.json"
    if file.exists():
        schema_of(file).validate(resource)
        return
    kubernetes_validate.validate(resource, VERSION, strict=True)


@cache
def schema_of(file: Path) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(file.read_text()))


def settings_of(manifests: Manifests, folder: Path, **environment: str) -> Settings:
    """The gateway's settings, as its container would read them."""
    file = folder / "smallfirst.yaml"
    file.write_text(manifests.config)
    return read_settings(file, environment)


def test_every_resource_is_what_kubernetes_takes(manifests: Manifests) -> None:
    for resource in manifests.resources:
        refuse_invalid(resource)
        assert resource["kind"] == "Namespace" or resource["metadata"]["namespace"] == "smallfirst"


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Deployment", "spec.template.spec.containres"), ("ScaledObject", "spec.minReplicas"), ("NetworkPolicy", "spec.x"),
     ("ServiceMonitor", "spec.endpoint"), ("PrometheusRule", "spec.group"), ("PodMonitor", "spec.ports")],
)  # fmt: skip
def test_a_field_that_is_not_known_would_be_noticed(everything: Manifests, kind: str, path: str) -> None:
    resource = copy.deepcopy(everything.all(kind)[0])
    *parents, field = path.split(".")
    node = resource
    for parent in parents:
        node = node[parent]
    node[field] = 1

    with pytest.raises((jsonschema_rs.ValidationError, kubernetes_validate.ValidationError)):
        refuse_invalid(resource)


def test_pods_are_held_to_what_the_restricted_standard_wants(manifests: Manifests) -> None:
    for pods in manifests.pods:
        assert pods.spec["securityContext"]["runAsNonRoot"] is True
        assert pods.spec["securityContext"]["runAsUser"] > 0
        assert pods.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pods.spec["automountServiceAccountToken"] is False
        assert pods.spec["enableServiceLinks"] is False
        for container in pods.containers:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert re.search(r":\d[\w.-]*$", container["image"]), "a pinned tag"


def test_every_volume_that_is_mounted_is_there_and_the_other_way_round(manifests: Manifests) -> None:
    for pods in manifests.pods:
        there = {volume["name"] for volume in pods.spec.get("volumes", [])}
        there |= {claim["metadata"]["name"] for claim in pods.workload["spec"].get("volumeClaimTemplates") or []}
        mounted = {mount["name"] for container in pods.containers for mount in container.get("volumeMounts", [])}

        assert mounted == there


def test_services_lead_to_ports_of_pods(manifests: Manifests) -> None:
    for service in manifests.all("Service"):
        ports = {port["name"] for port in manifests.behind(service["metadata"]["name"]).container["ports"]}

        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_what_names_a_workload_names_one_that_is_there(manifests: Manifests) -> None:
    for scaler in manifests.all("HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        assert manifests.one(target["kind"], target["name"])
        assert "replicas" not in manifests.one(target["kind"], target["name"])["spec"]
    for budget in manifests.all("PodDisruptionBudget"):
        labels = budget["spec"]["selector"]["matchLabels"]
        assert any(labels.items() <= pods.labels.items() for pods in manifests.pods)
    for monitor in manifests.all("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [
            one for one in manifests.all("Service") if labels.items() <= one["metadata"].get("labels", {}).items()
        ]
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {
            one["name"] for one in service["spec"]["ports"]
        }


def test_the_gateway_asks_the_models_that_the_servers_have(manifests: Manifests, tmp_path: Path) -> None:
    settings = settings_of(manifests, tmp_path)

    for name, tier in settings.tiers.items():
        assert tier.urls == (f"http://{name}-servers:8000",)
        service = manifests.one("Service", f"{name}-servers")
        assert service["spec"]["clusterIP"] == "None", "its name must lead to every server"
        args = manifests.behind(f"{name}-servers").container["args"]
        served = [arg.partition("=")[2] for arg in args if arg.startswith("--served-model-name=")]
        assert tier.model == (served or args)[0]
        assert "--port=8000" in args
    ports = {port["name"]: port["containerPort"] for port in manifests.pods_of("gateway").container["ports"]}
    assert settings.server.port == ports["http"]


def test_the_longest_answer_ends_before_its_pod_does(manifests: Manifests, tmp_path: Path) -> None:
    settings = settings_of(manifests, tmp_path)
    server = settings.server
    gateway = manifests.pods_of("gateway")

    assert server.drain_s >= 10
    assert server.shutdown_s >= server.deadline_s
    assert gateway.spec["terminationGracePeriodSeconds"] > server.drain_s + server.shutdown_s
    for name, tier in settings.tiers.items():
        pods = manifests.behind(f"{name}-servers")
        pause_s = float(pods.container["lifecycle"]["preStop"]["exec"]["command"][1])
        flags = dict(arg.partition("=")[::2] for arg in pods.container["args"])
        ends_s = float(flags.get("--shutdown-timeout", tier.limits.total_s))
        assert pause_s > 10, "the gateways look names up every 10 s"
        assert tier.limits.total_s <= ends_s
        assert pods.spec["terminationGracePeriodSeconds"] > pause_s + ends_s


def test_only_the_gateway_reaches_the_servers(manifests: Manifests) -> None:
    gateway = manifests.pods_of("gateway").labels
    stranger = {"app.kubernetes.io/name": "stranger"}

    for name in ("small-servers", "large-servers"):
        servers = manifests.behind(name).labels
        assert manifests.may_reach(gateway, servers, 8000)
        assert not manifests.may_reach(gateway, servers, 22)
        assert not manifests.may_reach(stranger, servers, 8000)
        assert not manifests.may_reach(servers, gateway, 8080)
    assert not manifests.may_reach(
        manifests.behind("small-servers").labels, manifests.behind("large-servers").labels, 8000
    )


def test_the_second_server_of_a_gpu_can_wait_for_the_first() -> None:
    one_gpu = overlay("one-gpu")
    small, large = one_gpu.behind("small-servers"), one_gpu.behind("large-servers")

    assert one_gpu.may_reach(large.labels, small.labels, 8000)
    (waiting,) = large.spec["initContainers"]
    assert "http://small-servers:8000/health" in waiting["command"][2]
    shares = [
        float(arg.partition("=")[2])
        for pods in (small, large)
        for arg in pods.container["args"]
        if "utilization" in arg
    ]
    assert len(shares) == 2
    assert sum(shares) <= 0.9


def test_a_store_is_reached_by_the_gateway_alone(everything: Manifests) -> None:
    gateway = everything.pods_of("gateway").labels

    for name, port in (("redis", 6379), ("postgresql", 5432)):
        store = everything.behind(name).labels
        assert everything.may_reach(gateway, store, port)
        for other in (everything.behind("small-servers").labels, {"app.kubernetes.io/name": "stranger"}):
            assert not everything.may_reach(other, store, port)


def test_a_secret_that_is_needed_is_documented_and_missed(everything: Manifests) -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    needed = {
        (reference["name"], reference["key"])
        for manifests in (everything, *map(overlay, OVERLAYS))
        for pods in manifests.pods
        for container in pods.containers
        for variable in container.get("env", [])
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef")) and not reference.get("optional")
    }

    assert needed == {("postgresql", "password"), ("postgresql", "url")}
    for name, key in needed:
        assert f"create secret generic {name} " in page
        assert f"--from-literal={key}=" in page
    with pytest.raises(AssertionError, match="secret postgresql/url is missing"):
        everything.environment({})


def test_pools_are_scaled_by_a_metric_that_the_gateway_has(everything: Manifests) -> None:
    documented = (ROOT / "docs/metrics.md").read_text()
    namespace = everything.one("Namespace", "smallfirst")["metadata"]["name"]

    for scaled in everything.all("ScaledObject"):
        tier = scaled["metadata"]["name"].removesuffix("-servers")
        (trigger,) = scaled["spec"]["triggers"]
        metric = "smallfirst_tier_demand_tokens_per_second"
        assert trigger["metadata"]["query"] == f'sum({metric}{{namespace="{namespace}",tier="{tier}"}})'
        assert trigger["metricType"] == "AverageValue"
        assert f"`{metric}`" in documented
        assert tier in yaml.safe_load(everything.config)["tiers"]


def test_a_pool_that_may_be_empty_is_waited_for(everything: Manifests, tmp_path: Path) -> None:
    cold = everything.environment(DATABASE)["SMALLFIRST_TIERS__LARGE__COLD"]
    settings = settings_of(everything, tmp_path, SMALLFIRST_TIERS__LARGE__COLD=cold)

    assert everything.one("ScaledObject", "large-servers")["spec"]["minReplicaCount"] == 0
    assert everything.one("ScaledObject", "small-servers")["spec"]["minReplicaCount"] == 1
    assert settings.tiers["large"].cold is not None
    assert settings.tiers["large"].cold.wait_s < settings.server.deadline_s


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_gateway_takes_the_configuration_that_it_is_given(name: str, tmp_path: Path) -> None:
    config = tmp_path / "smallfirst.yaml"
    config.write_text(overlay(name).config)

    checked = subprocess.run([SMALLFIRST, "check", config], capture_output=True, text=True, check=False)  # noqa: S603

    assert checked.returncode == 0, checked.stderr


def test_a_mistake_in_the_configuration_rolls_out_no_further_than_one_pod(manifests: Manifests) -> None:
    gateway = manifests.one("Deployment", "gateway")

    assert gateway["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (volume,) = [one for one in manifests.pods_of("gateway").spec["volumes"] if one["name"] == "config"]
    assert volume["configMap"]["name"] != "smallfirst", "a changed configuration has another name, so that pods roll"


def test_a_component_in_the_wrong_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no matches for Id ScaledObject"):
        with_components(tmp_path / "wrong", "base", "scale-to-zero", "keda")


def test_the_kustomization_that_the_docs_give_renders(tmp_path: Path) -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    (given,) = re.findall(r"```yaml\n(# kustomization.yaml.*?)```", page, re.DOTALL)
    ours = os.path.relpath(KUBERNETES, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(given.replace("../smallfirst/deploy/kubernetes", ours))
    (tmp_path / "smallfirst.yaml").write_text("tiers: {}\n")

    manifests = rendered(tmp_path)

    assert manifests.config == "tiers: {}\n"
    for pods in manifests.pods:
        assert {container["image"].partition("/")[0] for container in pods.containers} == {"REGISTRY"}
    for resource in manifests.resources:
        refuse_invalid(resource)


def test_rules_are_those_of_any_prometheus_and_of_metrics_that_the_gateway_has(everything: Manifests) -> None:
    documented = (ROOT / "docs/metrics.md").read_text()
    plain = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())
    queries = [rule["expr"] for rule in everything.one("PrometheusRule", "scaling")["spec"]["groups"][0]["rules"]]

    assert everything.one("PrometheusRule", "smallfirst")["spec"] == plain
    for metric in {name for query in queries for name in re.findall(r"\bsmallfirst_\w+", query)}:
        assert f"`{metric}`" in documented


def test_what_components_set_are_settings_that_there_are(everything: Manifests, tmp_path: Path) -> None:
    environment = everything.environment(DATABASE)

    settings = settings_of(everything, tmp_path, **environment)

    assert settings.store.url == DATABASE["postgresql/url"]
    assert settings.limits.url.get_secret_value().startswith("redis://")
    assert (settings.server.auth, settings.server.admin_port) == ("keys", 8081)
    assert settings.store.folder == Path(STATE)
    assert STATE in {mount["mountPath"] for mount in everything.pods_of("gateway").container["volumeMounts"]}


def test_prometheus_asks_the_port_of_operators_where_there_are_keys(everything: Manifests, tmp_path: Path) -> None:
    (endpoint,) = everything.one("ServiceMonitor", "gateway")["spec"]["endpoints"]
    ports = {port["name"]: port["targetPort"] for port in everything.one("Service", "gateway")["spec"]["ports"]}
    without = with_components(tmp_path / "without", "base", "postgresql", "keys")

    assert ports[endpoint["port"]] == "admin"
    assert without.all("ServiceMonitor") == []

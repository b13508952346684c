"""The manifests as kustomize renders them, and what one part of them says of another."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
OVERLAYS = ("one-gpu", "many-gpus", "cpu-demo")
WORKLOADS = ("Deployment", "StatefulSet")
Resource = dict[str, Any]


@dataclass(frozen=True)
class Pods:
    """The pods of a workload: who they are, and what runs in them."""

    workload: Resource

    @property
    def name(self) -> str:
        """The workload's."""
        return str(self.workload["metadata"]["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        """What selectors find them by."""
        return dict(self.workload["spec"]["template"]["metadata"]["labels"])

    @property
    def spec(self) -> Resource:
        """The pod's."""
        return dict(self.workload["spec"]["template"]["spec"])

    @property
    def container(self) -> Resource:
        """The first container."""
        return dict(self.spec["containers"][0])

    @property
    def containers(self) -> list[Resource]:
        """All of them, those that run first too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


class Manifests:
    """What one kustomization comes to."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.resources = resources

    def all(self, *kinds: str) -> list[Resource]:
        """The resources of these kinds."""
        return [one for one in self.resources if one["kind"] in kinds]

    def one(self, kind: str, name: str) -> Resource:
        """The resource."""
        (found,) = [one for one in self.all(kind) if one["metadata"]["name"] == name]
        return found

    @property
    def pods(self) -> list[Pods]:
        """The pods of all workloads."""
        return [Pods(workload) for workload in self.all(*WORKLOADS)]

    def pods_of(self, name: str) -> Pods:
        """Those of a workload."""
        (found,) = [pods for pods in self.pods if pods.name == name]
        return found

    def behind(self, service: str) -> Pods:
        """The pods that a Service leads to."""
        selector = self.one("Service", service)["spec"]["selector"]
        (found,) = [pods for pods in self.pods if selector.items() <= pods.labels.items()]
        return found

    @property
    def config(self) -> str:
        """The gateway's configuration, as it is mounted."""
        gateway = self.pods_of("gateway")
        (volume,) = [volume for volume in gateway.spec["volumes"] if volume["name"] == "config"]
        return str(self.one("ConfigMap", volume["configMap"]["name"])["data"]["smallfirst.yaml"])

    def environment(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """What the gateway's container gets, with these secrets (`NAME/KEY`) in the cluster. An AssertionError where
        one is missing that it needs."""
        found = {}
        for variable in self.pods_of("gateway").container["env"]:
            if "value" in variable:
                found[variable["name"]] = variable["value"]
                continue
            secret = variable["valueFrom"]["secretKeyRef"]
            value = secrets.get(f"{secret['name']}/{secret['key']}")
            assert value is not None or secret.get("optional"), f"secret {secret['name']}/{secret['key']} is missing"
            if value is not None:
                found[variable["name"]] = value
        return found

    def may_reach(self, source: Mapping[str, str], target: Mapping[str, str], port: int) -> bool:
        """Whether the policies let pods of these labels reach those of the others at this port."""
        policies = self.all("NetworkPolicy")
        leaves = any(
            allows(rule.get("to"), target) and at_port(rule, port)
            for policy in policies
            if selects(policy["spec"]["podSelector"], source)
            for rule in policy["spec"].get("egress", [])
        )
        enters = any(
            allows(rule.get("from"), source) and at_port(rule, port)
            for policy in policies
            if selects(policy["spec"]["podSelector"], target)
            for rule in policy["spec"].get("ingress", [])
        )
        return leaves and enters


def selects(selector: Resource, labels: Mapping[str, str]) -> bool:
    """Whether a selector finds pods of these labels."""
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def allows(peers: Sequence[Resource] | None, labels: Mapping[str, str]) -> bool:
    """Whether one of a rule's peers is a pod of ours with these labels; without peers everybody is."""
    if peers is None:
        return True
    return any("podSelector" in peer and selects(peer["podSelector"], labels) for peer in peers)


def at_port(rule: Resource, port: int) -> bool:
    """Whether a rule is about this port."""
    return any(one["port"] == port for one in rule["ports"])


def rendered(folder: Path) -> Manifests:
    """As `kubectl kustomize` prints it. An AssertionError with its error where it cannot."""
    asked = [KUBECTL, "kustomize", str(folder)]
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stderr
    return Manifests([one for one in yaml.safe_load_all(ended.stdout) if one])


@cache
def overlay(name: str) -> Manifests:
    """One of ours."""
    return rendered(KUBERNETES / "overlays" / name)


def with_components(folder: Path, base: str, *components: str) -> Manifests:
    """An overlay of ours with components added, by a kustomization in this folder."""
    folder.mkdir(exist_ok=True)
    ours = os.path.relpath(KUBERNETES, folder)
    kustomization = {
        "namespace": "smallfirst",
        "resources": [f"{ours}/{base}"],
        "components": [f"{ours}/components/{component}" for component in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return rendered(folder)

"""JSON schemas of custom resources, from the models that cloudcoil generates from their definitions."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus

KINDS = (
    keda.ScaledObject,
    keda.TriggerAuthentication,
    prometheus.ServiceMonitor,
    prometheus.PodMonitor,
    prometheus.PrometheusRule,
)
NEEDED = ("apiVersion", "kind", "metadata", "spec")


def main(folder: Path) -> None:
    """Write one file for each kind."""
    for kind in KINDS:
        written = json.dumps(schema_of(kind), indent=1, sort_keys=True)
        (folder / f"{kind.__name__.lower()}.json").write_text(written + "\n")


def schema_of(kind: Any) -> dict[str, Any]:
    """The kind's schema; Kubernetes' own metadata are not looked into."""
    made = strict(kind.model_json_schema(by_alias=True))
    definitions = made.pop("$defs")
    made["properties"]["metadata"] = {"type": "object"}
    made["required"] = sorted({*made.get("required", []), *NEEDED})
    used = reachable(made, definitions)
    return {**made, "$defs": {name: definitions[name] for name in sorted(used)}}


def strict(node: Any) -> Any:
    """Without titles and defaults, without null, and without unknown fields."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {
        name: strict(value)
        for name, value in node.items()
        if name != "default" and (name != "title" or isinstance(value, dict))
    }
    choices = [one for one in kept.get("anyOf", []) if one != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        kept.update(choices[0])
    if kept.get("type") == "object" and "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def reachable(made: Any, definitions: dict[str, Any]) -> set[str]:
    """The definitions that a schema needs."""
    found, todo = set[str](), [made]
    while todo:
        new = set(references(todo.pop())) - found
        found |= new
        todo += [definitions[name] for name in new]
    return found


def references(node: Any) -> Iterator[str]:
    """The names of the definitions that a schema names itself."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The compose file: valid by the Compose specification, and of one mind with the gateway's configuration."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from fakes.dockerfile import lineage, stages_of

from server.settings.reading import read_settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/compose.yaml"
SCHEMA = Path(__file__).parent / "schemas/compose-spec.json"


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return read


def schema() -> jsonschema_rs.Draft7Validator:
    rules = json.loads(SCHEMA.read_text())
    del rules["$schema"]  # draft 7, by a name that is not its own
    return jsonschema_rs.Draft7Validator(rules)


def test_it_is_what_compose_takes() -> None:
    schema().validate(compose())


@pytest.mark.parametrize("change", [{"servics": {}}, {"services": {"gateway": {"readonly": True}}}])
def test_a_field_that_is_not_known_would_be_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        schema().validate({**compose(), **change})


def test_the_gateway_asks_the_models_that_the_servers_have() -> None:
    services = compose()["services"]
    settings = read_settings(ROOT / "deploy/gateway.yaml", services["gateway"]["environment"])

    for name, tier in settings.tiers.items():
        assert tier.urls == (f"http://{name}:8000",)
        assert services[name]["command"][0] == tier.model
        assert "--port=8000" in services[name]["command"]
    assert services["gateway"]["ports"] == [f"127.0.0.1:{settings.server.port}:{settings.server.port}"]
    mounts = [volume.split(":") for volume in services["gateway"]["volumes"]]
    (command,) = [stage.last("CMD") for stage in stages_of(ROOT / "Dockerfile") if stage.name == "gateway"]
    assert command is not None
    assert ["./gateway.yaml", command.words[-1], "ro"] in mounts


def test_nothing_but_the_gateway_is_reached_from_outside() -> None:
    services = compose()["services"]

    assert [name for name, service in services.items() if "ports" in service] == ["gateway"]
    assert compose()["networks"]["inside"] == {"internal": True}
    for name in ("redis", "postgresql"):
        assert services[name]["networks"] == ["inside"]
        assert services[name]["profiles"] == [name]


def test_everything_runs_as_a_number_on_a_disk_that_cannot_be_written() -> None:
    for service in compose()["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert int(service["user"].partition(":")[0]) > 0


def test_what_the_images_write_to_is_a_volume_here() -> None:
    services = compose()["services"]

    for name, file, stage in (("gateway", "Dockerfile", "gateway"), ("small", "deploy/vllm.Dockerfile", "1")):
        written = {
            word for one in lineage(stages_of(ROOT / file), stage) for line in one.all("VOLUME") for word in line.words
        }
        assert written <= {volume.split(":")[1] for volume in services[name]["volumes"]}
        assert any(mount.startswith("/tmp:") for mount in services[name]["tmpfs"])  # noqa: S108 - a mount
        assert (ROOT / "deploy" / services[name]["build"]["context"] / file).exists()

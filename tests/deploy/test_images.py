"""The images: linted, their steps carried out, and their commands run as they would be, by nobody in particular on a
root filesystem that cannot be written. No image is built: there is no container runtime."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from fakes.boxes import Builder, own
from fakes.dockerfile import Line, lineage, stages_of
from fakes.served import pair

from models.launcher.program import free_ports

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "Dockerfile"
VLLM = ROOT / "deploy/vllm.Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")
VOLUME = "/var/lib/smallfirst"
START_S = 60.0


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A folder that others may read, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="smallfirst-images-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def gateway(work: Path) -> Builder:
    """The gateway's image, as far as its steps can be carried out here."""
    builder = Builder(GATEWAY, ROOT, work)
    builder.stage("gateway")
    return builder


@pytest.mark.parametrize("file", [GATEWAY, VLLM])
def test_nothing_is_to_be_said_against_it(file: Path) -> None:
    linted = subprocess.run(  # noqa: S603 - our own files
        [HADOLINT, "--failure-threshold", "style", file], capture_output=True, text=True, check=False
    )

    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.mark.parametrize(("file", "stage"), [(GATEWAY, "gateway"), (GATEWAY, "engine"), (VLLM, "1")])
def test_it_runs_as_a_number_that_is_not_root(file: Path, stage: str) -> None:
    users = [line.rest for one in lineage(stages_of(file), stage) for line in one.all("USER")]

    assert users == ["10001:10001"]


def test_the_builder_is_sent_what_the_image_is_made_of_and_nothing_else() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word.removeprefix("./").partition("/")[0]
        for file in (GATEWAY, VLLM)
        for stage in stages_of(file)
        for line in stage.all("COPY")
        if "--from" not in line.rest
        for word in line.words[:-1]
    }

    assert kept == copied
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_gateway_has_neither_torch_nor_the_lab(gateway: Builder) -> None:
    packages = {path.name for path in gateway.stage("gateway").root.glob("opt/smallfirst/lib/*/site-packages/*")}

    assert {"server", "router", "models", "fastapi"} <= packages
    assert not packages & {"torch", "transformers", "vllm", "numpy", "scipy", "sklearn", "pip"}


async def test_the_gateway_serves_a_stranger_from_a_disk_that_cannot_be_written(gateway: Builder, work: Path) -> None:
    (port,) = free_ports(1)
    config = {**pair("http://127.0.0.1:1", "http://127.0.0.1:1", port=port), "store": {}}
    state = work / "state"
    state.mkdir()
    own(state, 10001)
    probe = last(gateway, "HEALTHCHECK").rest.partition("CMD ")[2].replace(":8080", f":{port}")

    process = await started(gateway, serve(gateway), {config_in(work, config): "/etc/smallfirst", state: VOLUME})
    try:
        async with asyncio.timeout(START_S):
            while True:
                probing = await started(gateway, json.loads(probe), {})
                if await probing.wait() == 0:
                    break
                assert process.returncode is None, await process.communicate()
    finally:
        process.terminate()
        _, said = await process.communicate()

    assert b"decisions are kept" in said, said
    assert list(state.rglob("*.db"))


async def test_a_mistake_in_its_configuration_is_all_that_the_gateway_says(gateway: Builder, work: Path) -> None:
    config = {**pair("http://127.0.0.1:1", "http://127.0.0.1:1"), "casades": {}}

    process = await started(gateway, serve(gateway), {config_in(work, config): "/etc/smallfirst"})
    _, said = await process.communicate()

    assert (process.returncode, said) == (2, b"error: casades: unknown key\n")


async def test_where_nothing_can_be_written_the_gateway_says_what_to_set(gateway: Builder, work: Path) -> None:
    config = {**pair("http://127.0.0.1:1", "http://127.0.0.1:1"), "store": {"folder": VOLUME}}

    process = await started(gateway, serve(gateway), {config_in(work, config): "/etc/smallfirst"})
    _, said = await process.communicate()

    assert process.returncode == 2
    assert said.startswith(f"error: store: {VOLUME}/journal cannot be written".encode()), said


def test_vllm_finds_the_plugin(work: Path) -> None:
    builder = Builder(VLLM, ROOT, work / "vllm")
    program = "from importlib.metadata import entry_points; print(*entry_points(group='vllm.general_plugins'))"

    said = builder.stage("1").run(["python3", "-c", program], where="/", environment=builder.environment("1"))

    assert "smallfirst_handover.sampling:correct" in said


def serve(builder: Builder) -> list[str]:
    """What the image runs where nobody says otherwise."""
    return [*last(builder, "ENTRYPOINT").words, *last(builder, "CMD").words]


def last(builder: Builder, word: str) -> Line:
    """The gateway image's line with that word."""
    lines = [line for stage in lineage(builder.stages, "gateway") for line in stage.all(word)]
    return lines[-1]


def config_in(work: Path, config: Mapping[str, object]) -> Path:
    """A folder with the gateway's configuration, to be mounted."""
    folder = Path(tempfile.mkdtemp(dir=work))
    folder.chmod(0o755)
    (folder / "smallfirst.yaml").write_text(yaml.safe_dump(config))
    return folder


async def started(builder: Builder, command: Sequence[str], writable: Mapping[Path, str]) -> asyncio.subprocess.Process:
    """The command in the gateway's image, with these folders mounted."""
    asked, box = builder.stage("gateway").command(
        command, where="/", environment=builder.environment("gateway"), mounted=writable
    )
    return await asyncio.create_subprocess_exec(*asked, env=box, stderr=asyncio.subprocess.PIPE)

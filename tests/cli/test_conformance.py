"""`smallfirst conformance` as a person runs it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from fakes.faulty_gateway import Fault, FaultyGateway, Fields, flag
from fakes.gateway import running_gateway
from fakes.scripted import Script

from models.launcher.program import free_ports
from server.conformance.recipes import recipe
from server.settings.schema import Settings

SMALLFIRST = Path(sys.executable).with_name("smallfirst")


async def conformance(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        SMALLFIRST, "conformance", *arguments, env={**os.environ, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def wrong_total(reply: Fields) -> None:
    if "usage" in reply:
        reply["usage"]["total_tokens"] += 1


async def test_our_gateway_passes_with_the_printed_configuration(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = Settings.model_validate(yaml.safe_load(recipe("smallfirst", port)))
    to_json = tmp_path / "result.json"
    async with running_gateway(settings) as url:
        target = (url, "--upstream-port", str(port), "--escalates", "--only", "mixing", "--json", str(to_json))
        code, out, err = await conformance(*target)

    assert (code, err) == (0, "")
    assert "11 cases: 11 pass, 0 FAIL, 0 not run, 0 not served" in out
    assert {result["verdict"] for result in json.loads(to_json.read_text())} == {"pass"}


async def test_a_failed_case_is_shown_and_is_the_exit_code() -> None:
    (port,) = free_ports(1)
    async with FaultyGateway(f"http://127.0.0.1:{port}", Fault(whole=wrong_total), cascade=False) as gateway:
        code, out, _ = await conformance(
            gateway.url, "--upstream-port", str(port), "--model", "conformance-large", "--only", "usage"
        )

    assert code == 1
    assert "11 + 2 is not 14" in out
    assert "FAIL" in out


async def test_without_an_upstream_port_the_other_cases_are_not_run(gateway) -> None:
    ours = await gateway(small=Script("yes it is"), large=Script("no"))

    code, out, _ = await conformance(ours.url, "--only", "usage", "--only", "errors")

    assert code == 0
    assert "18 cases: 14 pass, 0 FAIL, 4 not run, 0 not served" in out


async def test_the_key_and_the_headers_are_sent() -> None:
    (port,) = free_ports(1)
    async with FaultyGateway(f"http://127.0.0.1:{port}", flag("wants key"), cascade=False) as gateway:
        target = (gateway.url, "--upstream-port", str(port), "--model", "conformance-large", "--only", "usage")
        refused = await conformance(*target)
        let_in = await conformance(*target, "--api-key", "sk-1", "--header", "x-of-the-gateway: yes")

    assert refused[0] == 2
    assert "401" in refused[2]
    assert let_in[0] == 0


async def test_a_cascade_that_is_none_is_told() -> None:
    (port,) = free_ports(1)
    async with FaultyGateway(f"http://127.0.0.1:{port}", Fault(), cascade=False) as gateway:
        target = (gateway.url, "--upstream-port", str(port), "--model", "conformance-large", "--escalates")
        code, _, err = await conformance(*target)

    assert code == 2
    assert "leave out --escalates" in err


async def test_a_gateway_that_is_not_there_is_told() -> None:
    code, _, err = await conformance("http://127.0.0.1:1")

    assert code == 2
    assert "no gateway answers at http://127.0.0.1:1" in err


async def test_a_gateway_in_front_of_another_model_is_told(gateway) -> None:
    ours = await gateway(small=Script("yes"), large=Script("no"))
    (port,) = free_ports(1)

    code, _, err = await conformance(ours.url, "--upstream-port", str(port))

    assert code == 2
    assert f"is not the scripted model's: give the model's server as http://127.0.0.1:{port}" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give the gateway's URL"),
        (("http://127.0.0.1:1", "--only", "weather"), "there is no area 'weather'"),
        (("http://127.0.0.1:1", "--header", "no colon"), "'no colon' is no header"),
    ],
)
async def test_wrong_use_is_told(arguments: tuple[str, ...], told: str) -> None:
    code, _, err = await conformance(*arguments)

    assert code == 2
    assert told in err


async def test_a_configuration_is_printed_for_each_known_gateway() -> None:
    for known in ("smallfirst", "litellm", "portkey"):
        code, out, _ = await conformance("--print-config", known, "--upstream-port", "9200")

        assert code == 0
        assert "http://127.0.0.1:9200" in out

"""What a fuzzer makes of the gateway's own OpenAPI document: bodies that fit it, and bodies that do not."""

import asyncio
import sys
from pathlib import Path

from fakes.scripted import Script

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,unsupported_method"


async def test_no_request_makes_the_gateway_fail(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script(), large=Script())

    code, said = await fuzzed(cascade.url, tmp_path)

    assert code == 0, said
    assert len(cascade.small.seen) > 100  # it got as far as the models


async def fuzzed(url: str, folder: Path) -> tuple[int, str]:
    """The exit code and output of Schemathesis."""
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--checks", CHECKS,
        "--phases", "coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--no-color", "--warnings", "off",
        "--suppress-health-check", "all", "--continue-on-failure",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()

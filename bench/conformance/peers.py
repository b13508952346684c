"""The gateways that are compared: what they are, how they are installed, started and asked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from server.conformance.recipes import recipe

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
LITELLM = "litellm[proxy]==1.108.7"
KEY = "sk-conformance"
SMALLFIRST = Path(sys.executable).with_name("smallfirst")


@dataclass(frozen=True)
class Peer:
    """`install` says what was installed; `command` is for the gateway's port and the scripted model's; `asked` are the
    suite's options; `alive` is a path that answers 200 when the gateway is up."""

    name: str
    install: Callable[[], str]
    command: Callable[[int, int], Sequence[str | Path]]
    asked: Callable[[int], Sequence[str]]
    alive: str
    environment: Callable[[int], Mapping[str, str]] = field(default=lambda _: {})


def install_ours() -> str:
    """Nothing to do."""
    return f"smallfirst {version('smallfirst')}"


def install_litellm() -> str:
    """A virtual environment of its own."""
    python = CACHE / "litellm" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE / "litellm"], check=True)
    pip = [python, "-m", "pip"]
    subprocess.run([*pip, "install", "-q", "--disable-pip-version-check", LITELLM], check=True)
    return f"LiteLLM {LITELLM.rpartition('=')[2]}"


def install_portkey() -> str:
    """A folder of node modules."""
    folder = CACHE / "portkey"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_bytes((HERE / "package.json").read_bytes())
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    package = json.loads((folder / "node_modules/@portkey-ai/gateway/package.json").read_text())
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return f"Portkey {package['version']}, Node {node.removeprefix('v')}"


def configured(name: str, known: str, upstream_port: int) -> Path:
    """The printed configuration as a file."""
    file = CACHE / f"{name}.yaml"
    file.write_text(recipe(known, upstream_port), encoding="utf-8")
    return file


PORTKEY_START = CACHE / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"


def ours(name: str, asked: Sequence[str]) -> Peer:
    """Our own gateway, asked for one of its models."""
    return Peer(
        name=name,
        install=install_ours,
        command=lambda _, upstream: (SMALLFIRST, "serve", configured("smallfirst", "smallfirst", upstream)),
        asked=lambda _: asked,
        alive="/health",
        environment=lambda port: {"SMALLFIRST_SERVER__PORT": str(port)},
    )


PEERS = (
    ours("smallfirst", ("--model", "large")),
    ours("smallfirst, cascade", ("--model", "auto", "--escalates")),
    Peer(
        name="LiteLLM",
        install=install_litellm,
        command=lambda port, upstream: (
            CACHE / "litellm/bin/litellm", "--config", configured("litellm", "litellm", upstream),
            "--host", "127.0.0.1", "--port", str(port),
        ),
        asked=lambda _: ("--model", "large", "--api-key", KEY),
        alive="/health/liveliness",
        environment=lambda _: {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    Peer(
        name="Portkey",
        install=install_portkey,
        command=lambda port, _: ("node", PORTKEY_START, f"--port={port}", "--headless"),
        asked=lambda upstream: (
            "--model", "conformance-large", "--api-key", "none", "--header", "x-portkey-provider: openai",
            "--header", f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1",
        ),
        alive="/",
        environment=lambda _: {"NODE_OPTIONS": f"--require {HERE / 'loopback.cjs'}"},
    ),
)  # fmt: skip


def environment_of(peer: Peer, port: int) -> dict[str, str]:
    """The process's environment."""
    return {**os.environ, **peer.environment(port)}

"""The other gateways that can be installed from PyPI or npm, each in a folder of its own under a cache."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from sides import HERE, Side

from bench.conformance import peers as known

CACHE = HERE / ".cache"
PRICE = '[[price]]\nmodel = "openai/{}"\ninput_per_mtok = 1.0\noutput_per_mtok = 1.0\n'
FIRSTPASS = """\
[[route]]
match  = {}
mode   = "enforce"
ladder = ["openai/small", "openai/large"]
gates  = ["non-empty"]
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """`install` says the version; `side` is for its own port, the upstream's, and a folder for its files."""

    name: str
    install: Callable[[], str]
    side: Callable[[str, int, int, Path], Side]


def installed(distribution: str, pinned: str) -> Callable[[], str]:
    """From PyPI."""

    def install() -> str:
        folder = CACHE / distribution
        if not folder.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{distribution}=={pinned}"], check=True, stdout=subprocess.DEVNULL)
        return pinned

    return install


def vllm_router(version: str, port: int, upstream_port: int, _folder: Path) -> Side:
    """Rust; passes on."""
    command = [
        CACHE / "vllm-router/bin/vllm-router", "--worker-urls", f"http://127.0.0.1:{upstream_port}",
        "--host", "127.0.0.1", "--port", port, "--policy", "round_robin", "--log-level", "error",
    ]  # fmt: skip
    return Side("vllm-router", version, port, command, "/health", {"large": "large"})


def firstpass(version: str, port: int, upstream_port: int, folder: Path) -> Side:
    """Rust; takes the first answer that passes a gate, here one that is not empty."""
    file = folder / "firstpass.toml"
    file.write_text(FIRSTPASS + "".join(PRICE.format(name) for name in ("small", "large")))
    environment = {
        "FIRSTPASS_MODE": "enforce", "FIRSTPASS_BIND": f"127.0.0.1:{port}", "FIRSTPASS_CONFIG": str(file),
        "FIRSTPASS_DB": str(folder / "firstpass.db"), "FIRSTPASS_PROMPT_SALT": "bench", "OPENAI_API_KEY": "none",
        "FIRSTPASS_UPSTREAM_OPENAI": f"http://127.0.0.1:{upstream_port}",
    }  # fmt: skip
    command = [CACHE / "firstpass/bin/firstpass-proxy"]
    told = {"authorization": "Bearer none"}
    return Side("firstpass", version, port, command, "/healthz", {"auto": "auto"}, told, environment)


def cascadeflow(version: str, port: int, upstream_port: int, folder: Path) -> Side:
    """Python; judges the draft by its words."""
    url = f"http://127.0.0.1:{upstream_port}/v1"
    models = [
        {"name": name, "provider": "vllm", "base_url": url, "api_key": "none", "cost": cost}
        for name, cost in (("small", 0.0001), ("large", 0.001))
    ]
    file = folder / "cascadeflow.json"
    file.write_bytes(orjson.dumps({"models": models}))
    command = [CACHE / "cascadeflow/bin/cascadeflow-gateway", "--mode", "agent", "--config", file, "--port", port]
    environment = {"VLLM_BASE_URL": url, "OPENAI_API_KEY": "none"}
    return Side("cascadeflow", version, port, command, "/health", {"auto": "auto"}, environment=environment)


def litellm(version: str, port: int, upstream_port: int, _folder: Path) -> Side:
    """Python; passes on."""
    command = [
        known.CACHE / "litellm/bin/litellm", "--config", known.configured("litellm", "litellm", upstream_port),
        "--host", "127.0.0.1", "--port", port,
    ]  # fmt: skip
    told = {"authorization": f"Bearer {known.KEY}"}
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Side("LiteLLM", version, port, command, "/health/liveliness", {"large": "large"}, told, environment)


def portkey(version: str, port: int, upstream_port: int, _folder: Path) -> Side:
    """Node; passes on."""
    command = ["node", known.PORTKEY_START, f"--port={port}", "--headless"]
    told = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}/v1",
        "authorization": "Bearer none",
    }
    environment = {"NODE_OPTIONS": f"--require {known.HERE / 'loopback.cjs'}"}
    return Side("Portkey", version, port, command, "/", {"large": "large"}, told, environment)


PEERS = (
    Peer("vllm-router", installed("vllm-router", "0.1.17"), vllm_router),
    Peer("firstpass", installed("firstpass", "0.9.0"), firstpass),
    Peer("cascadeflow", installed("cascadeflow", "1.2.0"), cascadeflow),
    Peer("LiteLLM", known.install_litellm, litellm),
    Peer("Portkey", known.install_portkey, portkey),
)


def peers(ports: list[int], upstream_port: int, folder: Path) -> Iterator[Side | tuple[str, str]]:
    """Each that could be installed; of the others the name, and why not."""
    CACHE.mkdir(exist_ok=True)
    known.CACHE.mkdir(exist_ok=True)
    for peer, port in zip(PEERS, ports, strict=False):
        try:
            yield peer.side(peer.install(), port, upstream_port, folder)
        except (OSError, subprocess.CalledProcessError) as failed:
            yield peer.name, f"could not be installed: {failed}"

"""The gateways under measurement: how each is started, and what it is asked."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import orjson
import yaml

HERE = Path(__file__).parent
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
LOOSE = ("--requests-per-minute", "1000000000", "--tokens-per-minute", "1000000000000", "--cost-per-day", "1000000")
CASCADE = {"large": "large", "auto": "auto", "unsure": "auto"}  # who escalates an unsure draft has `unsure`
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Side:
    """A gateway as it is installed: `ready` is a path that answers 200 when it is up, `models` the names by which it is
    asked for a tier or cascade (those that it has), `told` what every request's headers say."""

    name: str
    version: str
    port: int
    command: Sequence[object]
    ready: str
    models: Mapping[str, str]
    told: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = PATH


def request_of(side: Side, model: str, prompt: str) -> bytes:
    """A whole HTTP request."""
    body = orjson.dumps({"model": side.models[model], "messages": [{"role": "user", "content": prompt}]})
    told = {"host": f"127.0.0.1:{side.port}", "content-type": "application/json", **side.told}
    lines = [f"POST {side.path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "\r\n"]).encode() + body


def upstream(port: int) -> Side:
    """The models alone."""
    command = [sys.executable, HERE.parent / "rig" / "upstream.py", port]
    return Side("upstream alone", "", port, command, "/health", {"large": "large"})


def bare(port: int, upstream_port: int) -> Side:
    """The route that all are compared with."""
    command = [sys.executable, HERE / "bare.py", port, upstream_port]
    known = f"FastAPI {version('fastapi')}, aiohttp {version('aiohttp')}, Python {platform.python_version()}"
    return Side("bare route", known, port, command, "/health", CASCADE)


def ours(port: int, upstream_port: int, folder: Path) -> Side:
    """This gateway, as it is run in production: keys, limits, metrics, journal and decision log."""
    price = {"input": 1.0, "output": 1.0}
    urls = [f"http://127.0.0.1:{upstream_port}"]
    config = {
        "tiers": {name: {"model": name, "price": price, "urls": urls} for name in ("small", "large")},
        "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5}},
        "server": {"port": port, "auth": "keys", "admin": {"port": 0}},
        "store": {"folder": str(folder / "store")},
    }
    file = folder / "smallfirst.yaml"
    file.write_text(yaml.safe_dump(config))
    told = {"authorization": f"Bearer {key_in(file)}"}
    command = [SMALLFIRST, "serve", file]
    return Side("smallfirst", version("smallfirst"), port, command, "/ready", CASCADE, told)


def key_in(file: Path) -> str:
    """A new key, with limits that nobody reaches."""
    command = [SMALLFIRST, "keys", "create", file, "bench", *LOOSE]
    made = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    return next(word for word in made.stdout.split() if word.startswith("sf-") and len(word) > 20)

"""What a model's files say of it, where they are on this machine: in a folder, or in Hugging Face's cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from models.wire import Json


@dataclass(frozen=True, slots=True)
class Shape:
    """How many tokens a model knows, and its attention heads; None where the files do not say it."""

    vocabulary: int | None
    heads: int | None


def shape_of(model: str, environment: Mapping[str, str]) -> Shape | None:
    """A folder's model, or one of the hub that was downloaded before; None where it is not on this machine."""
    folder = Path(model) if Path(model).is_dir() else snapshot(model, hub_cache(environment))
    try:
        config: Json = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return Shape(number(config, "vocab_size"), number(config, "num_attention_heads"))


def number(config: Json, key: str) -> int | None:
    """A number of a model's configuration, or of its part for text where it has one."""
    if not isinstance(config, dict):
        return None
    if "text_config" in config:
        return number(config["text_config"], key)
    value = config.get(key)
    return value if isinstance(value, int) else None


def snapshot(model: str, cache: Path) -> Path:
    """Where the hub's cache has a model's newest files."""
    folder = cache / f"models--{model.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text().strip()
    except OSError:
        commit = "none"
    return folder / "snapshots" / commit


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where Hugging Face's libraries keep what they download."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    caches = Path(environment.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return Path(environment.get("HF_HOME", caches / "huggingface")).expanduser() / "hub"

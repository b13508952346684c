"""Which vLLM this was tried with. What it reads there is no published interface, so others are refused at the start."""

from collections.abc import Mapping

TRIED = ("0.32",)
ANYWAY = "SMALLFIRST_HANDOVER_UNTRIED"


class Unsupported(Exception):
    """This vLLM, or the way it was started, cannot take a draft over."""


def is_tried(version: str) -> bool:
    """By major and minor version: `0.32.1+cpu` is a 0.32."""
    return ".".join(version.split(".")[:2]) in TRIED


def require_tried(version: str, environment: Mapping[str, str]) -> None:
    """Refuse an untried vLLM, unless the operator wants it anyway."""
    if is_tried(version) or environment.get(ANYWAY) == "1":
        return
    raise Unsupported(
        f"smallfirst-handover was tried with vLLM {', '.join(TRIED)}, not with {version!r}; install one of these, "
        f"or set {ANYWAY}=1 to start at your own risk"
    )

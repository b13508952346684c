"""Which engines share a GPU, and so must start one after the other: vLLM measures the free memory when it starts."""

from collections.abc import Mapping

VISIBLE = "CUDA_VISIBLE_DEVICES"
NO_GPU: frozenset[int] = frozenset()


def start_order(environments: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """For each engine those before it that share a GPU with it, by the environments they start in."""
    names = list(environments)
    return {
        name: tuple(other for other in names[:place] if share_a_gpu(environments[name], environments[other]))
        for place, name in enumerate(names)
    }


def share_a_gpu(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two engines in these environments may use the same GPU."""
    ours, theirs = numbers(one.get(VISIBLE)), numbers(other.get(VISIBLE))
    if ours is None or theirs is None:
        return ours != NO_GPU and theirs != NO_GPU
    return bool(ours & theirs)


def numbers(visible: str | None) -> frozenset[int] | None:
    """The GPUs; None where it may be any: all of them, or one that goes by another name than its number."""
    if visible is None:
        return None
    devices = [device.strip() for device in visible.split(",") if device.strip()]
    return frozenset(map(int, devices)) if all(map(str.isdecimal, devices)) else None

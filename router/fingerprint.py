"""What tells one served model from another, as far as its servers say."""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from models.abilities import Abilities


class Fingerprint(BaseModel):
    """A tier's model by the name that its servers know, the fingerprint of their tokenizer, and their engine's version;
    None where they did not say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    tokenizer: str | None = None
    version: str | None = None


def fingerprint_of(model: str, abilities: Abilities) -> Fingerprint:
    """What a server that was asked for this model said of itself."""
    return Fingerprint(model=model, tokenizer=abilities.tokenizer, version=abilities.version)


def changes(certified: Mapping[str, Fingerprint], seen: Mapping[str, Iterable[Fingerprint]]) -> tuple[str, ...]:
    """What is known to be another than was certified, by the tiers' names: of any of a tier's servers, each once. What
    was not known then, or is not now, has not changed."""
    return tuple(dict.fromkeys(told(certified, seen)))


def told(certified: Mapping[str, Fingerprint], seen: Mapping[str, Iterable[Fingerprint]]) -> Iterator[str]:
    """One change after the other."""
    for tier, before in certified.items():
        if tier not in seen:
            yield f"there is no tier {tier!r} any more"
        for now in seen.get(tier, ()):
            for name, old, new in (
                ("model", before.model, now.model),
                ("tokenizer", before.tokenizer, now.tokenizer),
                ("version", before.version, now.version),
            ):
                if old is not None and new is not None and old != new:
                    yield f"tier {tier!r}: the {name} was {old!r} and is {new!r}"

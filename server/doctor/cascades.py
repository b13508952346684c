"""What the tiers of a cascade are to each other. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from models.abilities import Abilities
from server.doctor.finding import Finding, good, problem, warning
from server.settings.cascade import CascadeSettings

PLUGIN = "install smallfirst-handover beside vLLM and start it with --speculative-config (docs/vllm.md)"


def of_cascade(name: str, cascade: CascadeSettings, known: Mapping[str, Sequence[Abilities]]) -> Iterator[Finding]:
    """By what the servers of its tiers, those that could be reached, can do."""
    about = f"cascade {name}"
    yield from tokenizers(about, cascade.tiers, known)
    yield from speculation(about, cascade, known)
    yield from artefact(about, cascade, known)


def tokenizers(about: str, tiers: Sequence[str], known: Mapping[str, Sequence[Abilities]]) -> Iterator[Finding]:
    """Whether the tiers cut text alike: then drafts are handed over, and streams go on, by token ids."""
    prints = {tier: {one.tokenizer for one in known[tier] if one.tokenizer is not None} for tier in tiers}
    if not all(prints.values()):
        return
    for tier, found in prints.items():
        if len(found) > 1:
            yield problem(
                about, f"the servers of tier {tier} have different tokenizers",
                f"they are not the same model: correct tiers.{tier}.urls",
            )  # fmt: skip
    if len(set().union(*prints.values())) == 1:
        yield good(about, "its tiers have one tokenizer")
        return
    yield warning(
        about, "its tiers have different tokenizers",
        "nothing need be done: drafts are handed over as text, of which fewer tokens are verified; a pair of one family"
        " is faster",
    )  # fmt: skip


def speculation(about: str, cascade: CascadeSettings, known: Mapping[str, Sequence[Abilities]]) -> Iterator[Finding]:
    """Whether a rejected draft is of use to the final tier."""
    final = cascade.tiers[-1]
    kinds = {one.speculation for one in known[final] if one.speculation is not None}
    if "handover" in kinds:
        yield good(about, f"{final} verifies drafts that it is handed")
    elif kinds:
        yield warning(about, f"{final} does not take drafts: rejected ones are thrown away", PLUGIN)


def artefact(about: str, cascade: CascadeSettings, known: Mapping[str, Sequence[Abilities]]) -> Iterator[Finding]:
    """Whether the tiers are those that the artefact was made with."""
    if cascade.trust is None:
        return
    prints = [frozenset(filter(None, (one.fingerprint for one in known[tier]))) for tier in cascade.tiers]
    changed = cascade.trust.changed(prints)
    for one in changed:
        yield problem(
            about, f"trust: {one}",
            "record and tune again, or serve what was recorded: a certificate does not hold for another model",
        )  # fmt: skip
    if not changed and all(prints):
        yield good(about, "its tiers are those that its artefact was made with")

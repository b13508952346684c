"""`smallfirst gate`: fit the gate that lets a drafter's streams open."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from router.gate import Gate, written
from router.lab.gate_fitting import Fit, Seen, fit_gate, fits_of, seen_of
from router.lab.outcomes import BadRecord, read_outcomes
from server.building import policy_of
from server.cli.console import WRONG_USE, complain
from server.settings.reading import SettingsError, read_settings_to_fit
from server.settings.schema import CascadeSettings, Settings


def run_fit(
    config: Path, answers: Path, out: Path, *, cascade: str | None, sizes: Sequence[int], environment: Mapping[str, str]
) -> int:
    """Write the gate; 1 where the answers are too few, or too alike, for any size."""
    try:
        settings = read_settings_to_fit(config, environment)
        chosen = chosen_cascade(settings, cascade)
        policy = policy_of(chosen)
        seen = seen_of(read_outcomes(answers), policy, chosen.tiers[0])
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except (BadRecord, OSError) as wrong:
        complain([str(wrong)])
        return WRONG_USE
    gate = fit_gate(seen, policy, sizes, model=settings.tiers[chosen.tiers[0]].model)
    if not gate.curves:
        complain(
            [f"{len(seen)} answers of {chosen.tiers[0]!r} with evidence are too few, or all are accepted, or none is"]
        )
        return 1
    try:
        out.write_bytes(written(gate))
    except OSError as unwritable:
        complain([f"{out}: {unwritable.strerror}"])
        return WRONG_USE
    report(gate, seen, fits_of(gate, seen, policy, open_at=chosen.stream.open_at), open_at=chosen.stream.open_at)
    return 0


def chosen_cascade(settings: Settings, name: str | None) -> CascadeSettings:
    """The cascade of that name, or the only one. Raises SettingsError."""
    if name is None and len(settings.cascades) == 1:
        return next(iter(settings.cascades.values()))
    if name is not None and name in settings.cascades:
        return settings.cascades[name]
    names = ", ".join(settings.cascades) or "none"
    raise SettingsError([f"say which cascade the gate is for with --cascade (there are: {names})"])


def report(gate: Gate, seen: Sequence[Seen], fits: Mapping[int, Fit], *, open_at: float) -> None:
    """What the gate would do to the answers that it was fitted on."""
    table = Table(box=None, pad_edge=False)
    for heading in ("first tokens", "longer drafts", "accepted", f"open at {open_at:g}", "of these rejected"):
        table.add_column(heading, justify="right")
    for fit in fits.values():
        table.add_row(str(fit.size), str(fit.drafts), share(fit.accepted, fit.drafts), share(fit.opened, fit.drafts),
                      share(fit.opened_and_rejected, fit.opened))  # fmt: skip
    console = Console(highlight=False)
    console.print(table)
    console.print(f"fitted on {len(seen)} answers of {gate.model}, by {gate.scorer} at {gate.threshold:g}")


def share(count: int, of: int) -> str:
    """In percent."""
    return f"{count / of:.1%}" if of else "-"

"""The alarm and the budget: how soon a raised loss is noticed, how seldom a clean stream alarms, and whether a stream
that changes task holds its budget.

    python bench/quality/watching.py --data FOLDER     # with recorded outcomes for the budget; about a minute
    python bench/quality/watching.py                   # the alarm alone, which needs none

Writes watching.json, watching.md and watching.png. The exit code is 1 where a claim does not hold.
"""

import argparse
import json
import os
import sys
from itertools import product
from pathlib import Path

from watching_alarm import EPSILON, Stream, agrees, delays, false_alarms
from watching_budget import CHANGES, SEEDS, TARGETS, drafts_by_corpus, drifts, off_target, quality, run, stream_of
from watching_page import page
from watching_plot import draw

from router.alarm import ALPHA

HERE = Path(__file__).parent
RUNS = 2_000
CLEAN_RUNS = 1_000
CLEAN_REQUESTS = 60_000
STREAMS = [Stream(accepted, rate) for accepted in (1.0, 0.6, 0.3) for rate in (1.0, 0.05)]
WANTED = {0.06: 150, 0.04: 350}
WITHIN = 0.02


def alarm_figures() -> dict:
    """Delays and false alarms."""
    noticed, late, clean = [], [], []
    for place, stream in enumerate(STREAMS):
        kind = {"accepted": stream.accepted, "rate": stream.rate}
        noticed += [{**kind, "loss": loss, **delays(stream, loss, runs=RUNS, seed=place)} for loss in WANTED]
        alarms = false_alarms(stream, runs=CLEAN_RUNS, requests=CLEAN_REQUESTS, seed=100 + place)
        clean.append({**kind, "runs": CLEAN_RUNS, "requests": CLEAN_REQUESTS, "alarms": alarms})
    for stream, quiet, loss in product((Stream(1.0, 1.0), Stream(0.3, 0.05)), (300, 1_000, 5_000), WANTED):
        found = delays(stream, loss, runs=RUNS, seed=200 + quiet, quiet=quiet, before=EPSILON / 2)
        late.append({"accepted": stream.accepted, "rate": stream.rate, "quiet": quiet, "loss": loss, **found})
    return {"epsilon": EPSILON, "alpha": ALPHA, "noticed": noticed, "late": late, "clean": clean}


def budget_figures(folder: Path) -> tuple[dict, dict]:
    """How far from their targets the shares are; and the first runs, for the plot."""
    drafts = drafts_by_corpus(folder)
    rows, shown = [], {}
    for change in CHANGES:
        for target in TARGETS:
            runs = [run(stream_of(drafts, change, seed), target) for seed in range(SEEDS)]
            off = [off_target(one, target) for one in runs]
            worst = {name: max((one[name] for one in off), key=abs) for name in off[0]}
            rows.append({"from": change[0], "to": change[1], "target": target, **worst, "right": quality(runs[0])})
            shown[change, target] = runs[0]
    return {"seeds": SEEDS, "rows": rows, "drift": drifts(drafts)}, shown


def claims(figures: dict) -> dict[str, bool]:
    """What is said of these figures, and whether it is so."""
    alarm = figures["alarm"]
    said = {
        "the streams are folded as the shipped alarm folds": alarm["agrees"],
        **{
            f"a loss of {loss:g} is noticed in a median of at most {most} audits": all(
                one["median"] <= most for one in alarm["noticed"] if one["loss"] == loss
            )
            for loss, most in WANTED.items()
        },
        f"at most {ALPHA:.0%} of the clean streams alarm": all(
            one["alarms"] <= ALPHA * one["runs"] for one in alarm["clean"]
        ),
    }
    if "budget" in figures:
        rows = figures["budget"]["rows"]
        said["the share is within 2 points of its target before the task changes and after"] = all(
            abs(row[half]) <= WITHIN for row in rows for half in ("before", "after")
        )
    return said


def main() -> int:
    """Run, write, and tell whether the claims hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of recorded outcomes")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    figures, shown = {"alarm": {**alarm_figures(), "agrees": agrees()}}, {}
    if options.data is not None:
        figures["budget"], shown = budget_figures(options.data)
    figures["claims"] = claims(figures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "watching.json").write_text(json.dumps(figures, indent=1) + os.linesep)
    text = page(figures)
    (options.out / "watching.md").write_text(text)
    draw(shown, options.out / "watching.png")
    print(text)
    return 0 if all(figures["claims"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""What deciding on a draft costs, and that this grows linearly with the draft: CPU time in one process, without a
gateway around it.

    python bench/deciding/run.py                 # a minute
    python bench/deciding/run.py --rounds 5      # some seconds

Writes result.json, result.md and result.png.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from drafts import ALTERNATIVES, ORDINARY, QUESTION, WORST, Text, reply
from page import CHECKED, FOLDED, JSON, READ, Case, Result, page
from plot import plotted

from bench.rig.machine import described
from models.answer import draft_of
from models.parsing import delta_of
from models.prompt import Prompt
from router.checks import CHECKS, failed_check
from router.policy import Policy, judge
from router.scorers import SCORERS
from server.garbage import look_seldom

HERE = Path(__file__).parent
SIZES = (20, 50, 100, 200, 400, 600, 800, 1600, 3200)
WORST_SIZES = (200, 400, 600, 800, 1600, 3200)
TOKENS_A_ROUND = 4000
ALL_CHECKS = tuple(CHECKS)

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Asked:
    """A case, and what is timed of it."""

    case: Case
    steps: Mapping[str, Step]

    def timed(self) -> None:
        """One round."""
        times = max(2, TOKENS_A_ROUND // self.case.tokens)
        for name, step in self.steps.items():
            began_s = time.thread_time()
            for _ in range(times):
                step()
            self.case.took_us[name].append(round(1e6 * (time.thread_time() - began_s) / times, 2))


def asked(kind: str, text: Text, tokens: int, alternatives: int, scorers: Sequence[str]) -> Asked:
    """A draft, and these scorers' judgement of it."""
    received = reply(text, tokens, alternatives)
    prompt = Prompt(text.fields or QUESTION, "r1")

    delta = delta_of(received, 0.0)
    draft = draft_of([delta])

    def judging(scorer: str) -> Step:
        policy = Policy("threshold", SCORERS[scorer], 0.5, ALL_CHECKS, "escalate")
        return lambda: judge(draft, prompt, policy)

    steps: dict[str, Step] = {
        JSON: lambda: orjson.loads(received),
        READ: lambda: delta_of(received, 0.0),
        FOLDED: lambda: draft_of([delta]),
        CHECKED: lambda: failed_check(draft.choices, prompt, ALL_CHECKS),
        **{scorer: judging(scorer) for scorer in scorers},
    }
    return Asked(Case(kind, tokens, {name: [] for name in steps}), steps)


def all_asked() -> Iterator[Asked]:
    """Ordinary drafts for each scorer, with the alternatives that it reads; and the worst texts."""
    for alternatives, kind in ((0, "log-probabilities"), (ALTERNATIVES, "five alternatives a token")):
        scorers = [scorer.name for scorer in SCORERS.values() if scorer.alternatives == alternatives]
        for tokens in SIZES:
            yield asked(kind, ORDINARY, tokens, alternatives, scorers)
    for kind, text in WORST.items():
        for tokens in WORST_SIZES:
            yield asked(kind, text, tokens, 0, ["mean-logprob"])


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31, help="how often each is timed, in turn with the others")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results are written")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and write."""
    options = parsed()
    machine = described()
    each = [*all_asked()]
    look_seldom()
    for _ in range(options.rounds):
        for one in each:
            one.timed()
    result = Result(machine, options.rounds, [one.case for one in each], [*WORST])
    (options.out / "result.json").write_bytes(orjson.dumps(result) + b"\n")
    said = page(result)
    (options.out / "result.md").write_text(said)
    plotted(result, options.out / "result.png")
    print(said)


if __name__ == "__main__":
    main()

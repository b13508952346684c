"""Clusters told from words, beside one policy for all requests: what each accepts at the same epsilon, and what becomes
of the promise when the mixture changes.

    python bench/quality/clusters.py --data FOLDER     # the recorded outcomes of real pairs of models

Written beside this script: clusters.json, clusters.md. Exits 1 where a promise is broken more often than delta allows.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from certified_populations import plain, read, regret_of, same_number, same_text, text_features

from router.certificate import Certificate
from router.lab.certifying import Split, Wanted, certify, delta_of_cluster, grid_of, tried_at
from router.lab.cluster_fitting import fit_centroids, found_groups
from router.lab.kinds import FEWEST, OF_EACH
from router.lab.outcomes import Recorded

HERE = Path(__file__).parent
SEED, DELTA, EPSILONS, SIZES = 20260131, 0.1, (0.02, 0.05), (2000, 6000)
FITS, DRAWS, FITTED_ON = 5, 100, 1 / 3
MOST_VIOLATIONS = 0.127  # of 500: delta and two standard errors
NOBODY = ""
ONE, NAMED = "one policy", "named: corpus"
BROAD, SUBJECTS, GROUPS = "words: corpus", "words: subject", "words: 4 groups"
ANSWERS, FILTERS = "GSM8K and MMLU-Pro", "five filters"


@dataclass(frozen=True, slots=True)
class Judged:
    """The questions that a policy was not fitted on: float[n], its confidence in each; which cluster each is of, by
    place; and for each cluster the confidences of questions that it was fitted on, for the grid."""

    confidence: np.ndarray
    cluster: np.ndarray
    seen: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one policy at one epsilon, over all draws: shares of the whole population. `broken`: draws in which
    some cluster of the policy's own regrets more than epsilon of its requests; `hardest`: the regret among the requests
    of the task that the policy regrets most of, as it would be if all requests were of that."""

    mixture: str
    policy: str
    epsilon: float
    questions: int
    clusters: float
    acceptance: float
    more_than_one: tuple[float, float, float]
    regret: float
    broken: float
    hardest: float
    unknown: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """Questions of several tasks as one stream of the same pair; float[n, k], what the scorers read."""

    name: str
    questions: Sequence[Recorded]
    features: np.ndarray
    policies: Sequence[str]


def filters(folder: Path) -> Mixture:
    """The small model's own probability for what it answered; there are no words, so kinds can only be named."""
    questions = read(folder, "filters-llama31-8b-70b")
    confidence = np.array([[one.outputs["small"].confidence] for one in questions])
    return Mixture(FILTERS, questions, confidence, (ONE, NAMED))


def answers(folder: Path) -> Mixture:
    """Agreement with the helper and text features."""
    questions, rows = [], []
    for name, same in (("gsm8k-llama31-8b-70b", same_number), ("mmlu-pro-llama31-8b-70b", same_text)):
        these = read(folder, name)
        agrees = [same(*(one.outputs[tier].answer for tier in ("small", "helper"))) for one in these]
        questions += these
        rows.append(np.column_stack([agrees, text_features(these)]))
    return Mixture(ANSWERS, questions, np.vstack(rows), (ONE, BROAD, SUBJECTS, GROUPS, NAMED))


def labels_of(questions: Sequence[Recorded], *, broad: bool) -> list[str]:
    """The task of each, or only its corpus; filters are corpora of their own."""
    tasks = [(one.task or NOBODY).removeprefix("filter/") for one in questions]
    return [task.split("/")[0] for task in tasks] if broad else tasks


def told(policy: str, seen: Sequence[Recorded], unseen: Sequence[Recorded]) -> tuple[Sequence[str], Sequence[str]]:
    """Which cluster each question is of that the function was fitted on, and each other; "" for no known one."""
    if policy == ONE:
        return ["all"] * len(seen), ["all"] * len(unseen)
    if policy == NAMED:
        return labels_of(seen, broad=True), labels_of(unseen, broad=True)
    prompts = [one.prompt or "" for one in seen]
    labels = found_groups(prompts, 4, seed=SEED) if policy == GROUPS else labels_of(seen, broad=policy == BROAD)
    fitted = fit_centroids(prompts, labels, seed=SEED)
    return (
        [one or NOBODY for one in fitted.unseen],
        [fitted.centroids.cluster(one.prompt or "") or NOBODY for one in unseen],
    )


def judged(policy: str, questions: Sequence[Recorded], features: np.ndarray, order: np.ndarray) -> Judged:
    """A scorer for each cluster, logistic regression for "not regretted", fitted on the first third of the order."""
    seen, unseen = np.split(order, [round(FITTED_ON * len(order))])
    of_seen, of_unseen = map(np.array, told(policy, [questions[i] for i in seen], [questions[i] for i in unseen]))
    regret = regret_of(questions)
    confidence, cluster, grids = np.full(len(unseen), -1.0), np.full(len(unseen), -1), []
    for name in sorted(set(of_seen) - {NOBODY}):
        mine, theirs = seen[of_seen == name], of_unseen == name
        if len(mine) < FEWEST or regret[mine].sum() < OF_EACH:
            continue
        scorer = plain().fit(features[mine], ~regret[mine])
        confidence[theirs] = scorer.predict_proba(features[unseen[theirs]])[:, 1]
        cluster[theirs] = len(grids)
        grids.append(scorer.predict_proba(features[mine])[:, 1])
    return Judged(confidence, cluster, grids)


def thresholds(of: Judged, regret: np.ndarray, drawn: np.ndarray, wanted: Wanted) -> np.ndarray:
    """float[clusters]: what is certified on the drawn questions; above 1 where nothing is."""
    found = []
    for place, seen in enumerate(of.seen):
        mine = drawn[of.cluster[drawn] == place]
        if len(mine) == 0:
            found.append(np.nextafter(1.0, 2.0))
            continue
        tried = tried_at(grid_of(seen), of.confidence[mine], regret[mine])
        made = certify(tried, wanted, Split("drawn"), on=date(2026, 1, 31))
        found.append(made.threshold if isinstance(made, Certificate) else np.nextafter(1.0, 2.0))
    return np.array(found)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One draw of one policy: shares of all requests; `broken` if some cluster of its own is above epsilon."""

    acceptance: float
    regret: float
    broken: bool
    by_task: Mapping[str, float]


def a_draw(of: Judged, regret: np.ndarray, tasks: np.ndarray, drawn: np.ndarray, wanted: Wanted) -> Drawn:
    """Certify, then look at the whole population."""
    at = thresholds(of, regret, drawn, wanted)
    accepted = (of.cluster >= 0) & (of.confidence >= at[of.cluster])
    lost = accepted & regret
    broken = any(lost[of.cluster == place].mean() > wanted.epsilon for place in range(len(at)))
    return Drawn(accepted.mean(), lost.mean(), broken, {task: lost[tasks == task].mean() for task in set(tasks)})


def rows_of(mixture: Mixture) -> Iterator[Row]:
    """A row for each policy, epsilon and number of questions, on the same fits and draws."""
    questions, features, policies = mixture.questions, mixture.features, mixture.policies
    regret, tasks = regret_of(questions), np.array(labels_of(questions, broad=False))
    orders = [np.random.default_rng([SEED, fit]).permutation(len(questions)) for fit in range(FITS)]
    unseen = [order[round(FITTED_ON * len(order)) :] for order in orders]
    made = {policy: [judged(policy, questions, features, order) for order in orders] for policy in policies}
    for size in SIZES:
        for epsilon in EPSILONS:
            drawn = {
                policy: [
                    a_draw(
                        one, regret[rest], tasks[rest], a_sample(fit, draw, size, len(rest)), wanted_of(one, epsilon)
                    )
                    for fit, (one, rest) in enumerate(zip(made[policy], unseen, strict=True))
                    for draw in range(DRAWS)
                ]
                for policy in policies
            }  # fmt: skip
            for policy in policies:
                row = row_of(policy, epsilon, size, made[policy], drawn[policy], drawn[ONE])
                yield replace(row, mixture=mixture.name)


def a_sample(fit: int, draw: int, size: int, among: int) -> np.ndarray:
    """The same for every policy."""
    return np.random.default_rng([SEED, fit, draw, size]).integers(0, among, size)


def wanted_of(policy: Judged, epsilon: float) -> Wanted:
    """Delta is divided among the fits, as `tune` does: that of all requests is one of them."""
    fits = len(policy.seen)
    return Wanted("regret", "recorded", epsilon=epsilon, delta=delta_of_cluster(DELTA, fits + (fits > 1)))


def row_of(
    policy: str, epsilon: float, size: int, made: Sequence[Judged], drawn: Sequence[Drawn], one: Sequence[Drawn]
) -> Row:
    """Means over the draws; of the difference to one policy for all also where the middle 95 % of draws are."""
    more = np.array([mine.acceptance - other.acceptance for mine, other in zip(drawn, one, strict=True)])
    hardest = max(np.mean([each.by_task[task] for each in drawn]) for task in drawn[0].by_task)
    return Row(
        "", policy, epsilon, size,
        clusters=float(np.mean([len(each.seen) for each in made])),
        acceptance=float(np.mean([each.acceptance for each in drawn])),
        more_than_one=(float(more.mean()), *map(float, np.quantile(more, [0.025, 0.975]))),
        regret=float(np.mean([each.regret for each in drawn])),
        broken=float(np.mean([each.broken for each in drawn])),
        hardest=float(hardest),
        unknown=float(np.mean([(each.cluster < 0).mean() for each in made])),
    )  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = [
        "| stream | policy | clusters | ε | n | acceptance | more than one policy (95 % of draws) | regret |"
        " regret if all were the hardest task | promise broken | of no known kind |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        more, low, high = row.more_than_one
        compared = "" if row.policy == ONE else f"{more:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(
            f"| {row.mixture} | {row.policy} | {row.clusters:g}"
            f" | {row.epsilon} | {row.questions} | {row.acceptance:.3f} | {compared} |"
            f" {row.regret:.4f} | {row.hardest:.4f} | {row.broken:.3f} | {row.unknown:.3f} |"
        )
    return "\n".join(lines)


def page(rows: Sequence[Row], known: Mapping[str, float]) -> str:
    """What is committed to be read."""
    return f"""# Clusters told from words

Written by `python bench/quality/clusters.py --data FOLDER` (seed {SEED}), on recorded outcomes of Llama 8B and 70B:
GSM8K and MMLU-Pro as one stream of 13,351 questions, one in ten of them GSM8K's; and five yes/no filters as one of
53,000, whose words were not recorded, so that kinds can only be named.

A third of the questions fits the function of the words and, for each cluster, a scorer: logistic regression for "not
regretted", on the helper's agreement and nine features of the texts, or, of filters, on the small model's own
probability. n others, drawn with replacement from the rest, certify. Means over {FITS} fits with {DRAWS} draws each;
regret and acceptance are those of all questions that nothing was fitted on. δ is {DELTA}, divided among the fits.

**One policy** knows no clusters. **Words** assigns each request by its words: to its corpus (2), to GSM8K or one of
MMLU-Pro's 14 subjects (where it has enough questions), or to one of four groups that k-means found. **Named** is told
the corpus by the request. **Broken**: draws in which a cluster of the policy's own regrets more than ε of its own
requests in the whole population (at most δ is promised). **If all were the hardest task**: the regret among the
requests of that task of which the policy loses most, which is what a change of the mixture can come to.

{table(rows)}

The function names {known[BROAD]:.1%} of unseen questions by the right corpus, and {known[SUBJECTS]:.1%} by the right
one of 15 tasks.

{reading(rows)}

So clusters are not there to accept more: each certificate has fewer questions and a smaller δ, and one policy may lose
much where little is asked. They pay where the same score means different things from kind to kind, and otherwise they
buy the promise for each kind, whatever the mixture becomes.
"""


def reading(rows: Sequence[Row]) -> str:
    """In sentences, whatever the numbers are."""
    said = []
    for mixture, epsilon in ((mixture, epsilon) for mixture in (ANSWERS, FILTERS) for epsilon in EPSILONS):
        those = [row for row in rows if (row.mixture, row.epsilon) == (mixture, epsilon)]
        at = {row.policy: row for row in those if row.questions == max(SIZES)}
        better = [name for name, row in at.items() if row.more_than_one[1] > 0]
        worse = [name for name, row in at.items() if row.more_than_one[2] < 0]
        one = at[ONE]
        said.append(
            f"- {mixture}, ε = {epsilon}, n = {max(SIZES)}: more than by one policy is accepted in 95 % of draws with"
            f" {' and '.join(better) or 'none of them'}, less with {' and '.join(worse) or 'none of them'}. One policy"
            f" loses {one.hardest / epsilon:.1f} ε of the hardest task; the others lose "
            + ", ".join(f"{at[name].hardest / epsilon:.1f} ({name})" for name in at if name != ONE)
            + "."
        )
    return "\n".join(said)


def known_of(questions: Sequence[Recorded]) -> Mapping[str, float]:
    """How often the function names the task of a question that it was not fitted on."""
    order = np.random.default_rng([SEED, 0]).permutation(len(questions))
    seen, unseen = np.split(order, [round(FITTED_ON * len(order))])
    shares = {}
    for policy in (BROAD, SUBJECTS):
        rest = [questions[i] for i in unseen]
        found = told(policy, [questions[i] for i in seen], rest)[1]
        right = [a == b for a, b in zip(found, labels_of(rest, broad=policy == BROAD), strict=True)]
        shares[policy] = float(np.mean(right))
    return shares


def main() -> int:
    """1 where a promise is broken too often."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of the recorded outcomes")
    folder = arguments.parse_args().data
    mixtures = [answers(folder), filters(folder)]
    rows, known = [row for one in mixtures for row in rows_of(one)], known_of(mixtures[0].questions)
    settings = {"seed": SEED, "delta": DELTA, "fits": FITS, "draws": DRAWS, "named_right": known}
    told = {**settings, "rows": [asdict(row) for row in rows]}
    (HERE / "clusters.json").write_text(json.dumps(told, indent=1) + "\n")
    (HERE / "clusters.md").write_text(page(rows, known))
    print(table(rows))
    return int(any(row.broken > MOST_VIOLATIONS for row in rows))


if __name__ == "__main__":
    sys.exit(main())

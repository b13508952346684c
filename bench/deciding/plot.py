"""Deciding by the number of tokens, as a picture."""

from pathlib import Path
from statistics import median

from matplotlib.figure import Figure
from page import JSON, TARGET_TOKENS, TARGET_US, Result, growth


def plotted(result: Result, file: Path) -> None:
    """Ordinary drafts by scorer, with the line through each; and the worst texts."""
    figure = Figure(figsize=(12, 5))
    usual, worst = figure.subplots(1, 2)
    for kind, style in zip(result.ordinary, (":", "--"), strict=True):
        cases = result.of_kind(kind)
        sizes = [case.tokens for case in cases]
        for scorer in cases[0].scorers:
            found = growth({case.tokens: case.deciding(scorer) for case in cases})
            (dots,) = usual.plot(sizes, [median(case.deciding(scorer)) for case in cases], "o", label=scorer)
            line = [found.any_us + found.token_us * size for size in sizes]
            usual.plot(sizes, line, color=dots.get_color(), linewidth=0.8)
        usual.plot(sizes, [median(case.took_us[JSON]) for case in cases], style, color="grey", label=f"JSON, {kind}")
    usual.plot([TARGET_TOKENS], [TARGET_US], "k_", markersize=14, label=f"{TARGET_US} µs at {TARGET_TOKENS} tokens")
    usual.set_title("ordinary text; lines are µs for any draft and for each token")
    for kind in [result.ordinary[0], *result.worst]:
        cases = result.of_kind(kind)
        costs = [median(case.deciding("mean-logprob")) for case in cases]
        worst.plot([case.tokens for case in cases], costs, "o-", label="ordinary text" if not worst.lines else kind)
    worst.set_title("the worst texts, scored by mean-logprob")
    for axes in (usual, worst):
        axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="CPU time to decide, µs")
        axes.legend(fontsize="small", loc="upper left")
    figure.tight_layout()
    figure.savefig(file, dpi=120)

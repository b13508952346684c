"""A decision as a page in a terminal."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from models.tokens import Token, Tokens
from router.scorers import probability
from server.cli.chat import printable, shade, shaded
from server.store.finding import Found
from server.store.records import Audit, Decision, Evidence, Feedback, Step
from server.store.telling import Alone, otherwise

CLIENT_LEFT = 499
ANSWERED = 200
A_LINE = 10
WEAKEST = 5
DIM = "dim"
WHY = {
    "unsure": "its draft was not sure enough",
    "empty": "its draft was empty",
    "malformed": "its draft did not have the form that was asked for",
    "cut": "its draft was cut off",
    "refused": "its draft refused",
    "looping": "its draft repeated itself",
    "no-evidence": "its draft came without log-probabilities",
    "degenerate-evidence": "its draft's log-probabilities say nothing",
    "unreachable": "its servers could not be reached",
    "timeout": "it took too long",
    "overloaded": "it had no room",
    "bad-reply": "its reply was broken",
    "capability": "it cannot take such a request",
    "misconfigured": "its server does not know our key or model",
    "verdict": "its draft was in doubt, and the final tier did not find it right",
    "skipped": "it would hardly have answered such a prompt as well",
}
FALLEN_BACK: Mapping[str, str] = {
    "uncertified": "nothing is certified",
    "unknown-task": "nothing is certified for such a task",
    "other-task": "a task is named that its words do not show",
    "expired": "the certificate is too old",
    "stale": "something is not as it was certified",
    "alarmed": "audits show more losses than were certified",
    "unread": "what audits have found could not be read",
}


def page(found: Found) -> Group:
    """All that is known of a request."""
    decision = found.decision
    parts: list[RenderableType] = [*heading(decision), steps(decision), *asked(decision)]
    for evidence in decision.evidence:
        parts += ["", *token_by_token(evidence)]
    parts += ["", money(decision)]
    parts += texts(decision)
    if found.feedback or found.audits:
        parts += ["", *map(heard, found.feedback), *map(audited, found.audits)]
    return Group(*parts)


def heading(decision: Decision) -> Iterator[RenderableType]:
    """What happened in a sentence, and to what."""
    yield Text(sentence(decision), style="bold")
    when = datetime.fromtimestamp(decision.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    task = [f"task {printable(decision.task)}"] if decision.task else []
    cluster = [f"cluster {printable(decision.cluster)}"] if decision.cluster else []
    streamed = ["streamed"] if decision.streamed else []
    kind = [*streamed, f"cascade {decision.cascade}", f"mode {decision.mode}", *task, *cluster]
    yield Text(", ".join([when, decision.endpoint, duration(decision.seconds)]), style=DIM)
    yield Text(", ".join(kind), style=DIM)
    yield Text(f"response {decision.response_id}", style=DIM)
    if decision.key is not None:
        yield Text(f"key {printable(decision.key)}", style=DIM)
    if not decision.response_id.endswith(decision.request_id):
        yield Text(f"request {decision.request_id}", style=DIM)
    yield ""


def sentence(decision: Decision) -> str:
    """Who answered, and why."""
    if decision.status == CLIENT_LEFT:
        return f"The client left while {decision.tier} was asked."
    if decision.status != ANSWERED:
        return f"No answer (status {decision.status}): {decision.tier} failed ({decision.failure or decision.reason})."
    if len(decision.tiers) == 1:
        return f"{decision.tier} answered: it was asked by its name."
    if decision.mode == "exact":
        return f"{decision.tier} answered: {exactly(decision)}."
    if not decision.escalated:
        return f"{decision.tier} answered: {kept(decision)}."
    why = f"{WHY.get(decision.reason, decision.reason)}{by(decision)}"
    before = [step.tier for step in decision.steps if step.tier in decision.tiers and step.tier != decision.tier]
    if not before:
        return f"{decision.tier} answered: of the tier before it was known that {why}."
    return f"{decision.tier} answered: {before[-1]} was asked first, and {why}."


def exactly(decision: Decision) -> str:
    """Why nothing was judged: that was wanted, or a promise could not be kept."""
    why = FALLEN_BACK.get(decision.reason)
    return "mode exact" if why is None else f"mode exact, because {why} ({decision.reason})"


def kept(decision: Decision) -> str:
    """Why a draft is the answer."""
    match decision.reason:
        case "sure":
            return f"its draft was sure enough{by(decision)}"
        case "opened":
            return "its gate opened the stream, which it then finished"
        case "verdict":
            return f"its draft was in doubt, and {decision.tiers[-1]} found it right{by(decision)}"
        case reason:
            return f"{WHY.get(reason, reason)}, and such drafts are kept"


def by(decision: Decision) -> str:
    """What was compared, where it was."""
    if decision.reason == "verdict" and decision.verdict is not None:
        return f" (verdict {decision.verdict:.4f})"
    if decision.reason not in ("sure", "unsure") or decision.confidence is None or decision.threshold is None:
        return ""
    than = "<" if decision.confidence < decision.threshold else ">="
    of = f", {decision.confidence_of}" if decision.confidence_of else ""
    return f" (confidence {decision.confidence:.4f} {than} threshold {decision.threshold:.4f}{of})"


def steps(decision: Decision) -> Table:
    """The tiers that were asked, in order."""
    table = Table(box=None, pad_edge=False, header_style=DIM)
    for name in ("tier", "outcome", "confidence", "score", "tokens", "cost", "waited"):
        table.add_column(name, justify="left" if name in ("tier", "outcome") else "right", no_wrap=name != "outcome")
    for step in decision.steps:
        tokens = f"{step.prompt_tokens} + {step.completion_tokens}"
        table.add_row(
            step.tier, fate(step, decision), number(step.confidence), number(step.score),
            f"about {tokens}" if step.estimated else tokens, f"{step.cost:.3g}", duration(step.waited_s),
        )  # fmt: skip
    return table


def asked(decision: Decision) -> Iterator[Text]:
    """What models said of the drafts, where they were asked."""
    for step in decision.steps:
        for place, opinions in enumerate(step.opinions, 1):
            said = ", ".join(f"{name} {value:.4f}" for name, value in opinions.items())
            choice = f", choice {place}" if len(step.opinions) > 1 else ""
            yield Text(f"asked about {step.tier}'s draft{choice}: {said}")
        if step.verdict is not None:
            yield Text(f"{decision.tiers[-1]} finds {step.tier}'s draft right with probability {step.verdict:.4f}")


def fate(step: Step, decision: Decision) -> str:
    """What became of a tier's part."""
    opened = f", opened at {step.opened_at} tokens" if step.opened_at is not None else ""
    if step.tier != decision.tier:
        return f"given up: {step.reason}{opened}" if step.reason else f"drafted{opened}"
    if decision.status != ANSWERED:
        return f"failed: {decision.failure}" if decision.failure else "not finished"
    return f"kept: {step.reason}{opened}" if step.reason else "answered"


def token_by_token(evidence: Evidence) -> Iterator[RenderableType]:
    """How sure the drafter was of each token: the text in colours where it is kept, else numbers in them."""
    shown = len(evidence.logprobs)
    rest = f", the first {shown} of them here" if shown < evidence.tokens else ""
    yield Text(f"How sure {evidence.tier} was, token by token ({evidence.tokens}{rest})", style="bold")
    logprobs = [math.nan if logprob is None else logprob for logprob in evidence.logprobs]
    if evidence.texts is None:
        yield grid(logprobs)
    else:
        tokens = [Token(text, logprob) for text, logprob in zip(evidence.texts, logprobs, strict=False)]
        yield shaded("".join(evidence.texts), Tokens.of(tokens))
    yield weakest(logprobs, evidence.texts)


def grid(logprobs: Sequence[float]) -> Table:
    """The tokens' probabilities, ten a line behind the first one's place."""
    table = Table.grid(padding=(0, 1))
    for start in range(0, len(logprobs), A_LINE):
        line = logprobs[start : start + A_LINE]
        table.add_row(Text(str(start + 1), style=DIM), *(Text(percent(one), style=shade(one)) for one in line))
    return table


def weakest(logprobs: Sequence[float], texts: Sequence[str] | None) -> Text:
    """The least likely tokens, the least likely first."""
    order = sorted(range(len(logprobs)), key=lambda place: least(logprobs[place]))[:WEAKEST]
    line = Text("least sure: ", style=DIM)
    for count, place in enumerate(order):
        said = f" {printable(texts[place])!r}" if texts is not None else ""
        line.append(f"{', ' if count else ''}token {place + 1}{said} ")
        line.append(percent(logprobs[place]), style=shade(logprobs[place]))
    return line


def least(logprob: float) -> float:
    """What is no number comes before all numbers."""
    return -math.inf if math.isnan(logprob) else logprob


def money(decision: Decision) -> Table:
    """What it cost, and what it would have cost otherwise."""
    table = Table(box=None, pad_edge=False, header_style=DIM)
    table.add_column("cost")
    table.add_column("", justify="right")
    table.add_row("this way", f"{decision.cost:.3g}")
    if len(decision.tiers) > 1:
        instead = otherwise(decision)
        for alone in (instead.first, instead.final):
            if alone is not None:
                table.add_row(f"{alone.tier} alone", price(alone))
    return table


def price(alone: Alone) -> str:
    """As far as it is known."""
    return f"{'about ' if alone.estimated else ''}{alone.cost:.3g}"


def texts(decision: Decision) -> Iterator[RenderableType]:
    """What was said, where that is kept."""
    if decision.texts is None:
        return
    for tier, draft in decision.texts.drafts.items():
        if tier != decision.tier:
            yield from ("", Text(f"{tier} drafted", style="bold"), Text(printable(draft)))
    if decision.texts.answer is not None:
        yield from ("", Text("The answer", style="bold"), Text(printable(decision.texts.answer)))


def heard(feedback: Feedback) -> Text:
    """What somebody said of the answer."""
    said = [feedback.label or "", "" if feedback.score is None else f"score {feedback.score:g}"]
    said.append(f"should have been: {printable(feedback.correction)}" if feedback.correction else "")
    return Text(f"feedback: {', '.join(filter(None, said))}")


def audited(audit: Audit) -> Text:
    """How an audit came out."""
    untold = "it failed" if audit.final_tokens is None else f"{audit.grader} cannot tell"
    found = {True: "the draft was a loss", False: "the draft was no loss", None: untold}
    drawn = f"by {audit.grader}, drawn with probability {audit.propensity:g}, cost {audit.cost:.3g}"
    return Text(f"audit: {found[audit.loss]} ({drawn})")


def percent(logprob: float) -> str:
    """A token's probability."""
    return "?" if math.isnan(logprob) else f"{100 * probability(logprob):.0f}%"


def duration(seconds: float) -> str:
    """In milliseconds, where it is less than a second."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def number(value: float | None) -> str:
    """To four digits, where there is one."""
    return "" if value is None else f"{value:.4g}"

"""Which cascade a request goes to, under its own controls; or an error that names the control."""

from dataclasses import replace

from models.prompt import Prompt
from router.cascade import Cascade
from router.gate import StreamRules
from router.words import asked_in
from server.building import Served
from server.doors.controls import Controls, StreamControls
from server.doors.door import Asked
from server.errors import RequestError


def routed(asked: Asked, served: Served) -> Cascade:
    """The cascade that the request names, under its own controls."""
    cascade = found(asked.model, served)
    refuse_of_one_model(cascade, asked.prompt)
    return controlled(cascade, asked.controls, served, asked.prompt)


def standing(cascade: Cascade, served: Served) -> Cascade:
    """The cascade as it stands just now; a single tier has nothing that could change."""
    watches = served.watches.get(cascade.name)
    return cascade if watches is None else cascade.standing(watches, served.pools[cascade.final.name].pressure)


def refuse_of_one_model(cascade: Cascade, prompt: Prompt) -> None:
    """Raise RequestError where a cascade is asked for what only a single tier can serve."""
    if prompt.of_one_model is None or len(cascade.tiers) == 1:
        return
    field, why = prompt.of_one_model
    names = ", ".join(tier.name for tier in cascade.tiers)
    raise RequestError(f"{field}: {why}: ask a single tier by its name ({names})", param=field)


def found(name: str, served: Served) -> Cascade:
    """The cascade, or tier, of that name. Raises RequestError."""
    cascade = served.find(name)
    if cascade is None:
        raise unknown_model(name, served)
    return cascade


def unknown_model(name: str, served: Served) -> RequestError:
    """No such cascade or tier; which ones there are."""
    names = ", ".join([*served.cascades, *served.tiers])
    return RequestError(
        f"model: there is no {name!r} here (there are: {names})", param="model", status=404, code="model_not_found"
    )


def controlled(cascade: Cascade, controls: Controls, served: Served, prompt: Prompt) -> Cascade:
    """The cascade under a request's own controls; conversations alone were certified."""
    mode = controls.mode or cascade.mode
    judging = cascade.under(mode, controls.task, words=asked_in(prompt.fields) if cascade.reads_words(mode) else "")
    if judging.policy.mode == "certified" and prompt.form != "chat":
        judging = judging.fallen_back("uncertified")
    cascade = standing(judging, served)
    if controls.threshold is not None:
        refuse_pointless(cascade, "threshold")
        refuse_laxer(judging, controls.threshold)
        cascade = cascade.with_threshold(controls.threshold)
    if controls.stream is not None:
        refuse_pointless(cascade, "stream")
        cascade = cascade.with_stream(streamed(cascade, controls.stream))
    return cascade


def refuse_pointless(cascade: Cascade, control: str) -> None:
    """Raise RequestError where no draft is judged."""
    param = f"smallfirst.{control}"
    if len(cascade.tiers) == 1:
        raise RequestError(f"{param}: {cascade.name!r} is a single tier, it has no {control}", param=param)
    if cascade.policy.mode == "exact" and cascade.policy.fallback is None:
        raise RequestError(
            f"{param}: mode 'exact' keeps no draft: leave it out, or ask for mode 'threshold'", param=param
        )


def refuse_laxer(cascade: Cascade, threshold: float) -> None:
    """Raise RequestError where a request would accept more than was certified."""
    if cascade.policy.mode == "certified" and threshold < cascade.policy.threshold:
        param = "smallfirst.threshold"
        raise RequestError(
            f"{param}: {cascade.policy.threshold:g} was certified, a lower one leaves mode 'certified': ask for mode"
            " 'threshold'",
            param=param,
        )


def streamed(cascade: Cascade, wanted: StreamControls) -> StreamRules:
    """When the streams of this request open."""
    rules = replace(cascade.policy.stream, **wanted.model_dump(exclude_none=True))
    if rules.on_doubt == "hold" or cascade.policy.fallback is not None:
        return rules
    if cascade.policy.mode == "certified":
        raise of_stream("on_doubt", "whole answers were certified, so streams are held: use 'hold'")
    if cascade.policy.verdict is not None:
        raise of_stream("on_doubt", "the final tier's verdict is on whole drafts, so streams are held: use 'hold'")
    if rules.gate is None:
        raise of_stream("on_doubt", f"{cascade.name!r} has no gate, so its streams are held: use 'hold'")
    if rules.gate_tokens not in rules.gate.curves:
        sizes = ", ".join(map(str, sorted(rules.gate.curves)))
        raise of_stream("gate_tokens", f"the gate was fitted for other numbers of tokens: {sizes}")
    if rules.gate.threshold != cascade.policy.threshold:
        raise of_stream(
            "on_doubt", f"the gate was fitted for threshold {rules.gate.threshold:g}: use 'hold' with another one"
        )
    if rules.on_doubt == "continue" and not cascade.final.model.goes_on:
        raise of_stream("on_doubt", f"{cascade.final.name!r} cannot go on after another model's words: use 'hold'")
    return rules


def of_stream(field: str, message: str) -> RequestError:
    """A mistake in `smallfirst.stream`."""
    param = f"smallfirst.stream.{field}"
    return RequestError(f"{param}: {message}", param=param)

"""What a request could take at most, before it is begun; and what it took, when it is over."""

from models.answer import Usage
from models.prompt import MODALITIES, Prompt
from models.wire import Json, JsonObject
from router.call import CHARACTERS_PER_TOKEN, Tier
from router.cascade import Cascade
from router.opinions import MOST_CHOICES, Agreement
from router.outcome import Outcome
from server.limits.standing import Amount, nanos_of

MEDIA_TOKENS = 1024  # an image, a sound or a file, whatever its size
MEDIA_BYTES = MEDIA_TOKENS * CHARACTERS_PER_TOKEN
TEMPLATE_TOKENS = 16  # what a chat template writes of its own
STATED_AT_MOST = 4096
RENDERED = ("tools", "functions", "documents", "chat_template_kwargs")  # what a template may write beside the messages
QUESTION_TOKENS = 128  # what is written around a draft that a model is asked about


def most(cascade: Cascade, prompt: Prompt, unstated_tokens: int) -> Amount:
    """What all calls to all tiers that may be asked could take, where each answer has as many tokens as it may; where
    the client sets no limit, `unstated_tokens` for each choice."""
    asked, written = prompt_tokens(prompt), answer_tokens(prompt, unstated_tokens)
    tokens = nanos = 0
    for tier, usage in calls(cascade, prompt, asked, written):
        tokens += tokens_of(usage)
        nanos += nanos_of(tier.price.of(usage))
    return Amount(tokens, nanos).bounded()


def calls(cascade: Cascade, prompt: Prompt, asked: int, written: int) -> list[tuple[Tier, Usage]]:
    """Every call that may be made for a request, at its longest."""
    final, policy = cascade.final, cascade.policy
    if len(cascade.tiers) == 1:
        return [(final, Usage(asked, written))]
    if policy.mode == "exact":
        first = [cascade.tiers[0]] if final.model.takes_handover else []
        return [(tier, Usage(asked, written)) for tier in (*first, final)]
    continued = written if policy.stream.on_doubt == "continue" else 0
    answers = [(tier, Usage(asked, written)) for tier in cascade.tiers[:-1]]
    if policy.skip is not None and cascade.embedder is not None:
        answers.append((cascade.embedder.tier, Usage(asked, 0)))
    return [*answers, (final, Usage(asked + continued, written)), *questions(cascade, prompt, asked, written)]


def questions(cascade: Cascade, prompt: Prompt, asked: int, written: int) -> list[tuple[Tier, Usage]]:
    """What models may be asked about drafts."""
    choices = min(prompt.choices, MOST_CHOICES)
    about_all = Usage((asked + QUESTION_TOKENS) * choices + written, choices)
    made: list[tuple[Tier, Usage]] = []
    for drafter in cascade.tiers[:-1]:
        for opinion in [
            opinion for name, opinion in cascade.opinions.items() if name in cascade.policy.scorer.opinions
        ]:
            usage = Usage(asked, written) if isinstance(opinion, Agreement) else about_all
            made.append((opinion.tier or drafter, usage))
        if cascade.policy.verdict is not None:
            made.append((cascade.final, about_all))
    return made


def prompt_tokens(prompt: Prompt) -> int:
    """An estimate: a token for each 4 bytes of the texts of the prompt and of what a template is told beside it, 1,024
    for each image, sound or file."""
    rendered = [length(prompt.fields[name]) for name in RENDERED if name in prompt.fields]
    return TEMPLATE_TOKENS + (length(prompt.input) + sum(rendered)) // CHARACTERS_PER_TOKEN


def passed_most(fields: JsonObject, tier: Tier) -> Amount:
    """What a request that is no completion could take: its texts, which are its prompt."""
    asked = length(fields) // CHARACTERS_PER_TOKEN
    return Amount(asked, nanos_of(tier.price.of(Usage(asked, 0)))).bounded()


def share_of(prompt: Prompt, unstated_tokens: int) -> int:
    """About how many tokens a request takes of its cascade, to compare it with those of others. A limit on the answer
    far above what answers have says little: it counts up to 4,096 for each choice."""
    limit = min(STATED_AT_MOST, unstated_tokens if prompt.length_limit is None else prompt.length_limit)
    return prompt_tokens(prompt) + max(1, limit) * max(1, prompt.choices)


def answer_tokens(prompt: Prompt, unstated_tokens: int) -> int:
    """The longest answer that the client allows, over all its choices."""
    limit = prompt.length_limit
    return max(1, unstated_tokens if limit is None else limit) * max(1, prompt.choices)


def length(value: Json) -> int:
    """The bytes of all texts in a JSON value; of media and of token ids those of as many tokens."""
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode(errors="replace"))
        case [int(), *_]:
            return CHARACTERS_PER_TOKEN * len(value)
        case list():
            return sum(map(length, value))
        case dict():
            return sum([MEDIA_BYTES if name in MODALITIES else length(inner) for name, inner in value.items()])
        case _:
            return 0


def taken(outcome: Outcome) -> Amount:
    """What the calls of a request took: rejected drafts, questions and cut-off calls too. Audits are the operator's
    own."""
    tokens = sum(tokens_of(spent.usage) for spent in outcome.spent.values())
    return Amount(tokens, nanos_of(outcome.cost))


def tokens_of(usage: Usage) -> int:
    """Those of the prompt and of the answer."""
    return usage.prompt_tokens + usage.completion_tokens

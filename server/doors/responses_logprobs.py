"""Which log-probabilities belong to a text, and their form in a response. Pure."""

from collections.abc import Sequence

from models.wire import WireToken


def tokens_within(tokens: Sequence[WireToken], text: str, *, after: str) -> list[WireToken]:
    """Those tokens that the text is made of, without the markup around it; the text comes after another one, such as
    the reasoning. Where the text cannot be found, as tokens that hold parts of a character do not join to it, all of
    them; none where they may be those of the other text."""
    joined = "".join(token["token"] for token in tokens)
    begin = joined.find(text, max(joined.find(after), 0) + len(after))
    if begin < 0:
        return [] if after else list(tokens)
    within: list[WireToken] = []
    place = 0
    for token in tokens:
        end = place + len(token["token"])
        if place < begin + len(text) and (end > begin or begin <= place):
            within.append(token)
        place = end
    return within


def shown_token(token: WireToken, alternatives: int) -> dict[str, object]:
    """A token as a response has it, with as many alternatives as the client asked for."""
    return {
        **shown({**token}),
        "top_logprobs": [shown({**other}) for other in (token.get("top_logprobs") or ())[:alternatives]],
    }


def shown(token: dict[str, object]) -> dict[str, object]:
    """A token or an alternative to one; the bytes are made of the text where the server gave none."""
    text = str(token.get("token", ""))
    given = token.get("bytes")
    return {
        "token": text,
        "bytes": list(text.encode(errors="replace")) if given is None else given,
        "logprob": token["logprob"],
    }

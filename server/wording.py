"""The words of validation errors, as people who write YAML or JSON would say them."""

import re

PLAIN = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"^Extra inputs are not permitted$"), "unknown key"),
    (re.compile(r"^Field required$"), "is missing"),
    (re.compile(r"^Input should be a valid (dictionary|mapping)( or instance of \w+)?$"), "should be a mapping"),
    (re.compile(r"^Input should be a valid (tuple|list)$"), "should be a list"),
    (
        re.compile(r"^(Tuple|List|Dictionary|Value) should have at least (\d+) items? after validation, not \d+$"),
        r"needs at least \2",
    ),
    (re.compile(r"^Input should"), "should"),
)


def plain(message: str) -> str:
    """A message of pydantic's, without its jargon, in lower case."""
    for pattern, words in PLAIN:
        message = pattern.sub(words, message)
    return message[:1].lower() + message[1:]

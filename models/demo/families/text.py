"""String work: letters reversed, counted and spelled, and words in another case."""

import string
from random import Random

from models.demo.families.words import COLOURS, OTHER_WORDS, THINGS
from models.demo.question import Family, phrased

WORDS = (*THINGS, *COLOURS, *OTHER_WORDS)


def letters(random: Random, level: int) -> tuple[str, str]:
    """Two or three capital letters (level 1), four (2), five or six (3): reverse, count or spell them."""
    length = {1: random.randint(2, 3), 2: 4, 3: random.randint(5, 6)}[level]
    word = "".join(random.choices(string.ascii_uppercase, k=length))
    match random.choice(["reverse", "reverse", "count", "spell"]):
        case "reverse":
            prompt = random.choice([f"Reverse {word}.", f"Write {word} backwards."])
            return phrased(random, prompt, word[::-1], f"{word} backwards is {word[::-1]}.")
        case "count":
            prompt = random.choice([f"How many letters are in {word}?", f"Count the letters of {word}."])
            return phrased(random, prompt, length, f"{word} has {length} letters.")
        case _:
            prompt = random.choice([f"Spell {word}.", f"Say {word} letter by letter."])
            return phrased(random, prompt, " ".join(word), f"{word} is spelled {' '.join(word)}.")


def case(random: Random, level: int) -> tuple[str, str]:
    """`level` known words, from one case to the other."""
    lower = " ".join(random.sample(WORDS, level))
    given, wanted, name = random.choice([(lower, lower.upper(), "upper"), (lower.upper(), lower, "lower")])
    prompts = [
        f"Write in {name} case: {given}",
        f"{name.capitalize()} case of {given}?",
        f"Change {given} to {name} case.",
    ]
    return random.choice(prompts), wanted


FAMILIES = (Family("letters", {1: 2, 2: 3, 3: 4}, letters), Family("case", {1: 1, 2: 2}, case))

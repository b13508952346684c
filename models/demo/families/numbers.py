"""Numbers in order: which of two is larger, and short lists to sort."""

from random import Random

from models.demo.question import Family, phrased


def compare(random: Random, level: int) -> tuple[str, str]:
    """Two numbers below 100 (level 1), else a list of level + 1 numbers to sort."""
    largest_first = random.random() < 0.5
    if level == 1:
        a, b = random.sample(range(100), 2)
        word = "larger" if largest_first else "smaller"
        value = max(a, b) if largest_first else min(a, b)
        return phrased(random, f"Which is {word}, {a} or {b}?", value, f"{value} is {word}.")
    numbers = random.sample(range(100), level + 1)
    ordered = sorted(numbers, reverse=largest_first)
    prompt = f"Sort {'down' if largest_first else 'up'}: {', '.join(map(str, numbers))}"
    return prompt, ", ".join(map(str, ordered))


FAMILIES = (Family("order", {1: 2, 2: 3, 3: 4}, compare),)

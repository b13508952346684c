"""Sums: direct ones of two numbers, and longer ones with the steps written out."""

from random import Random

from models.demo.question import Family, phrased

PLACES = ("Ones", "Tens", "Hundreds", "Thousands")


def digits(random: Random, count: int) -> int:
    """A number of exactly `count` digits (0 to 9 for one)."""
    return random.randint(10 ** (count - 1) if count > 1 else 0, 10**count - 1)


def add_or_subtract(random: Random, level: int) -> tuple[str, str]:
    """Two numbers up to 20 (level 1) or of two digits (level 2), answered at once."""
    a, b = (random.randint(0, 20), random.randint(0, 20)) if level == 1 else (digits(random, 2), digits(random, 2))
    if random.random() < 0.5:
        prompt = random.choice([f"What is {a} + {b}?", f"Add {a} and {b}."])
        return phrased(random, prompt, a + b, f"{a} + {b} = {a + b}.")
    a, b = max(a, b), min(a, b)
    prompt = random.choice([f"What is {a} - {b}?", f"Subtract {b} from {a}."])
    return phrased(random, prompt, a - b, f"{a} - {b} = {a - b}.")


def column(random: Random, level: int) -> tuple[str, str]:
    """Addition digit by digit from the right, with carries; level + 1 digits."""
    a, b = digits(random, level + 1), digits(random, level + 1)
    carry, steps = 0, []
    for place, x, y in zip(PLACES, reversed(str(a)), reversed(str(b)), strict=False):
        total = int(x) + int(y) + carry
        steps.append(f"{place}: {x} + {y} + {carry} = {total}, write {total % 10}, carry {total // 10}.")
        carry = total // 10
    prompt = random.choice([f"Work out {a} + {b} step by step.", f"Add {a} and {b} and show the steps."])
    return prompt, " ".join([*steps, f"So {a} + {b} = {a + b}."])


def multiply(random: Random, level: int) -> tuple[str, str]:
    """The table up to 12 (level 1); `level` digits times one digit, with the partial products (2 and 3)."""
    if level == 1:
        a, b = random.randint(0, 12), random.randint(0, 12)
        prompt = random.choice([f"What is {a} times {b}?", f"Multiply {a} by {b}."])
        return phrased(random, prompt, a * b, f"{a} times {b} is {a * b}.")
    a, b = digits(random, level), random.randint(2, 9)
    parts = [int(digit) * 10 ** (level - 1 - place) for place, digit in enumerate(str(a))]
    steps = [f"{part} times {b} is {part * b}." for part in parts]
    total = 0
    for part in reversed(parts):
        if total:
            steps.append(f"{total} + {part * b} = {total + part * b}.")
        total += part * b
    prompt = random.choice([f"Work out {a} times {b} step by step.", f"Multiply {a} by {b} and show the steps."])
    return prompt, " ".join([*steps, f"So {a} times {b} is {a * b}."])


FAMILIES = (
    Family("sum", {1: 2, 2: 5}, add_or_subtract),
    Family("column", {1: 1, 2: 1, 3: 2}, column),
    Family("product", {1: 3, 2: 2, 3: 2}, multiply),
)

"""Units and dates."""

from random import Random

from models.demo.families.words import DAYS
from models.demo.question import Family, phrased

EASY_UNITS = (
    ("metres", "centimetres", 100),
    ("kilometres", "metres", 1000),
    ("centimetres", "millimetres", 10),
    ("kilograms", "grams", 1000),
    ("litres", "millilitres", 1000),
)
HARD_UNITS = (
    ("weeks", "days", 7),
    ("years", "months", 12),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("days", "hours", 24),
)
MONTH_DAYS = {
    "January": 31, "February": 28, "March": 31, "April": 30, "May": 31, "June": 30,
    "July": 31, "August": 31, "September": 30, "October": 31, "November": 30, "December": 31,
}  # fmt: skip
MONTHS = tuple(MONTH_DAYS)


def units(random: Random, level: int) -> tuple[str, str]:
    """Powers of ten (level 1), or factors that need a product (level 2); both directions."""
    large, small, factor = random.choice(EASY_UNITS if level == 1 else HARD_UNITS)
    count = random.randint(2, 99 if level == 1 else 20)
    if random.random() < 0.3:
        prompt = f"How many {large} are {count * factor} {small}?"
        return phrased(random, prompt, count, f"{count * factor} {small} are {count} {large}.")
    prompt = random.choice([f"How many {small} are {count} {large}?", f"Convert {count} {large} to {small}."])
    return phrased(random, prompt, count * factor, f"{count} {large} are {count * factor} {small}.")


def weekday(random: Random, level: int) -> tuple[str, str]:
    """Up to 6 days on or back, counted out (level 1), or up to 30 by the remainder of the weeks (level 2)."""
    start, step = random.randrange(7), random.choice([1, -1])
    word = "after" if step == 1 else "before"
    count = random.randint(1, 6) if level == 1 else random.randint(8, 30)
    rest = count % 7
    counted = [DAYS[(start + step * passed) % 7] for passed in range(rest + 1)]
    prompt = f"What day is {count} {'day' if count == 1 else 'days'} {word} {DAYS[start]}?"
    steps = f"{count} days are {count // 7} weeks and {rest} days. " if level == 2 else ""
    return prompt, f"{steps}{', '.join(counted)}. It is {counted[-1]}."


def date(random: Random, _level: int) -> tuple[str, str]:
    """A day of a year that is no leap year, up to 20 days on, with the step over the month's end."""
    month = random.choice(MONTHS)
    day, count = random.randint(1, MONTH_DAYS[month]), random.randint(1, 20)
    steps, end, end_month = f"{day} + {count} = {day + count}. ", day + count, month
    if end > MONTH_DAYS[month]:
        steps += f"{month} has {MONTH_DAYS[month]} days. "
        end, end_month = end - MONTH_DAYS[month], MONTHS[(MONTHS.index(month) + 1) % 12]
    prompt = f"What date is {count} {'day' if count == 1 else 'days'} after {day} {month}?"
    return prompt, f"{steps}It is {end} {end_month}."


FAMILIES = (
    Family("units", {1: 2, 2: 3}, units),
    Family("weekday", {1: 1, 2: 3}, weekday),
    Family("date", {1: 3}, date),
)

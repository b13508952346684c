"""Reading: look-up in a passage, JSON with named keys, a tool call, and worked shopping bills."""

import json
from random import Random

from models.demo.families.arithmetic import digits
from models.demo.families.facts import CITIES
from models.demo.families.words import COLOURS, DAYS, JOBS, NAMES, THINGS
from models.demo.question import Family, phrased


def lookup(random: Random, level: int) -> tuple[str, str]:
    """A passage of `level` sentences about one person, and a question on one of the things that it says."""
    name, other = random.sample(NAMES, 2)
    thing, colour, price = random.choice(THINGS), random.choice(COLOURS), random.randint(2, 99)
    age, city, job = random.randint(18, 99), random.choice(CITIES), random.choice(JOBS)
    day, hour = random.choice(DAYS), random.randint(1, 12)
    told: list[tuple[str, list[tuple[str, object, str]]]] = [
        (f"{name} has a {colour} {thing} for {price} coins.", [
            (f"What does {name} have?", f"a {colour} {thing}", f"{name} has a {colour} {thing}."),
            (f"What colour is the {thing}?", colour, f"The {thing} is {colour}."),
            (f"What does the {thing} cost?", f"{price} coins", f"The {thing} costs {price} coins."),
            (f"Who has the {thing}?", name, f"{name} has the {thing}."),
        ]),
        (f"{name} is {age}, lives in {city} and works as a {job}.", [
            (f"How old is {name}?", age, f"{name} is {age} years old."),
            (f"Where does {name} live?", city, f"{name} lives in {city}."),
            (f"What does {name} work as?", job, f"{name} works as a {job}."),
        ]),
        (f"On {day} at {hour} {other} comes.", [
            (f"When does {other} come?", f"{day} at {hour}", f"{other} comes on {day} at {hour}."),
            ("Who comes?", other, f"{other} comes on {day} at {hour}."),
        ]),
    ]  # fmt: skip
    sentences = random.sample(told, level)
    asked, value, sentence = random.choice(random.choice(sentences)[1])
    passage = " ".join(text for text, _ in sentences)
    return phrased(random, f"{passage} {asked}", value, sentence)


def extract(random: Random, level: int) -> tuple[str, str]:
    """A person in a sentence; level + 1 named keys as JSON, in the order asked for."""
    name, age, city, job = (
        random.choice(NAMES),
        random.randint(18, 99),
        random.choice(CITIES),
        random.choice(JOBS),
    )
    person = {"name": name, "age": age, "city": city, "job": job}
    sentence = random.choice(
        [
            f"{name} is {age} years old, lives in {city} and works as a {job}.",
            f"{name}, a {job} from {city}, is {age}.",
            f"In {city} lives a {job} called {name}, aged {age}.",
        ]
    )
    keys = random.sample(list(person), level + 1)
    return f"{sentence} Give {', '.join(keys)} as JSON.", json.dumps({key: person[key] for key in keys})


def tool_call(random: Random, _level: int) -> tuple[str, str]:
    """A request that names what one of five tools does; the call as JSON."""
    name, city, day = random.choice(NAMES), random.choice(CITIES), random.choice(DAYS)
    minutes, hour, x, y = (
        random.randint(1, 90),
        random.randint(1, 12),
        digits(random, 2),
        digits(random, 2),
    )
    prompt, tool, arguments = random.choice(
        [
            (random.choice([f"Set a timer for {minutes} minutes.", f"Wake me in {minutes} minutes."]),
             "set_timer", {"minutes": minutes}),
            (random.choice([f"What is the weather in {city} on {day}?", f"Will it rain in {city} on {day}?"]),
             "get_weather", {"city": city, "day": day}),
            (random.choice([f"Book a table for {hour} in {city} on {day}.",
                            f"Reserve {hour} seats in {city} for {day}."]),
             "book_table", {"city": city, "day": day, "people": hour}),
            (random.choice([f"Tell {name} to come at {hour} on {day}.", f"Send {name} a note: {day} at {hour}."]),
             "send_message", {"to": name, "text": f"{day} at {hour}"}),
            (f"Use the calculator for {x} times {y}.", "calculate", {"expression": f"{x}*{y}"}),
        ]
    )  # fmt: skip
    return prompt, json.dumps({"name": tool, "arguments": arguments})


def shopping(random: Random, level: int) -> tuple[str, str]:
    """One kind of thing (level 1), two kinds (2), two kinds at two-digit prices (3); products written out."""
    name, (thing, other) = random.choice(NAMES), random.sample(THINGS, 2)
    count, other_count = random.randint(2, 9), random.randint(2, 9)
    price = random.randint(11, 40) if level == 3 else random.randint(2, 9)
    other_price = random.randint(2, 9)
    bill, other_bill = count * price, other_count * other_price
    if level == 1:
        prompt = f"{name} buys {count} {thing}s at {price} coins each. What does {name} pay?"
        return prompt, f"{count} times {price} is {bill}. {name} pays {bill} coins."
    steps = f"{count} times {price} is {bill}."
    if level == 3:
        tens, ones = price // 10 * 10, price % 10
        steps = (
            f"{count} times {tens} is {count * tens}. {count} times {ones} is {count * ones}. "
            f"{count * tens} + {count * ones} = {bill}."
        )
    prompt = (
        f"{name} buys {count} {thing}s at {price} coins each and {other_count} {other}s at {other_price} coins each. "
        f"What does {name} pay?"
    )
    total = bill + other_bill
    return prompt, (
        f"The {thing}s: {steps} The {other}s: {other_count} times {other_price} is {other_bill}. "
        f"In total {bill} + {other_bill} = {total}. {name} pays {total} coins."
    )


FAMILIES = (
    Family("lookup", {1: 2, 2: 2, 3: 3}, lookup),
    Family("json", {1: 1, 2: 1, 3: 1}, extract),
    Family("tool", {1: 2}, tool_call),
    Family("bill", {1: 2, 2: 2, 3: 2}, shopping),
)

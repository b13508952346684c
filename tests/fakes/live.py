"""A cascade whose streams open after two tokens, and a draft that comes into doubt at its sixth."""

from collections.abc import Mapping
from typing import Any

from fakes.pools import probed
from fakes.scripted import Script

from router.gate import Curve, Gate

GATE = Gate("scripted", "min-logprob", 0.5, 1000, {2: Curve(1.0, 0.0), 4: Curve(1.0, 0.0)})
LIVE: Mapping[str, Any] = {"on_doubt": "continue", "gate": GATE, "gate_tokens": 2, "holdback_tokens": 2}
DRAFT = "one two three four five six seven eight"
BETTER = "one two three four FIVE SIX SEVEN EIGHT"
SURE = Script(DRAFT)
DOUBTS = Script(DRAFT, ps=(0.99, 0.99, 0.99, 0.99, 0.99, 0.2))
LARGE = Script(BETTER, speculation="handover")


async def live_cascade(gateway, small: Script = DOUBTS, large: Script = LARGE, **stream: Any):
    """A gateway that knows its servers; in doubt the large model goes on after "one two three"."""
    cascade = await gateway(small=small, large=large, scorer="min-logprob", stream={**LIVE, **stream})
    await probed(cascade.url)
    return cascade

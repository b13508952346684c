"""A cascade whose streams open after two tokens, and a draft that comes into doubt at its sixth."""

from collections.abc import Mapping
from typing import Any

from fakes.pools import probed
from fakes.scripted import Script
from fakes.trusting import gate_of, trust

TRUST = trust(gate=gate_of(2, 4))
LIVE: Mapping[str, Any] = {"on_doubt": "continue", "gate_tokens": 2, "holdback_tokens": 2}
DRAFT = "one two three four five six seven eight"
BETTER = "one two three four FIVE SIX SEVEN EIGHT"
SURE = Script(DRAFT)
DOUBTS = Script(DRAFT, ps=(0.99, 0.99, 0.99, 0.99, 0.99, 0.2))
LARGE = Script(BETTER, speculation="handover")


async def live_cascade(gateway, small: Script = DOUBTS, large: Script = LARGE, **stream: Any):
    """A gateway that knows its servers; in doubt the large model goes on after "one two three"."""
    cascade = await gateway(small=small, large=large, trust=TRUST, stream={**LIVE, **stream})
    await probed(cascade.url)
    return cascade

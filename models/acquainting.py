"""Getting to know a server, and recognising it: what is asked when, and what is made of it."""

from dataclasses import replace

import structlog

from models.abilities import Abilities
from models.probing import Door, find_abilities, look_again
from models.recognition import Recognition

log = structlog.get_logger()


async def acquainted(door: Door, known: Abilities, recognition: Recognition) -> Abilities:
    """All that there is to know. What it says that it is counts at once: it was away, or was never known. Raises as
    `Door.get`."""
    recognition.asked()
    found = await find_abilities(door, replace(known, speculation=None, look=None))
    if found.look is not None:
        recognition.met(found.look)
    return replace(found, look=found.look or known.look)


async def recognised(door: Door, known: Abilities, recognition: Recognition) -> Abilities:
    """What is known, where the server is still the same or does not say; of another one no more than how it looks and
    what it lists: it is to be got acquainted with. Raises as `Door.get`."""
    recognition.asked()
    look = await look_again(door, known)
    if look is None or not recognition.found(look):
        return known
    log.warning("server is another", server=door.endpoint.name, fingerprint=look.fingerprint, before=known.fingerprint)
    return replace(known, look=look, speculation=None, tokenizer=None, version=None, logprobs=None)

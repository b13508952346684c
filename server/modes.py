"""Modes that have a name already and are not served yet: asking for one is an error that says so."""

TO_COME = ("certified",)


def refuse_mode_to_come(mode: object) -> object:
    """The mode, if it is none of those. Raises ValueError."""
    if mode in TO_COME:
        raise ValueError(f"mode {mode!r} is not served yet: use 'exact' or 'threshold'")
    return mode

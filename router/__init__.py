"""Which answer to trust: cascades, checks, scorers, prices. Knows nothing of HTTP."""

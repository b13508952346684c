"""Looks at everything that a configuration needs, and says what to do where something is not as it should be."""

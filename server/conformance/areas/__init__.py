"""The cases, a file for each area."""

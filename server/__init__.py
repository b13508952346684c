"""The HTTP surface: wire formats, errors, headers, metrics, settings and the command line."""

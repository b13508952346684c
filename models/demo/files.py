"""Where the demo pair's weights and configuration lie, as they are shipped."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
CONFIG = Path(__file__).parent / "demo.yaml"

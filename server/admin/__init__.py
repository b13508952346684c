"""What operators ask: keys, and whatever else is not for callers."""

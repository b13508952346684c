"""The gateway's processes: a parent that opens the door, and the workers that answer behind it."""

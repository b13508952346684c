"""The APIs that clients speak: each door reads its own wire format into a prompt, and words the answer in it."""

"""The demo pair: two small language models trained here, their curriculum and their grading."""

"""The kinds of question that the demo pair is taught, one module for each field."""

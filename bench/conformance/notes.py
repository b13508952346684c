"""Where a deviation of a gateway is its design, or needs a word."""

from fnmatch import fnmatch

REMARKS = """\
Portkey is installed with the oldest versions of its web framework that it allows (`package.json` beside this page):
with the newest ones (@hono/node-server 1.19.19, hono 4.13.19) each of its streams was a 500 here."""
PARAMETERS = "By design: with the provider `openai` it passes the parameters on that it knows, and no others"

# By gateway and pattern; the first that fits.
NOTES: dict[tuple[str, str], str] = {
    ("LiteLLM", "parameters/tools"): "By design: for vLLM it takes `strict` and `additionalProperties` out of tools",
    ("LiteLLM", "parameters/metadata"): "By design: its own, for logging and tags",
    ("LiteLLM", "parameters/user"): "By design: not among the parameters that it lists for vLLM; its own, for spending",
    ("LiteLLM", "parameters/priority"): "By design: its own, for its scheduler",
    ("LiteLLM", "parameters/verbosity"): "By design: refused, unless `drop_params` or `allowed_openai_params` is set",
    ("LiteLLM", "parameters/messages-of-developer"): "By design: for models other than OpenAI's it becomes `system`",
    ("LiteLLM", "replies/unknown-fields"): "The server's fields of the reply itself are kept",
    ("Portkey", "parameters/seed-*"): "JavaScript's numbers",
    ("Portkey", "parameters/*"): PARAMETERS,
    ("Portkey", "messages/*"): "By design: /v1/messages is there for other providers than `openai`",
}


def notes_on(name: str, case: str) -> str:
    """What is to be said of a gateway's failure."""
    return next((note for (who, pattern), note in NOTES.items() if who == name and fnmatch(case, pattern)), "")

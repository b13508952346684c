"""Does a gateway keep what the OpenAI API promises? An HTTP client with a scripted model behind the gateway; it knows
nothing of the gateway in this repository, and is pointed at others too."""

"""The laptop engine: one Hugging Face causal model served over HTTP as vLLM would serve it."""

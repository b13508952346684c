"""What the engine counts, under vLLM's names, so that one scraper reads both."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from models.engine.generation import Finish


class Meter:
    """Counters of one engine, in a registry of its own."""

    def __init__(self, model_name: str) -> None:
        self._registry = CollectorRegistry()
        self._model_name = model_name
        self._prompt_tokens = self._counter("vllm:prompt_tokens", "Prompt tokens read")
        self._generation_tokens = self._counter("vllm:generation_tokens", "Tokens written")
        self._finished = Counter(
            "vllm:request_success",
            "Sequences finished",
            ["model_name", "finished_reason"],
            registry=self._registry,
        )

    def watch(self, *, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Report these numbers whenever the metrics are read."""
        self._gauge("vllm:num_requests_running", "Sequences in the batch", running)
        self._gauge("vllm:num_requests_waiting", "Sequences waiting for a place", waiting)

    def prefilled(self, prompt_tokens: int) -> None:
        """Prompts have been read."""
        self._prompt_tokens.inc(prompt_tokens)

    def wrote(self, tokens: int) -> None:
        """A step has ended."""
        self._generation_tokens.inc(tokens)

    def finished(self, reason: Finish) -> None:
        """A sequence has ended by itself."""
        self._finished.labels(self._model_name, reason).inc()

    def exposition(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str) -> Counter:
        counter = Counter(name, documentation, ["model_name"], registry=self._registry)
        return counter.labels(self._model_name)

    def _gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        gauge = Gauge(name, documentation, ["model_name"], registry=self._registry)
        gauge.labels(self._model_name).set_function(read)

"""What the engine counts, under vLLM's names, so that one scraper reads both."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from models.engine.generation import Delta, Verification


class Meter:
    """Counters of one engine, in a registry of its own. Those of speculation are there only if it `speculates`."""

    def __init__(self, model_name: str, *, speculates: bool) -> None:
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
        self._speculation = self._speculation_counters() if speculates else None

    def watch(self, *, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Report these numbers whenever the metrics are read."""
        self._gauge("vllm:num_requests_running", "Sequences in the batch", running)
        self._gauge("vllm:num_requests_waiting", "Sequences waiting for a place", waiting)

    def prefilled(self, prompt_tokens: int) -> None:
        """Prompts have been read."""
        self._prompt_tokens.inc(prompt_tokens)

    def wrote(self, deltas: Sequence[Delta]) -> None:
        """A step has ended."""
        for delta in deltas:
            self._generation_tokens.inc(len(delta.tokens))
            if delta.finish is not None:
                self._finished.labels(self._model_name, delta.finish).inc()
            if delta.verification is not None:
                self._verified(delta.verification)

    def exposition(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)

    def _verified(self, verification: Verification) -> None:
        if self._speculation is not None:
            drafts, proposed, accepted = self._speculation
            drafts.inc()
            proposed.inc(verification.proposed)
            accepted.inc(verification.accepted)

    def _speculation_counters(self) -> tuple[Counter, Counter, Counter]:
        return (
            self._counter("vllm:spec_decode_num_drafts", "Steps of a sequence that verified draft tokens"),
            self._counter("vllm:spec_decode_num_draft_tokens", "Draft tokens verified"),
            self._counter("vllm:spec_decode_num_accepted_tokens", "Draft tokens accepted"),
        )

    def _counter(self, name: str, documentation: str) -> Counter:
        counter = Counter(name, documentation, ["model_name"], registry=self._registry)
        return counter.labels(self._model_name)

    def _gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        gauge = Gauge(name, documentation, ["model_name"], registry=self._registry)
        gauge.labels(self._model_name).set_function(read)

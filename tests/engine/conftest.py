"""Two tiny models, and engines that serve them as processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

REPOSITORY = Path(__file__).parents[2]
START_TIMEOUT_S = 60
SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "t"), ("Ġt", "h")]
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message.role not in ['user', 'assistant'] %}{{ raise_exception('unknown role') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
RECITALS = {
    "fox": "Ein schöner 🦊🦊 sagt: 日本語 – fin",
    "count": "one two three four five",
    "ask": "what<|user|>",
}
RUN = "import json, sys; from models.engine.main import serve; sys.exit(serve(**json.loads(sys.argv[1])))"


@dataclass(frozen=True)
class Reference:
    """The model that an engine serves, in the test's own hands."""

    folder: Path
    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast

    def logprobs(self, token_ids: list[int]) -> torch.Tensor:
        """Of every position's next token, [position, vocabulary]."""
        with torch.inference_mode():
            return self.model(torch.tensor([token_ids])).logits[0].log_softmax(dim=-1)

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """What transformers' own generate writes."""
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            written = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=count,
                do_sample=False,
                pad_token_id=0,
            )
        return written[0, len(prompt) :].tolist()


@dataclass(frozen=True)
class Engine:
    """A serving process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def openai(self) -> openai.AsyncOpenAI:
        """A client that never asks twice."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def http(self) -> httpx.AsyncClient:
        """A client that does not hide the wire."""
        return httpx.AsyncClient(base_url=self.url, timeout=30)


StartEngine = Callable[..., AbstractContextManager[Engine]]


def _tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *alphabet, *(left + right for left, right in MERGES)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        additional_special_tokens=SPECIAL[2:],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _model(tokenizer: PreTrainedTokenizerFast, spread: float) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=spread,
    )
    return LlamaForCausalLM(config).eval()


def _teach(model: LlamaForCausalLM, texts: list[list[int]]) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        losses = [model(torch.tensor([text]), labels=torch.tensor([text])).loss for text in texts]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()


def _saved(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Reference:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Reference(folder, model, tokenizer)


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A random model: every token is about possible anywhere."""
    torch.set_num_threads(1)
    tokenizer = _tokenizer()
    return _saved(tmp_path_factory.mktemp("noise"), _model(tokenizer, 0.3), tokenizer)


@pytest.fixture(scope="session")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A model that has learnt the recitals by heart."""
    torch.set_num_threads(1)
    tokenizer = _tokenizer()
    model = _model(tokenizer, 0.05)
    texts = [f"<s><|user|>{ask}<|assistant|>{say}</s>" for ask, say in RECITALS.items()]
    _teach(model, [tokenizer.encode(text) for text in texts])
    model.generation_config = GenerationConfig(do_sample=True, top_k=1, eos_token_id=[1, 2])
    return _saved(tmp_path_factory.mktemp("parrot"), model, tokenizer)


@pytest.fixture(scope="session")
def recitals() -> dict[str, str]:
    """What the parrot answers to what."""
    return RECITALS


@pytest.fixture(scope="session")
def start_engine(tmp_path_factory: pytest.TempPathFactory) -> StartEngine:
    """Starts `smallfirst engine` with the given options."""

    @contextmanager
    def start(model: Path, **options: object) -> Iterator[Engine]:
        log = tmp_path_factory.mktemp("engine") / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", RUN, json.dumps(_options(model) | options)],
                stderr=stderr,
                cwd=REPOSITORY,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        try:
            yield Engine(process, _url(process, log), log)
        finally:
            process.terminate()
            process.wait(10)

    return start


@pytest.fixture
def run_engine() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `smallfirst engine` to its end."""

    def run(model: Path, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", RUN, json.dumps(_options(model) | options)],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=START_TIMEOUT_S,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def noise_engine(start_engine: StartEngine, noise: Reference) -> Iterator[Engine]:
    """Serves the random model, with room for all."""
    with start_engine(noise.folder) as engine:
        yield engine


@pytest.fixture(scope="session")
def parrot_engine(start_engine: StartEngine, parrot: Reference) -> Iterator[Engine]:
    """Serves the taught model, one sequence at a time and one in line."""
    with start_engine(parrot.folder, max_batch=1, max_queued=1) as engine:
        yield engine


@pytest.fixture
async def client(noise_engine: Engine) -> AsyncIterator[openai.AsyncOpenAI]:
    """Talks to the random model."""
    async with noise_engine.openai() as client:
        yield client


@pytest.fixture
async def http(noise_engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """Talks to the random model, byte by byte."""
    async with noise_engine.http() as http:
        yield http


@pytest.fixture
async def reciter(parrot_engine: Engine) -> AsyncIterator[openai.AsyncOpenAI]:
    """Talks to the taught model."""
    async with parrot_engine.openai() as client:
        yield client


def _options(model: Path) -> dict[str, object]:
    return {
        "model": str(model),
        "served_model_name": "tiny",
        "host": "127.0.0.1",
        "port": 0,
        "max_batch": 16,
        "max_queued": None,
        "max_model_len": None,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
        "speculative_tokens": 16,
    }


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the engine listens, once it says so."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "engine ready":
                return f"http://127.0.0.1:{event['port']}"
        time.sleep(0.05)
    pytest.fail(f"the engine did not start: {log.read_text()}")

"""A model directory or hub name to a network, a tokenizer and what clients may know of them."""

import hashlib
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, TypeAlias

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, logging

from models.engine.batch import Batch
from models.engine.card import Card, Recommended
from models.engine.errors import StartError
from models.engine.network import Network
from models.engine.tokenizer import Tokenizer

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16"]

_MODEL_LEN_IF_UNBOUNDED: Final = 4096


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that has made its first step."""

    network: Network
    tokenizer: Tokenizer
    card: Card


def load(
    path: str,
    *,
    name: str | None,
    max_model_len: int | None,
    dtype: Dtype,
    device: str,
) -> Loaded:
    """Load and try the model; raises StartError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(_device(device))
        tokenizer = Tokenizer(AutoTokenizer.from_pretrained(path))
        network = Network(model)
        _try(network)
    except Exception as error:
        raise StartError(f"cannot load model {path!r}: {_first_line(error)}") from error
    limit = _max_model_len(model, max_model_len)
    recommended = Recommended.model_validate(model.generation_config.to_diff_dict())
    card = Card(
        name=name or path,
        root=path,
        created=int(time.time()),
        fingerprint=_fingerprint(model, limit),
        version=_version(),
        max_model_len=limit,
        vocabulary=next(model.get_input_embeddings().parameters()).shape[0],
        eos=tokenizer.eos,
        stop_ids=recommended.stop_ids() - tokenizer.eos,
        sampling=recommended.sampling(),
    )
    return Loaded(network, tokenizer, card)


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _try(network: Network) -> None:
    """A prompt and a step: slow first calls and unfit models show here, not in a request."""
    with torch.inference_mode():
        batch = Batch(network)
        batch.prefill([[0, 0]])
        batch.advance([[0, 0] if network.retractable else [0]])


def _max_model_len(model: PreTrainedModel, wanted: int | None) -> int:
    known: object = model.config.get_text_config().to_dict().get("max_position_embeddings")
    limit = known if isinstance(known, int) else None
    if wanted is not None and limit is not None and wanted > limit:
        raise StartError(f"--max-model-len {wanted} is more than the {limit} that the model takes")
    return wanted or limit or _MODEL_LEN_IF_UNBOUNDED


def _fingerprint(model: PreTrainedModel, max_model_len: int) -> str:
    known = f"{model.config.to_json_string()} {model.dtype} {max_model_len}"
    return f"smallfirst-engine-{_version()}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


def _version() -> str:
    try:
        return version("smallfirst")
    except PackageNotFoundError:
        return "0"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

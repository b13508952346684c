"""Greedy answers of a demo model to many questions at once, with the log-probability of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from models.demo.tokenizer import ASSISTANT, END, USER

ROWS = 64
LONGEST_ANSWER = 160


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer's text and token ids (the end token among them), and its mean log-probability in nats."""

    text: str
    ids: tuple[int, ...]
    mean_logprob: float


def load_model(folder: Path, device: str) -> LlamaForCausalLM:
    """A trained model in float32, ready to answer."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.to(device).eval()


@torch.no_grad()
def answers(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[Answered]:
    """One answer to each prompt, in order."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found: dict[int, Answered] = {}
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        batch = answer_batch(model, tokenizer, [prompts[index] for index in chosen])
        found.update(zip(chosen, batch, strict=True))
    return [found[index] for index in range(len(prompts))]


def answer_batch(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[Answered]:
    """One answer to each prompt; the prompts are padded on the left."""
    texts = [f"{USER}{prompt}{END}{ASSISTANT}" for prompt in prompts]
    batch = tokenizer(
        texts, add_special_tokens=False, return_tensors="pt", return_token_type_ids=False,
        padding=True, padding_side="left",
    ).to(model.device)  # fmt: skip
    said = model.generate(
        **batch, max_new_tokens=LONGEST_ANSWER, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    ids = said.sequences[:, batch["input_ids"].shape[1] :]
    logits = torch.stack(said.logits, dim=1).float()
    logprobs = logits.log_softmax(-1).gather(-1, ids[:, :, None])[:, :, 0]
    return [one_answer(tokenizer, *row) for row in zip(ids.tolist(), logprobs.tolist(), strict=True)]


def one_answer(tokenizer: PreTrainedTokenizerFast, ids: list[int], logprobs: list[float]) -> Answered:
    """A row of a batch, up to its end token."""
    end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
    text = str(tokenizer.decode(ids[:end], skip_special_tokens=True))
    return Answered(text, tuple(ids[:end]), sum(logprobs[:end]) / end)


@torch.no_grad()
def same_choices(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], said: Sequence[Answered]
) -> float:
    """The share of another model's answer tokens that this model would have chosen greedily in their place."""
    same = total = 0
    for prompt, answered in zip(prompts, said, strict=True):
        asked = tokenizer(f"{USER}{prompt}{END}{ASSISTANT}", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*asked, *answered.ids]], device=model.device)
        greedy = model(input_ids=ids, use_cache=False).logits[0, len(asked) - 1 : -1].argmax(-1)
        same += int((greedy == ids[0, len(asked) :]).sum())
        total += len(answered.ids)
    return same / total

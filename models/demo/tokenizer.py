"""The demo pair's shared tokenizer: byte-level BPE with single digits and single capitals, and the chat template."""

from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.demo.curriculum import questions
from models.demo.question import Split
from models.demo.recipe import CONTEXT_TOKENS, VOCABULARY

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TRAINING_QUESTIONS = 60_000


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Learn the merges from the training split; the same corpus gives the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    # Digits and capitals stand alone, so that sums and spelling see their parts; a capitalised word stays whole.
    apart = pre_tokenizers.Split(Regex(r"[0-9]|[A-Z](?![a-z])"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([apart, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    corpus = islice(questions(Split.TRAIN, seed="tokenizer"), TRAINING_QUESTIONS)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, USER, ASSISTANT, SYSTEM],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f"{question.prompt} {question.answer}" for question in corpus), trainer)
    unused = range(tokenizer.get_vocab_size(), VOCABULARY)
    tokenizer.add_special_tokens([f"<|unused{index}|>" for index in unused])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in `folder`."""
    return PreTrainedTokenizerFast.from_pretrained(folder)

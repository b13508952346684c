"""`smallfirst demo`: train the demo pair, and grade it (extra `engine`)."""

from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from models.demo.curriculum import distinct
from models.demo.decoding import answers, load_model, same_choices
from models.demo.grading import Graded, auroc, is_right, markdown, table
from models.demo.question import Split
from models.demo.recipe import LARGE, SMALL
from models.demo.tokenizer import load_tokenizer, train_tokenizer
from models.demo.training import train
from server.cli.console import WRONG_USE, complain
from server.logs import set_up_logs

AGREEMENT_QUESTIONS = 500


def run_train(which: Literal["small", "large", "both"], out: Path, threads: int | None, device: str) -> int:
    """Train into `out`/small and `out`/large, in Hugging Face's format, bfloat16."""
    set_up_logs()
    if threads is not None:
        torch.set_num_threads(threads)
    tokenizer = train_tokenizer()
    for recipe in (SMALL, LARGE):
        if which in (recipe.name, "both"):
            try:
                model = train(recipe, tokenizer, folder=out / "checkpoints", device=chosen(device))
            except ValueError as wrong:
                complain([str(wrong)])
                return WRONG_USE
            model.to(torch.bfloat16).save_pretrained(out / recipe.name)
            tokenizer.save_pretrained(out / recipe.name)
    return 0


def run_grade(weights: Path, questions: int, device: str) -> int:
    """Print the pair's table on the held-out split, and the figures that a cascade lives by."""
    asked = distinct(Split.HELD_OUT, questions)
    prompts = [question.prompt for question in asked]
    small, large = (load_model(weights / name, chosen(device)) for name in ("small", "large"))
    tokenizer = load_tokenizer(weights / "large")
    drafts, finals = (answers(model, tokenizer, prompts) for model in (small, large))
    graded = [
        Graded(question, is_right(question, draft.text), is_right(question, final.text), draft.mean_logprob)
        for question, draft, final in zip(asked, drafts, finals, strict=True)
    ]
    known = auroc([one.small_mean_logprob for one in graded], [one.small_right for one in graded])
    some = slice(0, AGREEMENT_QUESTIONS)
    agreement = same_choices(small, tokenizer, prompts[some], finals[some])
    console = Console(highlight=False, soft_wrap=True)
    console.print(markdown(table(graded)), markup=False)
    console.print(f"\nAUROC of the small model's mean log-probability for its own correctness: {known:.3f}")
    console.print(f"small's greedy choice is the large one's answer token (teacher-forced): {100 * agreement:.1f} %")
    return 0


def chosen(device: str) -> str:
    """`auto`: a GPU where there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"

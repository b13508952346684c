"""What the demo pair says when it is asked whether a draft is right: how well that tells right drafts from wrong ones,
beside the drafts' own log-probabilities, and what the question takes.

    vllm serve models/demo/weights/small --served-model-name small --port 8001 --dtype float32 --block-size 32
    vllm serve models/demo/weights/large --served-model-name large --port 8002 --dtype float32 --block-size 32
    python bench/demo/asked.py --small http://127.0.0.1:8001 --large http://127.0.0.1:8002
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import aiohttp

from models.demo.curriculum import distinct
from models.demo.grading import auroc, is_right
from models.demo.question import Question, Split
from models.wire import Json, JsonObject, WireReply
from router.p_true import p_true_of, p_true_request

AT_ONCE = 8
TIMED = 12
RESULT = Path(__file__).with_name("asked.json")


@dataclass(frozen=True, slots=True)
class Asked:
    """One draft of the small model: whether it is right, its least log-probability in nats, and what each model says of
    it, P(right)."""

    right: bool
    min_logprob: float
    small: float
    large: float


class Server:
    """A model of the pair, by the address of its vLLM server."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession) -> None:
        self._name = name
        self._url = url
        self._session = session

    async def says(self, body: Mapping[str, Json]) -> WireReply:
        """Its reply to a chat request."""
        async with self._session.post(
            f"{self._url}/v1/chat/completions", json={**body, "model": self._name}, raise_for_status=True
        ) as reply:
            said: WireReply = await reply.json()
            return said

    async def finds(self, asked: Mapping[str, Json], draft: str) -> float:
        """P(True) of a draft."""
        probability = p_true_of(await self.says(p_true_request(asked, draft)))
        if probability is None:
            raise SystemExit(f"{self._name} does not say whether a draft is right")
        return probability


def fields_of(prompt: str, **more: Json) -> JsonObject:
    """A greedy chat request."""
    return {"messages": [{"role": "user", "content": prompt}], "temperature": 0, **more}


def text_of(reply: WireReply) -> str:
    """What it says."""
    return reply["choices"][0]["message"].get("content") or ""


async def ask(question: Question, small: Server, large: Server, places: asyncio.Semaphore) -> Asked:
    """One question's draft, and what is said of it."""
    async with places:
        fields = fields_of(question.prompt)
        reply = await small.says({**fields, "max_tokens": 120, "logprobs": True})
        text, tokens = text_of(reply), (reply["choices"][0].get("logprobs") or {}).get("content") or ()
        return Asked(
            is_right(question, text),
            min(token["logprob"] for token in tokens),
            await small.finds(fields, text),
            await large.finds(fields, text),
        )


async def timed(large: Server) -> tuple[float, float]:
    """Median seconds of a draft of 100 tokens on a prompt of 500, and of the question about it; one at a time."""
    drafts, questions = list[float](), list[float]()
    for number in range(TIMED):
        fields = fields_of(f"{number} " + "the quick brown fox " * 60)
        began_s = time.perf_counter()
        text = text_of(await large.says({**fields, "max_tokens": 100, "ignore_eos": True}))
        drafted_s = time.perf_counter()
        await large.finds(fields, text)
        drafts.append(drafted_s - began_s)
        questions.append(time.perf_counter() - drafted_s)
    return median(drafts), median(questions)


def told(asked: Sequence[Asked], draft_s: float, question_s: float) -> dict[str, float]:
    """The numbers."""
    right = [one.right for one in asked]
    scores = {name: auroc([asdict(one)[name] for one in asked], right) for name in ("min_logprob", "small", "large")}
    return {
        "questions": len(asked), "right": sum(right) / len(right), "draft_s": draft_s, "question_s": question_s,
        **{f"auroc_{name}": score for name, score in scores.items()},
    }  # fmt: skip


async def run(small_url: str, large_url: str, wanted: int) -> dict[str, float]:
    """All of it."""
    places = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session:
        small, large = Server("small", small_url, session), Server("large", large_url, session)
        questions = distinct(Split.HELD_OUT, wanted)
        asked = await asyncio.gather(*(ask(question, small, large, places) for question in questions))
        return told(asked, *await timed(large))


def main() -> None:
    """Ask, print and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", required=True, help="the small model's server")
    parser.add_argument("--large", required=True, help="the large model's server")
    parser.add_argument("--questions", type=int, default=800)
    options = parser.parse_args()
    numbers = asyncio.run(run(options.small, options.large, options.questions))
    text = json.dumps({name: round(value, 4) for name, value in numbers.items()}, indent=2)
    print(text)
    RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

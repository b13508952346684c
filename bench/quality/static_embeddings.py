"""An embeddings server without a neural network: the mean of WordLlama's 256 numbers for each token of a text.

pip install wordllama && python bench/quality/static_embeddings.py --port 8100
"""

import argparse
from pathlib import Path

import numpy as np
import wordllama
from aiohttp import web
from safetensors.numpy import load_file
from tokenizers import Tokenizer

MODEL = "wordllama-l2-supercat-256"


class Embedder:
    """The weights that come with the package."""

    def __init__(self) -> None:
        folder = Path(wordllama.__file__).parent
        (weights,) = load_file(folder / "weights/l2_supercat_256.safetensors").values()
        self._weights = weights.astype(np.float32)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))

    async def answer(self, request: web.Request) -> web.Response:
        """`/v1/embeddings` of one text."""
        text = (await request.json())["input"]
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids or [0]
        embedding = [round(float(value), 6) for value in self._weights[ids].mean(axis=0)]
        data = [{"index": 0, "object": "embedding", "embedding": embedding}]
        usage = {"prompt_tokens": len(ids), "total_tokens": len(ids)}
        return web.json_response({"object": "list", "model": MODEL, "data": data, "usage": usage})


def main() -> None:
    """Serve until stopped."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--port", type=int, default=8100)
    app = web.Application()
    app.router.add_post("/v1/embeddings", Embedder().answer)
    web.run_app(app, host="127.0.0.1", port=arguments.parse_args().port)


if __name__ == "__main__":
    main()

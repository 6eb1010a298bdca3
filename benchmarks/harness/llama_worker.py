"""llama.cpp with its own quantized weights: `python llama_worker.py GGUF THREADS`.

One request after the other: its Python binding holds one lock. Equal beginnings are read once.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from llama_cpp import Llama


def answer(model: Llama, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to one question."""
    guided = {"type": "json_object", "schema": asked["json_schema"]}
    reply: Any = model.create_chat_completion(
        messages=asked["messages"],
        max_tokens=asked["max_tokens"],
        temperature=0.0,
        response_format=guided if asked["json_schema"] else None,
    )
    return {
        "text": reply["choices"][0]["message"]["content"],
        "tokens": reply["usage"]["completion_tokens"],
    }


def main() -> None:
    """Answer line by line until there is none."""
    gguf, threads = sys.argv[1:]
    model = Llama(
        gguf, n_ctx=2048, n_threads=int(threads), n_threads_batch=int(threads), verbose=False
    )
    for line in sys.stdin:
        print(json.dumps([answer(model, asked) for asked in json.loads(line)]), flush=True)


if __name__ == "__main__":
    main()

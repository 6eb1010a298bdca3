from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from transformers import AutoModelForCausalLM, AutoTokenizer

from conduit_nb.testing.tiny_models import VOCAB_SIZE, make_tiny_model, make_tiny_tokenizer


def test_a_tiny_model_has_the_files_of_a_real_one(tmp_path: Path):
    folder = make_tiny_model(tmp_path, family="qwen2", context_tokens=77)
    config = json.loads((folder / "config.json").read_text())

    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        path.name for path in folder.iterdir()
    }
    assert (config["model_type"], config["max_position_embeddings"]) == ("qwen2", 77)
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == VOCAB_SIZE
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_the_same_seed_is_the_same_model_and_another_is_not(tmp_path: Path):
    weights = [
        (make_tiny_model(tmp_path / str(at), seed=seed) / "model.safetensors").read_bytes()
        for at, seed in enumerate([1, 1, 2])
    ]

    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.parametrize("text", ["hello", "Zwölf 日本語 🎉", '{"a":[1,2]}', " two  spaces\n", ""])
def test_the_tokenizer_gives_back_every_text(text: str):
    tokenizer = make_tiny_tokenizer()

    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_tokenizer_knows_chat_turns_and_comes_back_from_its_file(tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path))

    turns = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )

    assert turns == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.encode(turns)[0] == tokenizer.bos_token_id
    assert len(tokenizer) < VOCAB_SIZE

"""Model folders of a few bytes: the files that a model consists of, and no model in them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 128,
    "vocab_size": 64,
}


def safetensors_bytes(numbers: int = 4) -> bytes:
    """Return a safetensors file with one tensor of float32 zeros."""
    size = numbers * 4
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "weight": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, size]},
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def model_bytes() -> dict[str, bytes]:
    """Return the files of a whole model by name."""
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": safetensors_bytes(),
    }


def write_model(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write `files` (a whole model) into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (model_bytes() if files is None else files).items():
        (folder / name).write_bytes(content)
    return folder


def gguf_header(version: int = 3) -> bytes:
    """Return the beginning of a GGUF file that promises what does not follow."""
    return b"GGUF" + struct.pack("<IQQ", version, 5, 5)

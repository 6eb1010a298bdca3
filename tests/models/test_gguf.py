"""models/gguf.py: what GGUF files hold, and what llama.cpp's mixtures make of a model."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError, ModelFilesError
from conduit_nb.models.gguf import gguf_tensors, mixed
from conduit_nb.models.layouts import tensors_of
from tests.models.published import spec_named

GIB = 2**30


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def field(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, 0)


def write(path: Path, fields: list[bytes], tensors: list[bytes], version: int = 3) -> Path:
    counts = struct.pack("<IQQ", version, len(tensors), len(fields))
    path.write_bytes(b"GGUF" + counts + b"".join(fields) + b"".join(tensors))
    return path


def test_a_header_says_the_bytes_of_each_tensor_under_the_usual_names(tmp_path):
    array = struct.pack("<IQ", 8, 2) + text("one") + text("two")
    path = write(
        tmp_path / "m.gguf",
        [
            field("general.architecture", 8, text("llama")),
            field("llama.block_count", 4, struct.pack("<I", 2)),
            field("tokenizer.ggml.tokens", 9, array),
            field("tokenizer.ggml.scores", 9, struct.pack("<IQ2f", 6, 2, 0.0, 1.0)),
        ],
        [
            tensor("token_embd.weight", (256, 1000), 12),
            tensor("blk.1.attn_v.weight", (256, 64), 14),
            tensor("output_norm.weight", (256,), 0),
        ],
    )

    found = {part.name: part.bytes_in("float32") for part in gguf_tensors(path)}

    assert found == {
        "model.embed_tokens.weight": 1000 * 144,
        "model.layers.1.self_attn.v_proj.weight": 64 * 210,
        "model.norm.weight": 1024,
    }


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"GGML" + bytes(20), type(None)),  # no GGUF at all
        (b"GGUF" + struct.pack("<I", 9), type(None)),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1), struct.error),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 60), struct.error),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path, content, cause):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"m\.gguf") as caught:
        gguf_tensors(path)

    assert isinstance(caught.value.__cause__, cause)
    assert ("GGUF" in str(caught.value)) == (cause is type(None))


def test_a_type_that_is_not_known_is_refused(tmp_path):
    path = write(tmp_path / "m.gguf", [], [tensor("output.weight", (32,), 99)])

    with pytest.raises(ModelFilesError, match=r"'output\.weight'.*\b99\b"):
        gguf_tensors(path)


# "model size" in the log of llama.cpp for Llama 3.1 8B, and the sizes of its published files.
@pytest.mark.parametrize(
    ("level", "gib"),
    [("Q4_K_M", 4.58), ("Q5_K_M", 5.33), ("Q6_K", 6.14), ("Q8_0", 7.95), ("F16", 14.96)],
)
def test_a_mixture_of_llama_is_as_large_as_its_published_file(level, gib):
    spec = spec_named("Llama-3.1-8B-Instruct")

    parts = mixed(tensors_of(spec), level, layers=spec.layers)

    assert sum(part.bytes_in("float32") for part in parts) / GIB == pytest.approx(gib, rel=0.005)


def test_a_mixture_that_is_not_known_is_refused():
    with pytest.raises(ArgumentError, match="'Q9'") as caught:
        mixed((), "Q9", layers=1)

    assert caught.value.param == "level"

"""The blocks that users name: one for each runtime, and nothing but the runtime differs.

Layer 3.
"""

from __future__ import annotations

from typing import ClassVar

from conduit_nb.blocks.llm import LlmBlock


class LMLiteBlock(LlmBlock):
    """Language models in LmLite, Conduit's own runtime; see LlmBlock for all it can do.

    On this machine they run in the server beside the kernel that all notebooks share.
    """

    runtime: ClassVar[str] = "lmlite"


class VllmBlock(LlmBlock):
    """Language models in vLLM, one server for each; see LlmBlock for all it can do."""

    runtime: ClassVar[str] = "vllm"


class TensorRtBlock(LlmBlock):
    """Language models in TensorRT-LLM (`trtllm-serve`), one server for each; see LlmBlock."""

    runtime: ClassVar[str] = "tensorrt"


class CustomBlock(LlmBlock):
    """Language models in an image of one's own that speaks OpenAI's API: `image=`, `command=`.

    What runs already needs no image: give `endpoint=` to any of these blocks.
    """

    runtime: ClassVar[str] = "custom"


NAMED: dict[str, type[LlmBlock]] = {
    block.runtime: block for block in (LMLiteBlock, VllmBlock, TensorRtBlock, CustomBlock)
}


def block_type(runtime: str) -> type[LlmBlock]:
    """Return the block of that runtime; one that a package has registered has none of its own."""
    if runtime in NAMED:
        return NAMED[runtime]
    return type(f"LlmBlock[{runtime}]", (LlmBlock,), {"runtime": runtime})

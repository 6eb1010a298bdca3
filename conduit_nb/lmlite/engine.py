"""One model that writes many replies at once.

Layer 3.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.request import GenerationDelta, GenerationRequest
from conduit_nb.protocol import Message


class Engine:
    """A loaded model and the thread that steps it."""

    context_tokens: int
    device: str
    dtype: str

    @property
    def running(self) -> int:
        """Requests that hold a row of the batch now."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Requests that wait for a row."""
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, config: EngineConfig) -> Engine:
        """Load the model in `folder`; takes seconds, so call it in a worker thread.

        Raises ModelFilesError where the folder is broken, ModelError where the model is of a kind
        that cannot be served.
        """
        raise NotImplementedError

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt's tokens, by the model's chat template. Thread-safe."""
        raise NotImplementedError

    def check_grammar(self, json_schema: Mapping[str, Any]) -> None:
        """Raise RequestRefusedError, naming the keyword, where no grammar can be made of it."""
        raise NotImplementedError

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationDelta, None]:
        """Yield the reply piece by piece; closing the iterator frees the row.

        Raises ContextLengthError where the prompt leaves no room, RequestRefusedError where the
        schema cannot be served, ServerFailedError where the engine failed or was closed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the thread; requests still open fail. Idempotent, blocks until the step is done."""
        raise NotImplementedError

"""Messages to prompt tokens, by the model's own template.

Text that a user or a row brings is text only: where it spells one of the model's control tokens
(`<|im_end|>`), it is read as the letters it is, and cannot end its turn or begin another's.
Layer 3.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from conduit_nb.errors import ModelError, RequestRefusedError
from conduit_nb.protocol import Message


class ChatTemplate:
    """The template and the tokenizer of one model. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        # transformers types its tokenizers in part only.
        self._tokenizer = tokenizer
        self._fast: Tokenizer = tokenizer.backend_tokenizer
        self._plain = Tokenizer.from_str(self._fast.to_str())
        self._plain.encode_special_tokens = True  # the library's word for: read them as text
        self._control = [
            token.content
            for token in self._fast.get_added_tokens_decoder().values()
            if token.special
        ]
        self._longest_token = max(map(len, self._fast.get_vocab()))

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt as text.

        Raises ModelError where the model has no template, RequestRefusedError where the template
        refuses the messages.
        """
        if not self._tokenizer.chat_template:
            raise ModelError(
                "The model has no chat template: it was not made for messages.",
                hint="Choose an instruct or chat version of the model.",
            )
        try:
            return self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
        except TemplateError as err:
            raise RequestRefusedError(
                f"The model's chat template refuses the messages: {err}",
                hint="Check the order and the roles of the messages.",
            ) from err

    def least_tokens(self, text: str) -> int:
        """Return a number of tokens that `text` has in any case; costs nothing."""
        return len(text) // self._longest_token

    def encode(self, messages: Sequence[Message], text: str) -> list[int]:
        """Return the tokens of `text`, which is what `render` made of `messages`."""
        if not any(token in one["content"] for one in messages for token in self._control):
            return self._fast.encode(text, add_special_tokens=False).ids
        marks = [f"conduit{secrets.token_hex(16)}" for _ in messages]
        rest = self.render(
            [
                Message(role=one["role"], content=mark)
                for one, mark in zip(messages, marks, strict=True)
            ]
        )
        tokens: list[int] = []
        for one, mark in zip(messages, marks, strict=True):
            before, found, rest = rest.partition(mark)
            tokens += self._fast.encode(before, add_special_tokens=False).ids
            if not found:
                raise RequestRefusedError(
                    "A message holds a control token of the model, and the model's chat template"
                    " does not show where that message stands.",
                    hint="Take the control token out of the text.",
                )
            tokens += self._plain.encode(one["content"], add_special_tokens=False).ids
        return tokens + self._fast.encode(rest, add_special_tokens=False).ids

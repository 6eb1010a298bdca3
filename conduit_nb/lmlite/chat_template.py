"""Messages to prompt tokens, by the model's own template.

Text that a user or a row brings is text only: where it spells one of the model's control tokens
(`<|im_end|>`), it is read as the letters it is, and cannot end its turn or begin another's.

Functions are shown to the model by its template, where that knows them and writes calls in a form
that is known here; else by a text in the system message, and calls and results as text.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from jinja2 import TemplateError
from tokenizers import Tokenizer

from conduit_nb.errors import ModelError, RequestRefusedError
from conduit_nb.lmlite.messages import ChatMessage, PromptOptions
from conduit_nb.lmlite.tool_calls import BARE, TAGGED, CallFormat

DEFAULT = PromptOptions()
# What a template may raise at values that it did not expect.
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
_PROBE_NAME = "conduit_probe"
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": _PROBE_NAME,
        "description": "d",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}


class ChatTemplate:
    """The template and the tokenizer of one model. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        # transformers types its tokenizers in part only.
        self._tokenizer = tokenizer
        self._fast: Tokenizer = tokenizer.backend_tokenizer
        self._plain = Tokenizer.from_str(self._fast.to_str())
        self._plain.encode_special_tokens = True  # the library's word for: read them as text
        control = [
            token.content
            for token in self._fast.get_added_tokens_decoder().values()
            if token.special and token.content
        ]
        # The longest first, as one may begin another.
        self._control = re.compile(
            "|".join(map(re.escape, sorted(control, key=len, reverse=True))) or r"(?!)"
        )
        self._longest_token = max(map(len, self._fast.get_vocab()))
        self._own_format = self._find_format()

    @property
    def call_format(self) -> CallFormat:
        """How this model writes calls: as it was trained to, else as the prompt teaches it."""
        return self._own_format or TAGGED

    def render(
        self, messages: Sequence[Mapping[str, Any]], options: PromptOptions = DEFAULT
    ) -> str:
        """Return the prompt as text.

        Raises ModelError where the model has no template, RequestRefusedError where the template
        refuses the messages.
        """
        if not self._tokenizer.chat_template:
            raise ModelError(
                "The model has no chat_template: it was not made for messages.",
                hint="Choose an instruct or chat version of the model.",
            )
        try:
            return self._rendered(messages, options)
        except TEMPLATE_ERRORS as err:
            raise RequestRefusedError(
                f"The model's chat template refuses the messages: {str(err)[:300]}",
                param="messages",
                hint="Check the order and the roles of the messages.",
            ) from err

    def min_tokens(self, text: str) -> int:
        """Return a number of tokens that `text` has in any case; costs nothing."""
        return len(text) // self._longest_token

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        text: str,
        options: PromptOptions = DEFAULT,
    ) -> list[int]:
        """Return the tokens of `text`, which is what `render` made of the rest."""
        marks = _Marks(self._control)
        marked = [cast("dict[str, Any]", marks.put_into(dict(message))) for message in messages]
        tools = tuple(cast("dict[str, Any]", marks.put_into(tool)) for tool in options.tools)
        template_kwargs = cast("dict[str, Any]", marks.put_into(dict(options.template_kwargs)))
        if not marks.texts:
            return self._fast.encode(text, add_special_tokens=False).ids
        rest = self.render(marked, options.with_texts(tools, template_kwargs))
        tokens: list[int] = []
        found: set[int] = set()
        for index, piece in enumerate(marks.pattern.split(rest)):
            if index % 2:
                number = int(piece)
                found.add(number)
                tokens += self._plain.encode(marks.texts[number], add_special_tokens=False).ids
            elif piece:
                tokens += self._fast.encode(piece, add_special_tokens=False).ids
        if len(found) < len(marks.texts):
            hidden = next(text for index, text in enumerate(marks.texts) if index not in found)
            raise RequestRefusedError(
                f"A message holds {hidden!r}, a control token of the model, and the model's chat"
                " template does not show where that message stands.",
                param="messages",
                hint="Take the control token out of the text.",
            )
        return tokens

    def _rendered(self, messages: Sequence[Mapping[str, Any]], options: PromptOptions) -> str:
        shown = [dict(message) for message in messages]
        tools = list(options.tools)
        others = {**options.template_kwargs}
        if self._own_format is None:
            shown = _as_text(shown)
            if tools:
                return self._with_tool_instructions(shown, tools, options, others)
        return self._applied(shown, options, {**others, **({"tools": tools} if tools else {})})

    def _with_tool_instructions(
        self,
        messages: list[ChatMessage],
        tools: Sequence[Mapping[str, Any]],
        options: PromptOptions,
        others: dict[str, Any],
    ) -> str:
        """Render with the functions in the system message, else in the first of the user."""
        instructions = _tool_instructions(tools)
        try:
            return self._applied(_with_system(messages, instructions), options, others)
        except TEMPLATE_ERRORS:
            if messages[0]["role"] == "system":
                raise
        return self._applied(_with_first(messages, instructions), options, others)

    def _applied(
        self, messages: list[ChatMessage], options: PromptOptions, others: dict[str, Any]
    ) -> str:
        text: str = self._tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=options.add_generation_prompt,
            continue_final_message=options.continue_final_message,
            **others,
        )
        return text + options.reply_begin

    def _find_format(self) -> CallFormat | None:
        """Return the form of calls that the template writes by itself; None where it is another."""
        if not self._tokenizer.chat_template:
            return None
        call = {"type": "function", "function": {"name": _PROBE_NAME, "arguments": {"a": 1}}}
        chat: list[ChatMessage] = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "", "tool_calls": [{**call, "id": "call00001"}]},
            {"role": "tool", "content": "y", "tool_call_id": "call00001", "name": _PROBE_NAME},
        ]
        try:
            text = self._applied(chat, DEFAULT, {"tools": [_PROBE_TOOL]})
        except TEMPLATE_ERRORS:
            return None
        if text.count(_PROBE_NAME) < 2:  # shown once, and called once
            return None
        return next(
            (form for form in (TAGGED, BARE) if f'{form.head(_PROBE_NAME)}{{"a": 1}}' in text), None
        )


class _Marks:
    """Stand in for control tokens in texts, while a template is applied to these."""

    def __init__(self, control: re.Pattern[str]) -> None:
        self._control = control
        self._secret = secrets.token_hex(16)
        self.pattern = re.compile(rf"conduit{self._secret}n([0-9]+)z")
        self.texts: list[str] = []

    def put_into(self, value: object) -> object:
        """Return `value` with a mark for each control token in its texts."""
        match value:
            case str():
                return self._control.sub(self._mark, value)
            case dict():
                entries = cast("dict[object, object]", value)
                return {self.put_into(key): self.put_into(one) for key, one in entries.items()}
            case list() | tuple():
                return [self.put_into(one) for one in cast("Sequence[object]", value)]
            case _:
                return value

    def _mark(self, found: re.Match[str]) -> str:
        self.texts.append(found[0])
        return f"conduit{self._secret}n{len(self.texts) - 1}z"


def _as_text(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return messages without calls and results: these as texts of the assistant and the user."""
    shown: list[ChatMessage] = []
    is_result = False
    for message in messages:
        if message["role"] == "tool":
            result = f"<tool_response>\n{message['content']}\n</tool_response>"
            if is_result:
                shown[-1]["content"] += f"\n{result}"
            else:
                shown.append({"role": "user", "content": result})
            is_result = True
            continue
        is_result = False
        calls = cast("list[dict[str, Any]]", message.get("tool_calls") or [])
        texts = [message["content"]] if message["content"] or not calls else []
        texts += [_call_text(call["function"]) for call in calls]
        kept = {key: value for key, value in message.items() if key != "tool_calls"}
        shown.append({**kept, "content": "\n".join(texts)})
    return shown


def _call_text(function: Mapping[str, Any]) -> str:
    arguments: object = function["arguments"]
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"{TAGGED.head(function['name'])}{written}{TAGGED.end}"


def _tool_instructions(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return the text that shows functions to a model whose template does not."""
    listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    example = f'{TAGGED.begin}NAME{TAGGED.middle}{{"PARAMETER": VALUE}}{TAGGED.end}'
    return (
        f"You may call functions. These are the functions, one per line:\n{listed}\n\n"
        f"To call a function, write only this, with its name and its arguments as JSON:\n{example}"
    )


def _with_system(messages: list[ChatMessage], text: str) -> list[ChatMessage]:
    first, *rest = messages
    if first["role"] == "system":
        return [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
    return [{"role": "system", "content": text}, *messages]


def _with_first(messages: list[ChatMessage], text: str) -> list[ChatMessage]:
    first, *rest = messages
    return [{**first, "content": f"{text}\n\n{first['content']}"}, *rest]

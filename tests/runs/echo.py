"""A block whose answers a test directs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from conduit_nb.blocks.base import Block, Call
from conduit_nb.errors import BootError, ContextLengthError, ReplyError


@dataclass
class Word:
    text: str


class Echo(Block[Word, Word]):
    """Answers in capitals; "bad", "long" and "no server" fail, "wait…" waits for `go_on`."""

    def __init__(self) -> None:
        super().__init__(Word, Word)
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.at_once = 0
        self.max_at_once = 0
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)

    async def _run(self, record: Word, call: Call) -> Word:
        self.begun.append(record.text)
        self.at_once += 1
        self.max_at_once = max(self.max_at_once, self.at_once)
        try:
            if record.text.startswith("wait"):
                self.waiting.release()
                await self.go_on.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(record.text)
            raise
        finally:
            self.at_once -= 1
        call.tokens_used(model="echo", prompt_tokens=2, completion_tokens=1)
        match record.text:
            case "bad":
                raise ReplyError("That was bad.")
            case "long":
                raise ContextLengthError("That was long.")
            case "no server":
                raise BootError("It did not start.")
        return Word(record.text.upper())


def words(*texts: str) -> list[Word]:
    return [Word(text) for text in texts]

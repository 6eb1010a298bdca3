# pyright: strict
"""What both type checkers must accept. Read by them only, never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar, assert_type

from conduit_nb import (
    Block,
    CommandResult,
    ComputeProvider,
    ConduitError,
    DetailedAnswer,
    FileReadResult,
    FileSystemReadBlock,
    FileSystemWriteBlock,
    FileWriteResult,
    HttpGetBlock,
    HttpPostBlock,
    HttpResult,
    LlmTask,
    LMLiteBlock,
    LmLiteModelConfig,
    Partial,
    Pipeline,
    Sqlite3Block,
    SqlResult,
    SystemCommandBlock,
)

T = TypeVar("T")


@dataclass
class Command:
    shell_command: str


@dataclass(frozen=True)
class FrozenCommand:
    shell_command: str


@dataclass
class Query:
    sql_command: str


@dataclass
class Text:
    file_content: str


@dataclass
class Raw:
    file_content: bytes


@dataclass
class Listing:
    listing: str


@dataclass
class File:
    name: str
    bytes: int


@dataclass
class Files:
    files: list[File]


@dataclass
class NamedFiles(Files):
    title: str


@dataclass
class Page(Generic[T]):
    items: list[T]


command = SystemCommandBlock(Command, timeout_seconds=5)
frozen_command = SystemCommandBlock(FrozenCommand, "sh", 5, "folder", {"A": "b"}, trusted=True)
query = Sqlite3Block(Query, database_url=":memory:", schema_file=None)
write = FileSystemWriteBlock(Text, "out.txt", "w")
write_raw = FileSystemWriteBlock(Raw, "out.bin", "wb")
read = FileSystemReadBlock("in.txt", "r")
get = HttpGetBlock("http://127.0.0.1/", headers={"A": "b"})
post = HttpPostBlock(Listing, "http://127.0.0.1/", headers=None)
llm = LMLiteBlock(
    models=[LmLiteModelConfig("m", max_model_len=5000, max_model_concurrency=1)],
    compute_provider=ComputeProvider.LOCAL,
)
elsewhere = LMLiteBlock([LmLiteModelConfig("m")], endpoint="http://127.0.0.1/", api_key_env="KEY")

assert_type(command(Command(shell_command="ls")), CommandResult)
assert_type(query(Query(sql_command="SELECT 1")), SqlResult)
assert_type(write(Text(file_content="a")), FileWriteResult)
assert_type(read(), FileReadResult)
assert_type(get(), HttpResult)
assert_type(post(Listing(listing="a")), HttpResult)

assert_type(llm(model_id="m", input=Listing(listing="a"), output=Files), Files)
assert_type(llm(input=Listing(listing="a"), output=Page[File]), Page[File])
assert_type(llm(messages=[{"role": "user", "content": "Hello?"}]), str)
assert_type(llm.batch([Listing(listing="a")], output=Files), list[Files | ConduitError])
for text in llm.stream(messages=[{"role": "user", "content": "Hello?"}]):
    assert_type(text, str)
for item in llm.stream(input=Listing(listing="a"), output=Files, guidance="Be brief."):
    assert_type(item, Partial[Files] | Files)
    shown: object = item.files

task = llm.task(Listing, Files, guidance="List.", examples=[(Listing("a"), Files(files=[]))])
assert_type(task, LlmTask[Listing, Files])
assert_type(task(Listing(listing="a")), Files)
assert_type(task.batch([Listing(listing="a")]), list[Files | ConduitError])
assert_type(task.input_type, type[Listing])
assert_type(task.detailed(Listing(listing="a")), DetailedAnswer[Files])
assert_type(task.detailed(Listing(listing="a")).record, Files)
details = task.detailed.batch([Listing(listing="a")])
assert_type(details, list[DetailedAnswer[Files] | ConduitError])
kept = llm(input=Listing(listing="a"), output=Files, on_length="keep")
assert_type(kept, Files)

count = llm.task(Files, Page[int])
name = llm.task(Listing, NamedFiles)
ask = llm.task(CommandResult, Command)
assert_type(task >> count, Pipeline[Listing, Page[int]])
assert_type((task >> count)(Listing(listing="a")), Page[int])
assert_type(name >> count, Pipeline[Listing, Page[int]])
assert_type(get >> llm.task(HttpResult, Listing) >> task, Pipeline[None, Files])
assert_type((get >> llm.task(HttpResult, Listing) >> task)(), Files)
assert_type(frozen_command >> ask, Pipeline[FrozenCommand, Command])
assert_type(ask >> (command >> ask), Pipeline[CommandResult, Command])

wider: Block[NamedFiles, Page[int]] = count
whatever: Block[Listing, object] = task


async def awaited() -> None:
    assert_type(await task.run(Listing(listing="a")), Files)

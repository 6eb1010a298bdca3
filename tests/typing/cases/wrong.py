# pyright: strict
"""What both type checkers must flag: every line that ends in `# wrong`, and no other."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb import (
    Block,
    CommandResult,
    FileSystemReadBlock,
    FileSystemWriteBlock,
    HttpGetBlock,
    HttpPostBlock,
    HttpResult,
    LMLiteBlock,
    LmLiteModelConfig,
    Sqlite3Block,
    SystemCommandBlock,
)


@dataclass
class Command:
    shell_command: str


@dataclass
class Words:
    shell_command: list[str]


@dataclass
class Listing:
    listing: str


@dataclass
class Files:
    files: list[str]


@dataclass
class NamedFiles(Files):
    title: str


llm = LMLiteBlock(models=[LmLiteModelConfig("m")])
command = SystemCommandBlock(Command)
task = llm.task(Listing, Files)
back = llm.task(Files, Listing)
picky = llm.task(NamedFiles, Listing)
get = HttpGetBlock("http://127.0.0.1/")

# Chains whose ends do not meet
chain_1 = task >> task  # wrong
chain_2 = command >> task  # wrong
chain_3 = task >> picky  # wrong
chain_4 = (task >> back) >> back  # wrong
chain_5 = task >> (task >> back)  # wrong
chain_6 = task >> get  # wrong
chain_7 = get >> task  # wrong
chain_8 = task >> llm  # wrong
chain_9 = task >> (lambda files: files)  # wrong
chain_10 = task >> HttpPostBlock(Listing, "http://127.0.0.1/")  # wrong

# Records that are not what the block takes
record_1 = task(Files(files=[]))  # wrong
record_2 = task()  # wrong
record_3 = get(Listing(listing="a"))  # wrong
record_4 = command("ls")  # wrong
record_5 = (task >> back)(Files(files=[]))  # wrong
record_6 = task.batch([Files(files=[])])  # wrong

# Answers that are not what the block gives
answer_1: Listing = task(Listing(listing="a"))  # wrong
answer_2: CommandResult = get()  # wrong
answer_3: Files = llm(messages=[{"role": "user", "content": "a"}])  # wrong
answer_4: str = llm(input=Listing(listing="a"), output=Files)  # wrong
answer_5: list[Files] = llm.batch([Listing(listing="a")], output=Files)  # wrong
answer_6: Block[Files, Files] = task  # wrong
answer_7: Block[Listing, NamedFiles] = task  # wrong

# Blocks made of what they cannot work with
made_1 = SystemCommandBlock(Listing)  # wrong
made_2 = SystemCommandBlock(Words)  # wrong
made_3 = Sqlite3Block(Command)  # wrong
made_4 = FileSystemWriteBlock(Listing, "out.txt")  # wrong
made_5 = HttpGetBlock(5)  # wrong
made_6 = FileSystemReadBlock()  # wrong
made_7 = LMLiteBlock(models=[7])  # wrong
made_8 = SystemCommandBlock(Command, timeout_seconds="5")  # wrong

# Calls that cannot be meant
call_1 = llm(input=Listing(listing="a"))  # wrong
call_2 = llm(messages=[{"role": "robot", "content": "a"}])  # wrong
call_3 = llm(messages=[{"role": "user", "content": "a"}], output=Files)  # wrong
call_4 = llm.task(Listing, Files, temprature=1)  # wrong
call_6 = llm.task(Listing, Files, on_length="keeps")  # wrong
call_5 = llm.stream(input=Listing(listing="a"), output=HttpResult(True, 1, "", None))  # wrong

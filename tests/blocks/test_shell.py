from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import pytest

from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.records import CommandResult
from conduit_nb.blocks.shell import MARK_VARIABLE, SystemCommandBlock, end_all, end_group
from conduit_nb.errors import ArgumentError, SchemaError
from tests.loop_host import LoopHost


@dataclass
class Command:
    shell_command: str


def run(command: str, **options: object) -> CommandResult:
    block = SystemCommandBlock(Command, **options)  # type: ignore[arg-type]  # for brevity's sake
    return block(Command(shell_command=command))


def processes_with(text: str) -> list[psutil.Process]:
    """Return the processes that have `text` on their command line, those of this test aside."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if text in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_there(text: str) -> None:
    """Wait until a process has `text` on its command line."""
    until = time.monotonic() + 20
    while not processes_with(text):
        assert time.monotonic() < until, f"{text} was never started"
        threading.Event().wait(0.01)


def test_a_command_that_works(host: LoopHost):
    result = run("echo out; echo err >&2")

    assert result == CommandResult(
        success=True,
        command="echo out; echo err >&2",
        return_code=0,
        stdout="out\n",
        stderr="err\n",
        reason=None,
        syntax_ok=True,
    )


def test_a_command_that_fails_says_so(host: LoopHost):
    result = run("echo before; exit 3")

    assert (result.success, result.return_code) == (False, 3)
    assert "3" in (result.reason or "")
    assert result.stdout == "before\n"


def test_a_command_that_is_killed_names_the_signal(host: LoopHost):
    result = run("kill -SEGV $$")

    assert result.return_code == -signal.SIGSEGV
    assert "SIGSEGV" in (result.reason or "")


def test_a_command_whose_syntax_is_wrong_is_not_run(host: LoopHost, tmp_path: Path):
    result = run("touch made; if then", cwd=tmp_path)

    assert (result.success, result.syntax_ok, result.return_code) == (False, False, None)
    assert "syntax" in (result.reason or "")
    assert not list(tmp_path.iterdir())


def test_output_that_is_no_utf8_is_no_error(host: LoopHost):
    result = run(r"printf 'a\xffb'")

    assert (result.success, result.stdout) == (True, "a\ufffdb")


def test_folder_environment_and_shell_are_the_ones_given(host: LoopHost, tmp_path: Path):
    result = run("pwd; echo $COLOUR$HOME; echo $0", shell="sh", cwd=tmp_path, env={"COLOUR": "red"})

    assert result.stdout == f"{tmp_path}\nred\nsh\n"


def test_a_command_finds_the_users_environment_without_keys(
    host: LoopHost, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLOUR", "red")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_SECRET")

    assert run("echo $COLOUR$RUNPOD_API_KEY").stdout == "red\n"
    assert "SECRET" not in run("env").stdout
    given = run("echo $RUNPOD_API_KEY", env={"RUNPOD_API_KEY": "asked for"})
    assert given.stdout == "asked for\n"


def test_a_command_reads_nothing_from_the_keyboard(host: LoopHost):
    assert run("cat; echo done", timeout_seconds=10).stdout == "done\n"


def test_a_folder_that_is_gone_is_a_failure_that_names_it(host: LoopHost, tmp_path: Path):
    result = run("true", cwd=tmp_path / "gone")

    assert (result.success, result.return_code) == (False, None)
    assert str(tmp_path / "gone") in (result.reason or "")


@pytest.mark.parametrize("command", ["echo a\0b", "echo " + "x" * 10_000_000], ids=["nul", "10MB"])
def test_a_command_that_cannot_be_started_is_a_failure(host: LoopHost, command: str):
    result = run(command)

    assert (result.success, result.syntax_ok, result.return_code) == (False, True, None)
    assert result.reason


def test_a_timeout_ends_the_command_and_keeps_what_it_said(host: LoopHost):
    started = time.monotonic()

    result = run("echo begun; sleep 60", timeout_seconds=0.3)

    assert time.monotonic() - started < 20
    assert (result.success, result.return_code, result.stdout) == (False, None, "begun\n")
    assert "0.3 s" in (result.reason or "")


@pytest.mark.parametrize(
    "command",
    [
        "sleep 7001 & sleep 7001",
        "(sleep 7001; true) | cat",
        "setsid sleep 7001; true",
        "setsid -f sleep 7001; setsid -f setsid -f sleep 7001; sleep 7001",
        "env -i setsid sleep 7001; true",
        "trap '' TERM INT HUP; nohup sleep 7001; true",
    ],
)
def test_a_timeout_ends_everything_that_was_started(host: LoopHost, command: str):
    run(command, timeout_seconds=0.5)

    assert not processes_with("sleep 7001")


def test_what_a_command_leaves_in_the_background_is_ended_and_does_not_hold_it_up(host: LoopHost):
    started = time.monotonic()

    result = run("sleep 7002 & setsid -f sleep 7002; echo done")

    assert time.monotonic() - started < 30
    assert (result.success, result.stdout) == (True, "done\n")
    assert not processes_with("sleep 7002")


def test_output_beyond_the_limit_is_not_kept_and_the_command_goes_on(
    host: LoopHost, tmp_path: Path
):
    result = run("head -c 3000000 /dev/zero; touch made", cwd=tmp_path, max_output_bytes=1000)

    assert len(result.stdout) == 1000
    assert (result.success, result.return_code) == (False, 0)
    assert "max_output_bytes=1000" in (result.reason or "")
    assert (tmp_path / "made").exists()


async def test_cancelling_ends_the_command(host: LoopHost):
    with use_host(host):
        block = SystemCommandBlock(Command)
        command = Command(shell_command="setsid -f sleep 7003; sleep 7003")
        task = asyncio.create_task(block.run(command))
        await asyncio.to_thread(wait_until_there, "sleep 7003")

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert not processes_with("sleep 7003")


def test_an_interrupt_of_the_caller_ends_the_command(
    host: LoopHost, interrupt_when: Callable[[Callable[[], object]], None]
):
    interrupt_when(lambda: wait_until_there("sleep 7004"))
    with pytest.raises(KeyboardInterrupt):
        run("sleep 7004")

    assert not processes_with("sleep 7004")


def test_many_commands_run_at_once(host: LoopHost):
    block = SystemCommandBlock(Command)

    results = block.batch([Command(shell_command=f"echo {number}") for number in range(20)])

    assert [getattr(result, "stdout", result) for result in results] == [
        f"{number}\n" for number in range(20)
    ]


def test_an_input_without_the_field_is_refused_when_the_block_is_made():
    @dataclass
    class Order:
        command: str

    with pytest.raises(SchemaError, match=r"Order.*'shell_command'") as caught:
        SystemCommandBlock(Order)  # type: ignore[type-var]  # the mistake under test

    assert "`shell_command: str`" in caught.value.hint


def test_a_field_that_is_no_text_is_refused_when_the_block_is_made():
    @dataclass
    class Order:
        shell_command: list[str]

    with pytest.raises(SchemaError) as caught:
        SystemCommandBlock(Order)  # type: ignore[type-var]  # the mistake under test

    assert caught.value.path == "$.shell_command"


def test_a_choice_of_commands_is_text_too(host: LoopHost):
    @dataclass
    class Order:
        shell_command: Literal["true", "false"]

    assert not SystemCommandBlock(Order)(Order(shell_command="false")).success


def test_a_shell_that_is_not_there_is_refused_when_the_block_is_made():
    with pytest.raises(ArgumentError, match="no-such-shell") as caught:
        SystemCommandBlock(Command, shell="no-such-shell")
    assert caught.value.param == "shell"


@pytest.mark.parametrize("value", [0, -1, True, float("nan"), float("inf"), "5"])
def test_a_timeout_that_cannot_be_meant_is_refused(value: float):
    with pytest.raises(ArgumentError) as caught:
        SystemCommandBlock(Command, timeout_seconds=value)
    assert caught.value.param == "timeout_seconds"


async def test_cancelling_at_any_moment_leaves_nothing_behind(host: LoopHost):
    with use_host(host):
        block = SystemCommandBlock(Command)
        command = Command(shell_command="setsid -f sleep 7005; sleep 7005")
        for delay_ms in range(0, 60, 4):
            task = asyncio.create_task(block.run(command))
            await asyncio.sleep(delay_ms / 1000)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    assert not processes_with("sleep 7005")


def started(command: str, mark: str) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own and wait until it says that it is ready."""
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        env={**os.environ, MARK_VARIABLE: mark},
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_daemon_that_left_its_session_and_lost_its_parent_is_found_by_its_mark():
    process = started("setsid -f bash -c 'echo ready; exec sleep 7101'; exit", "mark-1")
    assert process.stdout is not None
    process.wait()

    assert end_all(process.pid, "mark-1") == 1

    assert process.stdout.read() == b""  # nobody holds the pipe any more
    process.stdout.close()


def test_processes_with_another_mark_are_left_alone():
    mine = started("echo ready; exec sleep 7102", "mark-2")
    other = started("echo ready; exec sleep 7102", "mark-3")
    assert mine.stdout is not None
    assert other.stdout is not None

    end_all(mine.pid, "mark-2")

    assert mine.wait(timeout=10) < 0
    assert psutil.Process(other.pid).is_running()
    end_group(other.pid)
    other.wait(timeout=10)
    mine.stdout.close()
    other.stdout.close()


def test_ending_what_is_gone_ends_nothing():
    process = started("echo ready", "mark-4")
    assert process.stdout is not None
    process.wait()
    process.stdout.close()

    assert end_all(process.pid, "mark-4") == 0

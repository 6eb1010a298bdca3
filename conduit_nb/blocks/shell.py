"""The block that runs a shell command, ends it in time, and leaves no process behind.

Layer 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import psutil

from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.checks import require_positive, require_text_field
from conduit_nb.blocks.records import CommandResult
from conduit_nb.child_environment import command_environment
from conduit_nb.errors import ArgumentError

MARK_VARIABLE = "CONDUIT_COMMAND"
ROUNDS = 20


def end_all(leader: int, mark: str) -> int:
    """Kill the session that `leader` led and all that descends from it; return how many.

    Goes round until a look finds nothing, since a process may start another while it is ended.
    The leader is killed too but not waited for and not counted: it is its parent's to reap.
    """
    _signal_group(leader, signal.SIGSTOP)  # what is stopped cannot start another meanwhile
    found = _belonging(leader, mark)
    end_group(leader)
    ended: set[int] = set()
    for _ in range(ROUNDS):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
            ended.add(process.pid)
        psutil.wait_procs(found, timeout=0.5)
        found = _belonging(leader, mark)
        if not found:
            break
    return len(ended)


def end_group(leader: int) -> None:
    """Kill the process group at once; nothing happens where it is gone."""
    _signal_group(leader, signal.SIGKILL)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _belonging(leader: int, mark: str) -> list[psutil.Process]:
    found = {process for process in psutil.process_iter() if _is_marked(process, leader, mark)}
    with contextlib.suppress(psutil.Error):
        found.update(psutil.Process(leader).children(recursive=True))
    spared = (leader, os.getpid())
    return [process for process in found if process.pid not in spared and _is_alive(process)]


def _is_marked(process: psutil.Process, leader: int, mark: str) -> bool:
    try:
        return os.getsid(process.pid) == leader or process.environ().get(MARK_VARIABLE) == mark
    except (psutil.Error, OSError):  # gone meanwhile, or another user's
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


DRAIN_S = 0.5


class HasShellCommand(Protocol):
    """A record with the command to run."""

    @property
    def shell_command(self) -> str:
        """Return the command, in the language of the block's shell."""
        ...


CommandIn = TypeVar("CommandIn", bound=HasShellCommand, contravariant=True)


class SystemCommandBlock(Block[CommandIn, CommandResult]):
    """Run the record's `shell_command`. It has effects.

    The command is checked with the shell's `-n` first and not run where its syntax is wrong. It
    reads nothing from the keyboard. When it ends, is cancelled or runs out of time
    (`timeout_seconds`; None: none), everything it started is ended too, daemons included. Of each
    of stdout and stderr `max_output_bytes` are kept; a command that says more is no success.

    A model may have written the command, so it finds the environment without keys: no `…_KEY`,
    `…_TOKEN`, `…_SECRET…` and the like. Name what it needs in `CONDUIT_PASS_ENV`, or give the whole
    environment with `env`.
    """

    def __init__(
        self,
        input_type: type[CommandIn],
        shell: str = "bash",
        timeout_seconds: float | None = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        *,
        max_output_bytes: int = 16 * 2**20,
        name: str | None = None,
        trusted: bool = False,
    ) -> None:
        super().__init__(input_type, CommandResult, name=name, has_effects=True, trusted=trusted)
        require_text_field(self.name, self.input_port, "shell_command")
        if shutil.which(shell) is None:
            raise ArgumentError(
                f"shell={shell!r} is not on this machine.",
                param="shell",
                hint="Name a POSIX shell that is on PATH, such as 'bash' or 'sh'.",
            )
        self._shell = shell
        self._timeout_s = (
            None
            if timeout_seconds is None
            else require_positive("timeout_seconds", timeout_seconds)
        )
        self._cwd = None if cwd is None else Path(cwd).expanduser()
        self._env = None if env is None else dict(env)
        self._max_output_bytes = require_positive("max_output_bytes", max_output_bytes)

    async def _run(self, record: CommandIn, call: Call) -> CommandResult:  # noqa: ARG002  # no tokens to tell of
        command = record.shell_command
        try:
            check = await self._carry_out("-n", "-c", command)
            if check.return_code != 0:
                return _not_run(command, check)
            done = await self._carry_out("-c", command)
        except (OSError, ValueError) as error:  # no such folder, too long, a NUL inside
            return _not_started(command, error)
        reason = self._reason(done)
        return CommandResult(
            success=reason is None,
            command=command,
            return_code=done.return_code,
            stdout=done.stdout.text(),
            stderr=done.stderr.text(),
            reason=reason,
            syntax_ok=True,
        )

    async def _carry_out(self, *arguments: str) -> _Done:
        """Run the shell; whatever happens here, nothing that it started outlives this call."""
        mark = uuid.uuid4().hex
        inherited = command_environment() if self._env is None else self._env
        stdout, stderr = _Output(self._max_output_bytes), _Output(self._max_output_bytes)
        return_code: int | None = None
        async with stdout.pipe() as out, stderr.pipe() as err:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    self._shell,
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=self._cwd,
                    env={**inherited, MARK_VARIABLE: mark},
                    start_new_session=True,
                )
            )
            try:
                process = await asyncio.shield(starting)
                out.close()
                err.close()
                async with asyncio.timeout(self._timeout_s):
                    return_code = await process.wait()
                    await _within(DRAIN_S, stdout, stderr)
            except TimeoutError:
                pass
            finally:
                await asyncio.shield(_end(starting, mark))
            await _within(DRAIN_S, stdout, stderr)
        return _Done(return_code, stdout, stderr)

    def _reason(self, done: _Done) -> str | None:
        if done.return_code is None:
            return f"not done after {self._timeout_s:g} s; it and all that it started were ended"
        if done.return_code < 0:
            return f"ended by {signal.Signals(-done.return_code).name}"
        if done.return_code > 0:
            return f"exit code {done.return_code}"
        if done.stdout.is_cut or done.stderr.is_cut:
            return (
                f"said more than max_output_bytes={self._max_output_bytes}; the rest was not kept"
            )
        return None


class _Output(asyncio.Protocol):
    """One output stream of a command: keeps the first bytes, lets the rest go."""

    def __init__(self, limit: int) -> None:
        self.is_cut = False
        self.ended = asyncio.Event()
        self._kept = bytearray()
        self._limit = limit

    @asynccontextmanager
    async def pipe(self) -> AsyncGenerator[BinaryIO, None]:
        """Open a pipe into this stream; yields the end to write to."""
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb", buffering=0) as sink:
            loop = asyncio.get_running_loop()
            source = os.fdopen(reading, "rb", buffering=0)
            transport, _ = await loop.connect_read_pipe(lambda: self, source)
            try:
                yield sink
            finally:
                transport.close()

    def data_received(self, data: bytes) -> None:
        room = self._limit - len(self._kept)
        self._kept += data[:room]
        self.is_cut = self.is_cut or len(data) > room

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's interface
        self.ended.set()

    def text(self) -> str:
        """Return what was kept; bytes that are no UTF-8 become U+FFFD."""
        return self._kept.decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class _Done:
    """How the shell ended; no return code where it ran out of time."""

    return_code: int | None
    stdout: _Output
    stderr: _Output


async def _within(seconds: float, *outputs: _Output) -> None:
    """Wait until the outputs end, but not for one that something left behind holds open."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for output in outputs:
                await output.ended.wait()


async def _end(starting: asyncio.Future[asyncio.subprocess.Process], mark: str) -> None:
    try:
        process = await starting
    except (OSError, ValueError):  # it never started
        return
    await asyncio.to_thread(end_all, process.pid, mark)
    await process.wait()


def _not_run(command: str, check: _Done) -> CommandResult:
    said = check.stderr.text()
    return CommandResult(
        success=False,
        command=command,
        return_code=None,
        stdout="",
        stderr=said,
        reason=f"not run, its syntax is wrong: {said.strip()}",
        syntax_ok=False,
    )


def _not_started(command: str, error: OSError | ValueError) -> CommandResult:
    return CommandResult(
        success=False,
        command=command,
        return_code=None,
        stdout="",
        stderr="",
        reason=f"not started: {error}",
        syntax_ok=True,
    )

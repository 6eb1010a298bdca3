"""Maps rows where the disk of the state is full, before or meanwhile: `python -m … WHEN FOLDER`.

Prints what a user sees, as JSON: all of it, the error's own lines, and how many rows OUT has (None
where it is not bound). A test runs this where FOLDER is a small disk of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from conduit_nb import session as session_module
from conduit_nb.notebook.doctor import doctor
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from tests.fake_lmlite import FakeRuntime

ROWS = "import pandas as pd\nrows = pd.DataFrame({'text': [str(n) for n in range(200)]})"
MAP = "%%conduit map rows -o out --columns text\nclass Verdict:\n    good: bool"


class Shell(InteractiveShell):
    """Keeps the lines that it shows of an error, apart from all others."""

    error_lines: tuple[str, ...] = ()

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.error_lines += tuple("\n".join(stb).splitlines())
        super()._showtraceback(etype, evalue, stb)


def fill(folder: Path) -> None:
    for number, size in enumerate((65536, 1)):
        with (
            contextlib.suppress(OSError),
            (folder / f"filler{number}").open("wb", buffering=0) as file,
        ):
            while file.write(b"x" * size):
                pass


def main() -> None:
    when, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["CONDUIT_STATE_DIR"] = str(folder)
    os.environ["CONDUIT_DATA_DIR"] = sys.argv[3]
    session = Session(
        make_runtime=lambda name: FakeRuntime(name=name),
        make_provider=lambda _: LocalProvider(grace_s=1),
        provider_names=lambda: ["local"],
    )
    session_module._made = lambda: session  # pyright: ignore[reportPrivateUsage,reportAttributeAccessIssue]  # as tests do
    shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "conduit_nb")
    shell.run_cell(ROWS)
    if when == "meanwhile":
        shell.run_cell("import conduit_nb\nconduit_nb.load_model('m')")
    fill(folder)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        result = shell.run_cell(MAP)
    error = result.error_before_exec or result.error_in_exec
    out = shell.user_ns.get("out")
    findings = [f"{one.what}: {one.works}" for one in doctor()]
    for filler in folder.glob("filler*"):
        filler.unlink()
    session.wait(session.deployments.terminate("all"))
    session.close()
    print(
        json.dumps(
            {
                "error": type(error).__name__ if error else None,
                "shown": shown.getvalue(),
                "error_lines": shell.error_lines,
                "out_rows": None if out is None else len(out),
                "doctor": findings,
            }
        )
    )


if __name__ == "__main__":
    main()

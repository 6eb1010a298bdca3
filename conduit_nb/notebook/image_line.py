"""`%conduit image build | push`: LmLite's image for containers, each step told as it is done.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.shell import Shell
from conduit_nb.plain_text import plain
from conduit_nb.spelling import nearest

USAGE = "%conduit image build [--cuda] [--tag NAME] | push NAME"
WORDS = ("build", "push")


def image(shell: Shell, tokens: Sequence[str], cell: str) -> None:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit image`. Raises what building and pushing raise, and ArgumentError."""
    parser = MagicParser("%conduit image", usage=USAGE)
    parser.add_argument("word", metavar="build|push")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.option("--cuda", action="store_true")
    parser.option("--tag", metavar="NAME")
    parser.option("--base", metavar="IMAGE")
    parser.option("--torch-index", metavar="URL", default="")
    asked = parser.parse_line(tokens)
    if asked.word not in WORDS:
        raise ArgumentError(
            f"%conduit image does not know {asked.word!r}.",
            param="word",
            hint=nearest(asked.word, WORDS, then=f"Write {USAGE}."),
        )
    if (asked.word == "push") != (asked.name is not None):
        raise ArgumentError(
            "push takes the name of the image, and build none.",
            param="name",
            hint=f"Write {USAGE}.",
        )
    building = import_module("conduit_nb.images.building")
    if asked.word == "push":
        building.push_image(asked.name, tell=_tell)
        return
    building.build_image(
        cuda=asked.cuda,
        tag=asked.tag,
        base=asked.base,
        torch_index=asked.torch_index,
        tell=_tell,
    )


def _tell(line: str) -> None:
    print(plain(line))

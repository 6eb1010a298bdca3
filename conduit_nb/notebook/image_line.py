"""`conduit image build | push`: LmLite's image for containers, each step told as it is done."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from conduit_nb.notebook.display import Line
from conduit_nb.plain_text import plain


class ImageLine(Line):
    """The name of an image that was built or pushed."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{what} {name}.")
        self._name = name

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {"image": self._name}


def build(
    *,
    cuda: bool = False,
    tag: str | None = None,
    base: str | None = None,
    torch_index: str = "",
) -> ImageLine:
    """Build the image. Raises what building raises."""
    building = import_module("conduit_nb.images.building")
    name = building.build_image(cuda=cuda, tag=tag, base=base, torch_index=torch_index, tell=_tell)
    return ImageLine(name, "Built")


def push(tag: str) -> ImageLine:
    """Push the image to its registry. Raises what pushing raises."""
    import_module("conduit_nb.images.building").push_image(tag, tell=_tell)
    return ImageLine(tag, "Pushed")


def _tell(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)

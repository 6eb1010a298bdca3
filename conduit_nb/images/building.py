"""`conduit image build | push`: an image of LmLite, made of this very package.

Layer 5: with the Docker provider the only user of the Docker SDK.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import distribution, version
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from conduit_nb import settings
from conduit_nb.child_environment import command_environment
from conduit_nb.errors import ArgumentError, DeploymentError
from conduit_nb.providers.docker_engine import connect
from conduit_nb.providers.docker_errors import to_docker_error
from conduit_nb.runtimes.lmlite import PUBLIC_IMAGE

CPU_BASE = "docker.io/library/python:3.11-slim"
NAME = "conduit/lmlite"
LINES_SHOWN = 12


def default_tag(*, cuda: bool) -> str:
    """Return what an image is called where nobody says."""
    return f"{NAME}:{version('conduit-nb')}-{'cuda' if cuda else 'cpu'}"


def build_image(
    *,
    cuda: bool = False,
    tag: str | None = None,
    base: str | None = None,
    torch_index: str = "",
    url: str | None = None,
    tell: Callable[[str], None] = print,
) -> str:
    """Build the image and return its name; `tell` gets every step.

    `base` has Python 3.11 or newer with pip; `torch_index` is a package index with another build of
    PyTorch. `url` is the engine's address. Raises DeploymentError with the last lines where a step
    fails.
    """
    named = tag or default_tag(cuda=cuda)
    arguments = {
        "BASE": base or (PUBLIC_IMAGE if cuda else CPU_BASE),
        "TORCH_INDEX": torch_index,
    }
    with tempfile.TemporaryDirectory(prefix="conduit-image-") as folder:
        context = Path(folder)
        tell(f"Packing conduit-nb {version('conduit-nb')}.")
        _make_wheel(context)
        dockerfile = files("conduit_nb.images").joinpath("lmlite.Dockerfile").read_text()
        (context / "Dockerfile").write_text(dockerfile)
        tell(f"Building {named} on {arguments['BASE']}; this takes minutes.")
        with connect(url) as client:
            steps = client.api.build(
                path=str(context), tag=named, buildargs=arguments, rm=True, decode=True
            )
            _follow(steps, tell, what=f"Building {named}")
    tell(f"Built {named}. Use it: export CONDUIT_LMLITE_IMAGE={named}")
    return named


def push_image(tag: str, *, url: str | None = None, tell: Callable[[str], None] = print) -> None:
    """Push an image to its registry, with the login that Docker has for it."""
    with connect(url) as client:
        name, colon, version_tag = tag.rpartition(":")
        steps = client.api.push(
            name if colon else tag,
            tag=version_tag if colon else "latest",
            stream=True,
            decode=True,
        )
        _follow(steps, tell, what=f"Pushing {tag}")
    tell(f"Pushed {tag}.")


def _make_wheel(folder: Path) -> None:
    """Put a wheel of this package into the folder: of its source, or from CONDUIT_PACKAGE_URL."""
    source = settings.package_url() or _source_folder()
    if source is None:
        raise ArgumentError(
            "Conduit was not installed from its source, so there is nothing to build a wheel of.",
            param="CONDUIT_PACKAGE_URL",
            hint="Set CONDUIT_PACKAGE_URL to a wheel or git URL of Conduit.",
        )
    if source.endswith(".whl") and Path(source).is_file():
        shutil.copy(source, folder)
        return
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(folder)]
    done = subprocess.run(  # noqa: S603  # no shell, and pip
        [*command, source],
        capture_output=True,
        text=True,
        env=command_environment(keep=("PIP_", "GIT_", "SSH_")),
    )
    if done.returncode:
        raise DeploymentError(
            f"No wheel of Conduit could be made:\n{done.stderr[-1500:]}",
            hint="Build one (pip wheel --no-deps .) and name it in CONDUIT_PACKAGE_URL.",
        )


def _source_folder() -> str | None:
    told = distribution("conduit-nb").read_text("direct_url.json")
    if told is None:
        return None
    url: str = cast("dict[str, Any]", json.loads(told)).get("url", "")
    return unquote(urlsplit(url).path) if url.startswith("file:") else None


def _follow(steps: Iterable[Any], tell: Callable[[str], None], *, what: str) -> None:
    """Tell each step to the end, then raise the error that one of them was."""
    said: list[str] = []
    failure = ""
    with to_docker_error():
        for step in steps:
            told = cast("dict[str, Any]", step)
            failure = str(told.get("error") or failure)
            text = str(told.get("stream") or told.get("status") or "").strip()
            if text:
                said += text.splitlines()
                tell(text)
    if failure:
        last = "\n".join([*said[-LINES_SHOWN:], failure])
        raise DeploymentError(
            f"{what} failed:\n{last}", hint="Look at the last step; try it by hand."
        )

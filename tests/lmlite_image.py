"""LmLite's image, really built, on a Python that has what it needs: no registry is asked."""

from __future__ import annotations

import io
import re
import tarfile
from contextlib import closing
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import docker

from conduit_nb.images.building import build_image
from tests.docker_engine import BASE_IMAGE

PYTHON_IMAGE = "conduit/python:1"
PACKAGES = "/usr/local/lib/python3.11/dist-packages"


def built_image(engine: str, tag: str, told: list[str]) -> str:
    """Build the image under that tag and return its name; every step is put into `told`."""
    with closing(docker.DockerClient(base_url=engine)) as client:
        made = client.containers.create(BASE_IMAGE, "true")
        made.start()
        made.wait()
        made.put_archive("/", _archive())
        made.commit(*PYTHON_IMAGE.split(":"))
        made.remove()
    return build_image(tag=tag, base=PYTHON_IMAGE, url=engine, tell=told.append)


def _archive() -> bytes:
    """Return what conduit-nb[lmlite] needs, and pip, as this environment has it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(_needed("conduit-nb", "lmlite") | {"pip"}):
            found = distribution(name)
            for file in found.files or ():
                path = Path(str(found.locate_file(file)))
                if ".." not in file.parts and path.is_file() and path.suffix != ".pyc":
                    archive.add(path, f"{PACKAGES}/{file}")
    return buffer.getvalue()


def _needed(name: str, extra: str = "") -> set[str]:
    """Return the names of all distributions that one needs, itself left out."""
    found: set[str] = set()
    waiting_for = [(name, extra)]
    while waiting_for:
        current, wanted = waiting_for.pop()
        for line in distribution(current).requires or ():
            requirement, _, marker = line.partition(";")
            if "extra" in marker and (not wanted or f'"{wanted}"' not in marker.replace("'", '"')):
                continue
            needed = re.split(r"[\s\[<>=!~(]", requirement.strip(), maxsplit=1)[0]
            try:
                distribution(needed)
            except PackageNotFoundError:
                continue
            if needed.lower() not in {one.lower() for one in found}:
                found.add(needed)
                waiting_for.append((needed, ""))
    return found

"""A Docker engine of our own for tests: real, on a private socket, with images that we made.

No registry is asked: the base image is a Debian with Python, made once by debootstrap and kept in
the user's cache.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import platformdirs

from tests import waiting
from tests.fake_lmlite import ECHO_IMAGE, ECHO_IN_IMAGE, ECHO_SERVER

BASE_IMAGE = "conduit/base:1"
SUITE = "bookworm"  # its Python is 3.11
PROGRAMS = ("dockerd", "debootstrap", "iptables")


def can_run() -> bool:
    """Say whether an engine can be started here: as root, with Debian's packages."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return os.geteuid() == 0 and all(shutil.which(name, path=path) for name in PROGRAMS)


@contextmanager
def docker_engine() -> Iterator[str]:
    """Run an engine until the block ends; yield its address. It has BASE_IMAGE and ECHO_IMAGE."""
    folder = Path(tempfile.mkdtemp(prefix="conduit-docker-"))
    url = f"unix://{folder}/docker.sock"
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(
            [
                *("dockerd", "--host", url, "--data-root", folder / "data"),
                *("--exec-root", folder / "exec", "--pidfile", folder / "pid"),
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
    try:

        def listens() -> bool:
            assert engine.poll() is None, (folder / "log").read_text()[-3000:]
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(f"{folder}/docker.sock") == 0

        waiting.until_true(listens, within_s=60)
        client = docker.DockerClient(base_url=url)
        client.api.import_image_from_file(str(_base_tar()), *BASE_IMAGE.split(":"))
        _make_echo_image(client)
        client.close()
        yield url
        remove_containers(url)
    finally:
        engine.terminate()
        try:
            engine.wait(30)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()
        shutil.rmtree(folder, ignore_errors=True)


def remove_containers(url: str) -> None:
    """Remove all containers, whether they run or not."""
    with closing(docker.DockerClient(base_url=url)) as client:
        for container in client.containers.list(all=True):
            container.remove(force=True)


def _base_tar() -> Path:
    """Return a Debian with Python as an archive, made where it is missing."""
    folder = platformdirs.user_cache_path("conduit") / "test-images"
    done = folder / f"{SUITE}-python.tar"
    if done.exists():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        root, tar = Path(made) / "root", Path(made) / "root.tar"
        bootstrap = ["debootstrap", "--variant=minbase", "--include=python3", SUITE, str(root)]
        subprocess.run(bootstrap, check=True, capture_output=True)
        subprocess.run(["tar", "-C", str(root), "-cf", str(tar), "."], check=True)
        tar.replace(done)
    return done


def _make_echo_image(client: docker.DockerClient) -> None:
    """Put the echoing server into an image, with an entry point that the guard has to replace."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ECHO_SERVER, Path(folder) / "echo_server.py")
        (Path(folder) / "Dockerfile").write_text(
            f'FROM {BASE_IMAGE}\nCOPY echo_server.py {ECHO_IN_IMAGE}\nENTRYPOINT ["/bin/false"]\n'
        )
        client.images.build(path=folder, tag=ECHO_IMAGE, rm=True)

"""images/building.py: LmLite's image, really built, run, answered from, killed and found again."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import docker
import pytest

from conduit_nb.client import Endpoint
from conduit_nb.compute.launch import GuardTerms
from conduit_nb.errors import ConduitError, DeploymentError, EndpointError
from conduit_nb.images.building import build_image, default_tag, push_image
from conduit_nb.models.embedded import EMBEDDED_MODEL_ID
from conduit_nb.providers.docker import DockerProvider
from conduit_nb.runtimes.base import ServerRequest
from conduit_nb.runtimes.lmlite import LmLiteRuntime
from tests import waiting
from tests.docker_engine import BASE_IMAGE
from tests.providers.runpod_nodes import KEY, SECRETS, name_of

pytestmark = [pytest.mark.model, pytest.mark.needs("docker")]

PYTHON_IMAGE = "conduit/python:1"
PACKAGES = "/usr/local/lib/python3.11/dist-packages"
TAG = "conduit/lmlite:test"


@pytest.fixture(scope="module")
def image(engine: str) -> Iterator[str]:
    """Build LmLite's image on a Python that has what it needs: no registry is asked here."""
    client = docker.DockerClient(base_url=engine)
    made = client.containers.create(BASE_IMAGE, "true")
    made.start()
    made.wait()
    made.put_archive("/", _archive())
    made.commit(*PYTHON_IMAGE.split(":"))
    made.remove()
    told: list[str] = []
    yield build_image(tag=TAG, base=PYTHON_IMAGE, url=engine, tell=told.append)
    assert any("Built" in line for line in told)
    client.close()


async def test_it_answers_is_killed_and_found_again(
    engine: str, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    provider = DockerProvider(engine)
    now = datetime.now(UTC)
    spec = replace(
        LmLiteRuntime().launch_spec(ServerRequest(name=name_of(), place="container", image=image)),
        guard=GuardTerms(
            idle_s=600,
            boot_until=now + timedelta(seconds=300),
            lease_until=now + timedelta(seconds=600),
        ),
    )
    node = await provider.launch(spec, SECRETS)
    try:
        said = await _ask(provider, node.name)
        with closing(docker.DockerClient(base_url=engine)) as client:
            client.containers.get(node.name).kill()
        killed = await DockerProvider(engine).describe(node.name)
        await provider.start(node.name)
        again = await _ask(provider, node.name)
    except ConduitError as err:
        lines = [line async for line in provider.logs(node.name, tail=30)]
        raise AssertionError("\n".join([str(err), *lines])) from err
    finally:
        await provider.terminate(node.name)

    assert "Paris" in said
    assert again == said
    assert killed is not None
    assert killed.status == "stopped"


def test_a_step_that_fails_is_told_with_its_last_words(engine: str):
    with pytest.raises(DeploymentError, match="failed") as caught:
        build_image(tag="conduit/broken:1", base=BASE_IMAGE, url=engine, tell=lambda _: None)

    assert "pip" in str(caught.value)


def test_a_registry_that_is_not_there_is_told(engine: str, image: str):
    client = docker.DockerClient(base_url=engine)
    client.images.get(image).tag("127.0.0.1:9/lmlite", "1")
    client.close()
    with pytest.raises(DeploymentError, match="Pushing"):
        push_image("127.0.0.1:9/lmlite:1", url=engine, tell=lambda _: None)


def test_an_image_is_named_after_what_is_in_it():
    assert default_tag(cuda=True).endswith("-cuda")
    assert default_tag(cuda=False).startswith("conduit/lmlite:")


async def _ask(provider: DockerProvider, name: str) -> str:
    async def answer() -> str | None:
        node = await provider.describe(name)
        assert node is not None
        assert node.status in ("starting", "running"), node
        endpoint = Endpoint(node.url, key=KEY, dialect="lmlite")
        try:
            if (await endpoint.health(timeout_s=2))["status"] != "ok":
                return None
            reply = await endpoint.chat(
                {
                    "model": EMBEDDED_MODEL_ID,
                    "max_tokens": 12,
                    "messages": [{"role": "user", "content": "What is the capital of France?"}],
                }
            )
        except EndpointError as err:
            if not err.retryable:
                raise
            return None
        finally:
            await endpoint.aclose()
        return reply["choices"][0]["message"]["content"]

    return await waiting.until(answer, within_s=240)


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

"""images/building.py: LmLite's image, really built, run, answered from, killed and found again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("docker")]


async def test_it_answers_is_killed_and_found_again(
    engine: str, lmlite_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    provider = DockerProvider(engine)
    now = datetime.now(UTC)
    spec = replace(
        LmLiteRuntime().launch_spec(
            ServerRequest(name=name_of(), place="container", image=lmlite_image)
        ),
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
    with pytest.raises(DeploymentError, match=r"conduit/broken:1[\s\S]*pip"):
        build_image(tag="conduit/broken:1", base=BASE_IMAGE, url=engine, tell=lambda _: None)


def test_a_registry_that_is_not_there_is_told(engine: str, lmlite_image: str):
    client = docker.DockerClient(base_url=engine)
    client.images.get(lmlite_image).tag("127.0.0.1:9/lmlite", "1")
    client.close()
    with pytest.raises(DeploymentError, match=r"127.0.0.1:9/lmlite:1"):
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

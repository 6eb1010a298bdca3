"""Every registered provider against one contract: real processes, pods and containers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.providers.docker import DockerProvider
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.registry import provider_names
from conduit_nb.testing.pod_processes import PodProcesses
from conduit_nb.testing.provider_contract import ProviderContract, ProviderHarness
from tests.local_nodes import spec as local_spec
from tests.providers.runpod_nodes import SECRETS, name_of, offering_of, provider_of, spec_of
from tests.providers.test_docker import spec_of as docker_spec
from tests.runpod_specification import specified_runpod_server

NAMES = (name_of(1), name_of(2))
FOREIGN = name_of(1, installation="ffffffffffff")


class TestLocal(ProviderContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[ProviderHarness]:
        provider = LocalProvider(state_dir=tmp_path, grace_s=1)
        yield ProviderHarness(
            provider=provider,
            spec=lambda name: local_spec(name=name),
            secrets=SECRETS,
            exists=lambda name: (tmp_path / "nodes" / f"{name}.json").exists(),
            names=NAMES,
            foreign=FOREIGN,
        )
        asyncio.run(_end_all(provider))


class TestRunpod(ProviderContract):
    @pytest.fixture
    def harness(self) -> Iterator[ProviderHarness]:
        with specified_runpod_server(start_container=PodProcesses(grace_s=5)) as cloud:
            provider = provider_of(cloud)
            offering = asyncio.run(offering_of(provider))
            yield ProviderHarness(
                provider=provider,
                spec=spec_of,
                secrets=SECRETS,
                exists=lambda name: any(
                    pod.name == name and pod.status != "TERMINATED" for pod in cloud.account.pods()
                ),
                names=NAMES,
                foreign=FOREIGN,
                offering=offering,
            )


@pytest.mark.needs("docker")
class TestDocker(ProviderContract):
    @pytest.fixture
    def harness(
        self, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[ProviderHarness]:
        import docker

        monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
        provider = DockerProvider(engine)
        client = docker.DockerClient(base_url=engine)
        yield ProviderHarness(
            provider=provider,
            spec=docker_spec,
            secrets=SECRETS,
            exists=lambda name: bool(client.containers.list(all=True, filters={"name": name})),
            names=NAMES,
            foreign=FOREIGN,
        )
        asyncio.run(_end_all(provider))
        client.close()


def test_every_registered_provider_is_held_to_the_contract():
    held = {"local", "runpod", "docker"}

    assert set(provider_names()) == held
    assert {
        kind.__name__.removeprefix("Test").lower() for kind in ProviderContract.__subclasses__()
    } >= held


async def _end_all(provider: LocalProvider | DockerProvider) -> None:
    for node in await provider.list_nodes():
        await provider.terminate(node.name)

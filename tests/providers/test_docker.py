"""providers/docker.py: on a real engine, with real containers."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from conduit_nb.client import Endpoint
from conduit_nb.compute.detection import detect_devices, local_offerings
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.errors import ArgumentError, DeploymentError, ProviderUnreachableError
from conduit_nb.providers.base import Node
from conduit_nb.providers.docker import DockerProvider
from conduit_nb.runtimes.base import ServerRequest
from tests import waiting
from tests.compute.described_nvml import Card, DescribedNvml
from tests.fake_lmlite import FakeRuntime
from tests.image_registry import image_registry
from tests.providers.runpod_nodes import KEY, SECRETS, name_of

pytestmark = pytest.mark.needs("docker")


@pytest.fixture
async def provider(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DockerProvider]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    provider = DockerProvider(engine)
    yield provider
    for node in await provider.list_nodes():
        await provider.terminate(node.name)
    assert not list((tmp_path / "state" / "docker").glob("*"))


def spec_of(name: str | None = None, *flags: str, lease_s: float = 600) -> LaunchSpec:
    now = datetime.now(UTC)
    request = ServerRequest(name=name or name_of(), place="container")
    terms = GuardTerms(
        idle_s=600,
        boot_until=now + timedelta(seconds=60),
        lease_until=now + timedelta(seconds=lease_s),
    )
    return replace(FakeRuntime(flags, in_image=True).launch_spec(request), guard=terms)


def inspected(engine: str, name: str) -> dict[str, Any]:
    with closing(docker.APIClient(base_url=engine)) as client:
        return client.inspect_container(name)


async def running(provider: DockerProvider, name: str) -> Node:
    async def look() -> Node | None:
        node = await provider.describe(name)
        assert node is not None
        endpoint = Endpoint(node.url, key=KEY, dialect="lmlite")
        try:
            health = await endpoint.health(timeout_s=2)
        except Exception:  # noqa: BLE001  # not yet, whatever it is
            return None
        finally:
            await endpoint.aclose()
        return node if health["status"] == "ok" else None

    return await waiting.until(look, within_s=60)


async def test_a_container_answers_is_found_again_and_ends(provider: DockerProvider, engine: str):
    launched = await provider.launch(spec_of(), SECRETS)
    node = await running(provider, launched.name)
    endpoint = Endpoint(node.url, key=KEY, dialect="lmlite")
    reply = await endpoint.chat({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    await endpoint.aclose()

    assert reply["choices"][0]["message"]["content"].endswith(": hi")
    assert node.url.startswith("http://127.0.0.1:")
    assert [one.name for one in await DockerProvider(engine).list_nodes()] == [node.name]
    for _ in range(2):
        await provider.terminate(node.name)
    assert await provider.describe(node.name) is None


async def test_replicas_stand_side_by_side(provider: DockerProvider):
    for number in (1, 2):
        await provider.launch(spec_of(name_of(number)), SECRETS)
    nodes = [await running(provider, name_of(number)) for number in (1, 2)]

    assert len({node.url for node in nodes}) == 2
    with pytest.raises(DeploymentError, match=name_of(1)) as caught:
        await provider.launch(spec_of(name_of(1)), SECRETS)
    assert f"docker rm -f {name_of(1)}" in caught.value.hint


async def test_stopping_keeps_it_and_starting_brings_it_back(provider: DockerProvider):
    node = await provider.launch(spec_of(), SECRETS)
    await running(provider, node.name)
    await provider.stop(node.name)
    await provider.stop(node.name)
    stopped = await provider.describe(node.name)
    await provider.start(node.name)
    await running(provider, node.name)
    await provider.restart(node.name)
    await running(provider, node.name)

    assert stopped is not None
    assert stopped.status == "stopped"


async def test_the_guard_is_its_first_process_and_ends_it_at_its_lease(provider: DockerProvider):
    node = await provider.launch(spec_of(lease_s=4), SECRETS)

    async def ended() -> Node | None:
        found = await provider.describe(node.name)
        return found if found is not None and found.status == "stopped" else None

    found = await waiting.until(ended, within_s=60)
    lines = [line async for line in provider.logs(node.name)]

    assert found.exit_code == 0
    assert any("lease" in line for line in lines)


async def test_what_is_started_long_after_its_first_deadlines_lives_by_new_ones(
    provider: DockerProvider,
):
    node = await provider.launch(spec_of(lease_s=4), SECRETS)

    async def ended() -> bool:
        found = await provider.describe(node.name)
        return found is not None and found.status == "stopped"

    await waiting.until(ended, within_s=60)
    now = datetime.now(UTC)
    await provider.renew(
        node.name,
        boot_until=now + timedelta(seconds=60),
        lease_until=now + timedelta(seconds=600),
        not_after=None,
    )
    await provider.start(node.name)

    await running(provider, node.name)


async def test_a_container_that_was_killed_is_told(provider: DockerProvider, engine: str):
    node = await provider.launch(spec_of(), SECRETS)
    await running(provider, node.name)
    with closing(docker.DockerClient(base_url=engine)) as client:
        client.containers.get(node.name).kill()

    found = await provider.describe(node.name)

    assert found is not None
    assert (found.status, found.exit_code) == ("stopped", 137)


async def test_no_secret_is_in_what_inspect_shows_and_only_its_owner_reads_the_file(
    provider: DockerProvider, engine: str, tmp_path: Path
):
    node = await provider.launch(spec_of(), SECRETS)
    shown = inspected(engine, node.name)

    assert KEY not in json.dumps(shown)
    (file,) = (tmp_path / "state" / "docker" / node.name).iterdir()
    assert file.read_text() == KEY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    modes = {mount["Destination"]: mount["RW"] for mount in shown["Mounts"]}
    assert not any(modes.values()), "everything that is mounted is read-only"
    assert str(Path.home()) not in {mount["Source"] for mount in shown["Mounts"]}


async def test_it_listens_on_the_loopback_address_and_is_not_restarted(
    provider: DockerProvider, engine: str
):
    node = await provider.launch(spec_of(), SECRETS)
    shown = inspected(engine, node.name)

    bound = shown["NetworkSettings"]["Ports"]["8000/tcp"]
    assert [one["HostIp"] for one in bound] == ["127.0.0.1"]
    assert shown["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")


async def test_gpus_are_asked_for_by_number_and_a_missing_toolkit_says_its_cure(
    provider: DockerProvider,
):
    with pytest.raises(DeploymentError, match="nvidia") as caught:
        await provider.launch(replace(spec_of(), devices=2), SECRETS)

    assert "nvidia-ctk" in caught.value.hint
    assert await provider.list_nodes() == []


@asynccontextmanager
async def listening_between(engine: str, folder: Path) -> AsyncIterator[tuple[str, bytearray]]:
    """Stand between a client and the engine; yield the address, and all that clients say."""
    said = bytearray()

    async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter, kept: bytearray):
        while piece := await source.read(65536):
            kept += piece
            to.write(piece)
        to.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        there = await asyncio.open_unix_connection(engine.removeprefix("unix://"))
        await asyncio.gather(
            pass_on(reader, there[1], said), pass_on(there[0], writer, bytearray())
        )

    server = await asyncio.start_unix_server(serve, folder / "between.sock")
    async with server:
        yield f"unix://{folder}/between.sock", said


async def test_gpus_are_asked_for_by_their_ids(
    engine: str, provider: DockerProvider, tmp_path: Path
):
    cards = [Card("Tesla T4", uuid=uuid, total_gib=15) for uuid in ("GPU-t", "GPU-u")]
    seen = detect_devices(DescribedNvml(*cards))
    offering = next(one for one in local_offerings(seen) if one.accelerator == "Tesla T4")
    async with listening_between(engine, tmp_path) as (url, said):
        with_gpus = DockerProvider(url, detect=lambda: seen)
        with pytest.raises(DeploymentError) as caught:
            await with_gpus.launch(replace(spec_of(), devices=1), SECRETS, offering)

    assert "nvidia-ctk" in caught.value.hint
    assert b'"DeviceIDs": ["GPU-t"]' in said
    assert b'"conduit.gpus": "GPU-t"' in said
    assert await provider.list_nodes() == []


async def test_a_launch_that_is_stopped_leaves_no_container(
    provider: DockerProvider, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    with image_registry() as registry:
        registry.push("1", os.urandom(1000))
        registry.hold.clear()
        threads = ThreadPoolExecutor()
        asyncio.get_running_loop().set_default_executor(threads)
        spec = replace(spec_of(), image=f"{registry.address}/owner/image:1")
        launching = asyncio.create_task(provider.launch(spec, SECRETS))
        await waiting.until(lambda: registry.asked, within_s=30)
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching
        await provider.terminate(spec.name)
        registry.hold.set()
        threads.shutdown()  # the launch has ended, too
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    assert await provider.describe(spec.name) is None


async def test_memory_is_bounded_where_the_spec_says(provider: DockerProvider, engine: str):
    node = await provider.launch(replace(spec_of(), ram_gib=0.5), SECRETS)
    shown = inspected(engine, node.name)

    assert shown["HostConfig"]["Memory"] == 2**29


async def test_an_image_that_cannot_be_had_is_told(provider: DockerProvider):
    with pytest.raises(DeploymentError, match=r"127\.0\.0\.1:9/none:1") as caught:
        await provider.launch(replace(spec_of(), image="127.0.0.1:9/none:1"), SECRETS)

    assert "conduit image build" in caught.value.hint


async def test_an_image_is_needed(provider: DockerProvider):
    with pytest.raises(ArgumentError) as caught:
        await provider.launch(replace(spec_of(), image=None), SECRETS)

    assert caught.value.param == "image"


async def test_this_machines_cpu_is_offered(provider: DockerProvider):
    listing = await provider.offerings()

    assert {one.provider for one in listing.offerings} == {"docker"}
    assert any(one.hardware.is_cpu for one in listing.offerings)


async def test_a_log_is_followed_to_its_end(provider: DockerProvider):
    node = await provider.launch(spec_of(), SECRETS)
    seen: list[str] = []
    async for line in provider.logs(node.name, follow=True):
        seen.append(line)
        if "ready" in line:
            await provider.stop(node.name)

    assert any("fake LmLite begins" in line for line in seen)


async def test_without_an_engine_the_command_that_starts_one_is_named(tmp_path: Path):
    provider = DockerProvider(f"unix://{tmp_path}/none.sock")
    with pytest.raises(ProviderUnreachableError, match=f"{tmp_path}/none.sock") as caught:
        await provider.list_nodes()

    assert "systemctl" in caught.value.hint

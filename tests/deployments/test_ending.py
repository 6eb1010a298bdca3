"""deployments/ending.py: which nodes are meant by a name, an id, or "all", without any state."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_nb.deployments.ending import end_by_name
from conduit_nb.errors import ArgumentError, ConduitError, ProviderRefusedError, StorageError
from conduit_nb.providers.base import Provider
from conduit_nb.providers.local import LocalProvider
from conduit_nb.state.summary import KnownNode
from tests.deployments.faulty_cloud import FaultyCloud, Rented, answering_server, service_of
from tests.deployments.test_failures import wanted
from tests.local_nodes import SECRETS, spec

OURS = "0123456789abcdef"
ONE, TWO, OTHER = (
    f"conduit-0123456789ab-{name}-0-1" for name in ("aaaabbbb", "ccccdddd", "eeeeffff")
)
SECOND = "conduit-0123456789ab-aaaabbbb-1-2"
THEIRS = "conduit-fedcba987654-aaaacccc-0-1"
KNOWN = (KnownNode(name=ONE, provider="faulty", id="1", deployment="mine"),)


def cloud_of(*names: str) -> FaultyCloud:
    rented = {name: Rented(name=name, id=name, status="running") for name in names}
    return FaultyCloud("http://127.0.0.1:9", rented=rented)


def provider_of(cloud: FaultyCloud) -> Provider:
    return cloud  # type: ignore[return-value]  # a field's name cannot be written to


@pytest.mark.parametrize(
    ("wanted", "ended"),
    [
        ("all", {ONE, SECOND, TWO, OTHER}),
        ("mine", {ONE, SECOND}),
        ("aaaabbbb", {ONE, SECOND}),
        (SECOND, {SECOND}),
        ("smollm2-cccc", {TWO}),
        ("nothing", set[str]()),
        (THEIRS, set[str]()),
    ],
)
async def test_those_that_are_meant_end_and_no_others(wanted: str, ended: set[str]):
    cloud = cloud_of(ONE, SECOND, TWO, OTHER, THEIRS)

    done = await end_by_name(
        wanted,
        provider=lambda _: provider_of(cloud),
        provider_names=["faulty"],
        installation=OURS,
        known=KNOWN,
    )

    assert set(done.nodes) == set(cloud.ended) == ended
    assert set(done.seen) == {ONE, SECOND, TWO, OTHER} - ended


async def test_without_the_installations_id_only_what_is_known_is_ours():
    cloud = cloud_of(ONE, TWO, THEIRS)

    done = await end_by_name(
        "all",
        provider=lambda _: provider_of(cloud),
        provider_names=["faulty"],
        installation=None,
        known=KNOWN,
    )

    assert done.nodes == (ONE,)
    assert sorted(cloud.names()) == sorted([TWO, THEIRS])


async def test_what_cannot_be_listed_is_ended_by_its_id_and_told():
    cloud = cloud_of(ONE)
    cloud.expect(1)

    done = await end_by_name(
        "mine",
        provider=lambda _: provider_of(cloud),
        provider_names=["faulty"],
        installation=OURS,
        known=KNOWN,
    )

    assert cloud.ended == [ONE]
    assert isinstance(done.failures["faulty"], ProviderRefusedError)


async def test_a_provider_that_is_not_installed_here_stops_the_end_of_no_other():
    cloud = cloud_of(ONE, TWO)
    elsewhere = KnownNode(name=OTHER, provider="uninstalled", id="9", deployment="other")

    def provider(name: str) -> Provider:
        if name != "faulty":
            raise ArgumentError(f"There is no provider {name}.", hint="Install it.")
        return provider_of(cloud)

    done = await end_by_name(
        "all",
        provider=provider,
        provider_names=["faulty"],
        installation=OURS,
        known=(elsewhere, *KNOWN),
    )

    assert set(cloud.ended) == {ONE, TWO}
    assert isinstance(done.failures[OTHER], ArgumentError)
    assert done.seen == (OTHER,)


@pytest.mark.parametrize(
    "uri",
    ["no address", "sqlite:////nowhere/at/all/state.sqlite3", "postgresql://127.0.0.1:9/conduit"],
)
@pytest.mark.parametrize("word", ["a", "all"])
async def test_a_state_that_cannot_be_opened_keeps_nothing_from_ending(
    word: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CONDUIT_MAX_USD_PER_DAY", "1000")
    with answering_server() as server:
        cloud = FaultyCloud(server.url)
        before = service_of(cloud)
        ids = {name: (await before.deploy(wanted(name))).id for name in ("a", "b")}
        shared = await LocalProvider().launch(spec(name=before.shared.name), SECRETS)
        monkeypatch.setenv("CONDUIT_DB_URI", uri)
        service = service_of(cloud)
        with pytest.raises(ConduitError):
            await service.cost()

        with pytest.raises(StorageError) as raised:
            await service.terminate(word)

        meant = [name for name in ids if word in (name, "all")]
        assert [name.split("-")[2] for name in cloud.ended] == [ids[name] for name in meant]
        assert sorted(raised.value.ended) == sorted(cloud.ended)
        assert all(name in str(raised.value) for name in cloud.ended)
        runs = [one.name for one in await LocalProvider().list_nodes()]
        assert runs == ([] if word == "all" else [shared.name])
        (found,) = await service.terminate(shared.name) or [None]
        assert (found is None) == (word == "all")
        monkeypatch.delenv("CONDUIT_DB_URI")
        looking = service_of(cloud)
        for _ in range(3):
            await looking.look()
        left = looking.context.store.deployments()
        assert [one.name for one in left] == [name for name in ids if name not in meant]
        charges = looking.context.store.charges()
        assert {one.node for one in charges if one.end is None} == set(cloud.names())
        await looking.terminate("all")

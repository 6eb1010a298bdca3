"""All sources are asked at once; who is late, broken or without a key is named with its reason."""

from __future__ import annotations

import asyncio
import time

import pytest

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError, ProviderAuthError, ProviderFailedError
from conduit_nb.providers.base import Listing
from conduit_nb.providers.runpod import Runpod
from conduit_nb.providers.sources import Remembered, find_offerings, who_may_list
from tests.raw_server import raw_server
from tests.runpod_specification import specified_runpod_server


class Source:
    """Lists one offering, with what is said to be wrong."""

    def __init__(
        self, name: str, *problems: ConduitError, fails: bool = False, is_empty: bool = False
    ) -> None:
        self.name = name
        self.asked = 0
        self.problems = problems
        self.fails = fails
        self.is_empty = is_empty

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        self.asked += 1
        if self.fails:
            raise ProviderFailedError("It broke.", hint="Ask again.")
        one = ComputeOffering(
            provider=self.name, id="one", accelerator="L4", memory_gib=22, usd_per_hour=1
        )
        return Listing(offerings=() if self.is_empty else (one,), problems=self.problems)


class Late(Source):
    """Answers when nobody waits any more."""

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        await asyncio.Event().wait()
        return await super().offerings()


async def test_offerings_come_in_the_order_of_their_sources():
    market = await find_offerings([Source("b"), Source("a")])

    assert [one.provider for one in market.offerings] == ["b", "a"]
    assert market.failures == ()


async def test_who_fails_and_what_is_left_out_is_named_with_its_reason():
    partly = Source("partly", ProviderFailedError("One row is broken.", hint="No matter."))

    market = await find_offerings([Source("broken", fails=True), partly, Source("fine")])

    assert [one.provider for one in market.offerings] == ["partly", "fine"]
    assert [str(failure) for failure in market.failures] == [
        "broken: It broke. Ask again.",
        "partly: One row is broken. No matter.",
    ]


async def test_who_is_late_delays_nobody_beyond_the_time():
    began = time.monotonic()

    market = await find_offerings([Late("late"), Source("fine")], timeout_s=0.1)

    assert time.monotonic() - began < 5
    assert [one.provider for one in market.offerings] == ["fine"]
    [failure] = market.failures
    assert failure.provider == "late"
    assert failure.error.code == "provider_unreachable"
    assert "0.1 s" in str(failure.error)


async def test_a_server_that_never_answers_and_a_key_that_is_missing_are_named(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with specified_runpod_server() as cloud:
        async with raw_server(stays=True) as silent:
            sources = [
                Runpod(silent.url, key="k"),
                Runpod(cloud.url),
                Runpod(cloud.url, key=cloud.key),
            ]
            market = await find_offerings(sources, timeout_s=3)

    assert market.offerings
    silence, no_key = market.failures
    assert silence.error.retryable
    assert isinstance(no_key.error, ProviderAuthError)
    assert "RUNPOD_API_KEY" in str(no_key)


async def test_a_young_list_is_not_asked_for_again():
    now = [0.0]
    source = Source("one")
    remembered = Remembered(source, max_age_s=60, clock=lambda: now[0])

    for moment in (0.0, 59.0, 60.0, 61.0):
        now[0] = moment
        assert (await remembered.offerings()).offerings

    assert source.asked == 2
    assert remembered.name == "one"


async def test_a_failure_is_asked_for_again_at_once():
    source = Source("one", fails=True)
    remembered = Remembered(source)
    for _ in range(2):
        with pytest.raises(ProviderFailedError):
            await remembered.offerings()
    source.fails = False

    assert (await remembered.offerings()).offerings
    assert source.asked == 3


async def test_a_list_with_a_problem_is_remembered_with_it():
    source = Source("one", ProviderFailedError("One row is broken."))
    remembered = Remembered(source)

    first = await remembered.offerings()
    second = await remembered.offerings()

    assert source.asked == 1
    assert first.problems == second.problems != ()


async def test_a_list_of_nothing_but_problems_is_asked_for_again():
    source = Source("one", ProviderFailedError("Not one row can be read."), is_empty=True)
    remembered = Remembered(source)

    await remembered.offerings()
    await remembered.offerings()

    assert source.asked == 2


async def test_what_is_remembered_is_asked_for_again_by_whoever_wants_it_fresh():
    source = Source("one")
    sources = [Remembered(source)]

    for is_fresh in (False, False, True, False):
        assert (await find_offerings(sources, is_fresh=is_fresh)).offerings

    assert source.asked == 2


@pytest.mark.parametrize(
    ("providers", "asked"),
    [
        (["runpod"], ["runpod"]),
        (["runpod", "local"], ["local", "runpod"]),
        (["aws"], ["prices"]),
        (["aws", "local"], ["local", "prices"]),
        (["prices"], ["prices"]),
    ],
)
def test_who_cannot_have_what_is_asked_for_is_not_asked(providers: list[str], asked: list[str]):
    sources = [Source("local"), Source("runpod"), Source("prices")]

    found = who_may_list(sources, providers, own=["local", "runpod"])

    assert [one.name for one in found] == asked

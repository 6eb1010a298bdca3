"""Every registered provider is a Provider."""

from __future__ import annotations

import inspect

import pytest

from conduit_nb.providers.base import OfferingSource, Provider
from conduit_nb.providers.registry import make_provider, make_sources, provider_names

METHODS = [
    name
    for promises in (OfferingSource, Provider)
    for name, value in vars(promises).items()
    if inspect.isfunction(value)
]


@pytest.mark.parametrize("name", provider_names())
@pytest.mark.parametrize("method", [name for name in METHODS if not name.startswith("_")])
def test_a_provider_has_every_method_with_the_arguments_of_the_protocol(name: str, method: str):
    promised = inspect.signature(getattr(Provider, method))
    kept = inspect.signature(getattr(type(make_provider(name)), method))

    assert list(kept.parameters) == list(promised.parameters)
    assert [one.default for one in kept.parameters.values()] == [
        one.default for one in promised.parameters.values()
    ]


@pytest.mark.parametrize("name", provider_names())
def test_a_provider_is_called_what_it_is_registered_as(name: str):
    assert make_provider(name).name == name


@pytest.mark.parametrize("source", make_sources(), ids=lambda source: source.name)
def test_a_source_lists_its_offerings_within_a_time(source: OfferingSource):
    kept = inspect.signature(source.offerings).parameters["timeout_s"]

    assert kept.kind is inspect.Parameter.KEYWORD_ONLY
    assert kept.default == 20

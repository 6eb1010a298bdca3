"""providers/naming.py: a node's name says whose it is, and can be read back."""

from __future__ import annotations

import re

import pytest

from conduit_nb.providers.naming import NodeName, parse_node_name

NAME = NodeName(installation="0123456789ab", deployment="k3q7x9", replica=0, attempt=12)


def test_a_name_is_read_back_as_it_was_written():
    assert parse_node_name(str(NAME)) == NAME


def test_a_name_is_one_that_every_provider_takes():
    longest = NodeName(installation="f" * 12, deployment="a" * 16, replica=9_999, attempt=999_999)

    assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", str(longest))
    assert parse_node_name(str(longest)) == longest


def test_a_node_is_of_the_installation_whose_id_its_name_begins():
    assert NAME.is_of("0123456789abcdef")
    assert not NAME.is_of("1123456789abcdef")


@pytest.mark.parametrize(
    "name",
    ["", "conduit", "lmlite-local-0123456789", "conduit-0123456789ab-k3q7x9-0", "my-pod"],
)
def test_what_conduit_did_not_name_is_nobodys(name: str):
    assert parse_node_name(name) is None

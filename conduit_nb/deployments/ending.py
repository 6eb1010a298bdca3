"""Terminates nodes by their names alone: the way out where the state cannot be read or written.

Asks every provider for its nodes. A node's name says whose it is; what people call a deployment is
taken from the last summary of the state, or from the state where it can still be read.
Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from conduit_nb.deployments.context import Context
from conduit_nb.errors import ConduitError, ProviderUnreachableError, StorageError
from conduit_nb.providers.base import Node, Provider
from conduit_nb.providers.naming import parse_node_name
from conduit_nb.state.summary import KnownNode, read_summary
from conduit_nb.together import Outcome, each

ALL = "all"
LIST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Nodes that were terminated, and what failed, by the name of a node or of a provider."""

    nodes: tuple[str, ...]
    failures: dict[str, ConduitError]
    seen: tuple[str, ...]
    """The nodes of this installation that are left."""


async def ended_without_state(
    context: Context, name: str, causes: Sequence[ConduitError]
) -> StorageError:
    """Terminate nodes by their names, and return the error that says what became of it."""
    installation, known = await _known(context)
    ended = await end_by_name(
        name,
        provider=context.provider,
        provider_names=context.provider_names(),
        installation=installation,
        known=known,
    )
    before = [node for one in causes if isinstance(one, StorageError) for node in one.ended]
    nodes = sorted({*before, *ended.nodes})
    what = (
        f"Terminated at the provider: {', '.join(nodes)}."
        if nodes
        else (
            "No nodes of this installation were found."
            if name == ALL
            else f"No node of {name!r} was found. There are: {', '.join(ended.seen) or 'none'}."
        )
    )
    failed = "".join(f" {one}: {error}" for one, error in ended.failures.items())
    error = StorageError(
        f"{what}{f' Not everything could be asked:{failed}' if failed else ''}"
        f" The state was not updated: {causes[0]}",
        hint=causes[0].hint,
    )
    error.ended = tuple(nodes)
    return error


async def _known(context: Context) -> tuple[str | None, tuple[KnownNode, ...]]:
    """Return the installation and its nodes, as far as anything still tells."""
    summary = read_summary()
    installation = summary.installation if summary is not None else None
    known = summary.known if summary is not None else ()
    with suppress(ConduitError):
        installation = context.installation.id
    with suppress(ConduitError):
        await context.opened()
        records = await context.read(context.store.deployments, context.installation.id)
        names = {record.id: record.name for record in records}
        known = tuple(
            KnownNode(
                name=node.name,
                provider=node.provider,
                id=node.provider_id,
                deployment=names[node.deployment],
            )
            for node in await context.read(context.store.nodes)
            if node.deployment in names
        )
    return installation or None, known


async def end_by_name(
    wanted: str,
    *,
    provider: Callable[[str], Provider],
    provider_names: Iterable[str],
    installation: str | None,
    known: Sequence[KnownNode],
) -> Ended:
    """Terminate the nodes of a deployment (its name or id), a node by its name, or "all".

    `installation` tells which nodes are ours; where it is not known, only those in `known` are.
    """
    listed = await each({name: _listed(provider, name) for name in provider_names})
    found = {
        node.name: KnownNode(name=node.name, provider=name, id=node.id)
        for name, nodes in listed.done.items()
        for node in nodes
        if node.status != "gone" and _is_ours(node.name, installation, known)
    }
    there = {one.name: one for one in known if one.provider not in listed.done} | found
    chosen = _chosen(wanted, there, known)
    outcome: Outcome[None] = await each(
        {
            name: _terminate(provider, there[name], there[name].id or _id(name, known))
            for name in chosen
        }
    )
    return Ended(
        nodes=tuple(outcome.done),
        failures={**listed.failures, **outcome.failures},
        seen=tuple(name for name in there if name not in outcome.done),
    )


async def _terminate(
    provider: Callable[[str], Provider], node: KnownNode, node_id: str | None
) -> None:
    """Terminate one node; that its provider is not installed here is the failure of this one."""
    await provider(node.provider).terminate(node.name, node_id)


async def _listed(provider: Callable[[str], Provider], name: str) -> list[Node]:
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            return await provider(name).list_nodes()
    except TimeoutError as err:
        raise ProviderUnreachableError(
            f"{name} did not list its nodes within {LIST_TIMEOUT_S:g} s.", hint="Try again."
        ) from err


def _is_ours(name: str, installation: str | None, known: Sequence[KnownNode]) -> bool:
    parsed = parse_node_name(name)
    if parsed is None:
        return False
    if installation is not None:
        return parsed.is_of(installation)
    return any(one.name == name for one in known)


def _chosen(wanted: str, there: Iterable[str], known: Sequence[KnownNode]) -> list[str]:
    """Return the nodes that are meant: of a name that people gave, an id, or a node's own."""
    if wanted == ALL:
        return list(there)
    by_id = {name: _deployment_of(name) for name in there}
    meant = {_deployment_of(one.name) for one in known if one.deployment == wanted}
    if not meant:  # a name that nobody gave ends in a piece of the id
        piece = wanted.rpartition("-")[2]
        ends = {one for one in by_id.values() if len(piece) >= 4 and one.startswith(piece)}
        meant = ends if len(ends) == 1 else set[str]()
    return [name for name, one in by_id.items() if wanted in (name, one) or one in meant]


def _deployment_of(name: str) -> str:
    parsed = parse_node_name(name)
    return parsed.deployment if parsed is not None else name


def _id(name: str, known: Sequence[KnownNode]) -> str | None:
    return next((one.id for one in known if one.name == name), None)

"""What is registered by entry points: providers, runtimes, and others to come, each by its name.

Knows how to find and load them, not what they are.
Layer 0: imports only errors.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from conduit_nb.errors import ArgumentError, MissingExtraError
from conduit_nb.spelling import nearest


def registered_names(group: str) -> list[str]:
    """Return the names that are registered in `group`, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def load_registered(group: str, name: str, *, kind: str) -> object:
    """Import what is registered as `name`; an unknown name is an error that lists the known."""
    entries = [entry for entry in entry_points(group=group) if entry.name == name]
    if not entries:
        names = registered_names(group)
        known = ", ".join(names) or "none (is conduit-nb installed?)"
        raise ArgumentError(
            f"No {kind} is called {name!r}.",
            param=kind,
            hint=nearest(
                name,
                names,
                then=f"There are {known}; a package registers others under {group}.",
            ),
        )
    try:
        return entries[0].load()
    except ImportError as err:
        raise MissingExtraError(
            f"The {kind} {name!r} is registered but cannot be imported ({err}).",
            hint=f"Install or repair the package that registers it: {entries[0].value}.",
        ) from err

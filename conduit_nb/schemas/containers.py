"""Lists and objects of a JSON Schema: which items and keys are missing, and how they are written.

Layer 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from conduit_nb.schemas.nodes import (
    Node,
    Nodes,
    code_range,
    escapes_of,
    fits,
    quoted,
    rest_of_one,
    shortest_of,
)
from conduit_nb.schemas.reader import Array, Object, Part, Text


class ArrayNode(Node):
    """A list of so many items; `first` are the nodes of its first ones, `other` of all others."""

    def __init__(self, least: int, most: int | None) -> None:
        self.first: list[Nodes] = []
        self.other: Nodes = ()
        self._least = least
        self._most = most

    def inside(self, index: int) -> Nodes:
        """Return what the item at `index` may be."""
        return self.first[index] if index < len(self.first) else self.other

    def shorten(self) -> bool:
        shortest = self._closed(0, is_begun=True)
        return _is_shorter(self, None if shortest is None else f"[{shortest}")

    def takes(self, part: Part) -> bool:
        if not isinstance(part, Array) or (self._most is not None and len(part.items) > self._most):
            return False
        if part.end is not None and len(part.items) < self._least:
            return False
        known: int = part.notes.get(self, 0)
        while known < len(part.items) and part.items[known].end is not None:
            if not fits(self.inside(known), part.items[known]):
                return False
            known += 1
        part.notes[self] = known
        return True

    def rest(self, part: Part, half: bytes) -> str | None:
        if not isinstance(part, Array) or half:
            return None
        count = len(part.items)
        if part.stage != "comma":
            return self._closed(count, is_begun=part.stage == "begun")
        item = shortest_of(self.inside(count))
        after = self._closed(count + 1, is_begun=False)
        if item is None or after is None or count == self._most:
            return None
        return item + after

    def most_bytes(self) -> int:
        item = _longest([shortest_of(nodes) for nodes in (*self.first, self.other)])
        return (self._least + 1) * (item + 1) + 1

    def _closed(self, count: int, *, is_begun: bool) -> str | None:
        missing = [shortest_of(self.inside(index)) for index in range(count, self._least)]
        if None in missing:
            return None
        joined = ",".join(text for text in missing if text is not None)
        return f"{'' if is_begun or not joined else ','}{joined}]"


class ObjectNode(Node):
    """An object; `properties` by key, in order, and `other` for the keys that are not in it.

    A key that stands twice counts twice, as grammars have it.
    """

    def __init__(self, required: Sequence[str], least: int, most: int | None) -> None:
        self.properties: dict[str, Nodes] = {}
        self.other: Nodes = ()
        self._required = tuple(required)
        self._least = least
        self._most = most

    def inside(self, key: str) -> Nodes:
        """Return what stands at `key` may be."""
        return self.properties.get(key, self.other)

    def shorten(self) -> bool:
        rest = self._closed((), is_begun=True)
        return _is_shorter(self, None if rest is None else f"{{{rest}")

    def takes(self, part: Part) -> bool:
        if not isinstance(part, Object):
            return False
        keys = part.entries.keys()
        count = len(keys) + len(part.repeats)
        if self._most is not None and count > self._most:
            return False
        if part.end is not None and (
            count < self._least or any(key not in keys for key in self._required)
        ):
            return False
        known: int = part.notes.get(self, 0)
        for key, value in list(part.entries.items())[known:] if known < len(keys) else ():
            nodes = self.inside(key)
            if not nodes or (value.end is not None and not fits(nodes, value)):
                return False
            known += value.end is not None
        part.notes[self] = known
        return not part.repeats or self._takes_repeats(part)

    def _takes_repeats(self, part: Object) -> bool:
        """Say whether the values fit whose key stands there already; readers take either."""
        known: int = part.notes.get((self, "repeats"), 0)
        for key, value in part.repeats[known:]:
            if value.end is not None and not fits(self.inside(key), value):
                return False
            known += value.end is not None
        part.notes[self, "repeats"] = known
        return True

    def rest(self, part: Part, half: bytes) -> str | None:
        if not isinstance(part, Object):
            return None
        keys = (*part.entries, *(key for key, _ in part.repeats))
        match part.stage:
            case "begun" | "after" | "inside":
                return self._closed(keys, is_begun=part.stage == "begun") if not half else None
            case "colon" | "value":
                assert part.key is not None
                colon = ":" if part.stage == "colon" else ""
                return self._with_value(colon, part.key.text, keys)
            case "key":
                assert part.key is not None
                found = [
                    self._with_value(f"{rest}:", name, keys)
                    for name, rest in self._keys(part.key, keys, half)
                ]
            case "comma":
                required = [key for key in self._required if key not in keys]
                names = required[:1] or self._names_left(keys) or [_new_key("", keys)]
                found = [self._with_value(f"{quoted(name)}:", name, keys) for name in names]
        return min((text for text in found if text is not None), key=len, default=None)

    def most_bytes(self) -> int:
        entries = {key: shortest_of(nodes) for key, nodes in self.properties.items()}
        needed = sum(
            len(quoted(key).encode()) + 2 + _longest([entries.get(key)]) for key in self._required
        )
        one_more = max(
            (len(quoted(key).encode()) + 2 + _longest([text]) for key, text in entries.items()),
            default=0,
        )
        other = 24 + _longest([shortest_of(self.other)])
        return needed + one_more + (self._least + 1) * other + 2

    def _with_value(self, before: str, key: str, keys: tuple[str, ...]) -> str | None:
        """Return what is written where `key` has been begun, up to the end of the object."""
        value = shortest_of(self.inside(key))
        rest = self._closed((*keys, key), is_begun=False)
        if value is None or rest is None or (self._most is not None and len(keys) >= self._most):
            return None
        return f"{before}{value}{rest}"

    def _keys(self, key: Text, keys: tuple[str, ...], half: bytes) -> list[tuple[str, str]]:
        """Return what the open key may become, with what is to be written for it."""
        found: list[tuple[str, str]] = []
        for names in (self._next_names(keys), self._names_left(keys)):
            rests = [(name, rest_of_one(key, [name], half)) for name in names]
            found = found or [(name, rest) for name, rest in rests if rest is not None]
        if not self.other:
            return found
        leads = escapes_of(key.escape) if key.escape else [("", "")]
        if half:
            leads = [(char, char) for char in (chr(code_range(half)[0]),)]
        for lead, char in leads:
            begun = key.text + char
            name = _new_key(begun, (*keys, *self.properties))
            found.append((name, lead + quoted(name[len(begun) :])[1:]))
        return found

    def _names_left(self, keys: tuple[str, ...]) -> list[str]:
        """Return the properties that may follow: those behind the last one, else any."""
        names = list(self.properties)
        last = max((names.index(key) for key in keys if key in self.properties), default=-1)
        return names[last + 1 :] or [name for name in names if name not in keys]

    def _next_names(self, keys: tuple[str, ...]) -> list[str]:
        """Return the properties that may follow where they stand in order."""
        names: list[str] = []
        for name in self._names_left(keys):
            names.append(name)
            if name in self._required and name not in keys:
                break
        return names

    def _closed(self, keys: Sequence[str], *, is_begun: bool) -> str | None:
        """Return the entries that `keys` lack, and the end."""
        there = dict.fromkeys(keys)
        entries: list[str] = []
        missing = [key for key in self._required if key not in there]
        # Readers count each key once, grammars each entry.
        most = math.inf if self._most is None else self._most
        while missing or (len(there) < self._least and len(keys) + len(entries) < most):
            optional = [key for key in self._names_left(tuple(there)) if key not in there]
            key = missing.pop(0) if missing else (optional or [_new_key("", there)])[0]
            value = shortest_of(self.inside(key))
            if value is None:
                return None
            there[key] = None
            entries.append(f"{quoted(key)}:{value}")
        joined = ",".join(entries)
        return f"{'' if is_begun or not joined else ','}{joined}}}"


def _new_key(begun: str, keys: Iterable[str]) -> str:
    """Return the shortest key that begins like that and is not among `keys`."""
    taken = set(keys)
    name, number = begun, 0
    while name in taken:
        number += 1
        name = f"{begun}{number}"
    return name


def _is_shorter(node: Node, text: str | None) -> bool:
    if text is None or (node.shortest is not None and len(text) >= len(node.shortest)):
        return False
    node.shortest = text
    return True


def _longest(texts: Iterable[str | None]) -> int:
    return max((len(text.encode()) for text in texts if text is not None), default=0)

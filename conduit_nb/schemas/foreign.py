"""Rewrite JSON Schemas from other libraries into the form that grammars take.

    servable(schema)   # the same values, or fewer; raises SchemaError where it cannot be served

Unknown keywords and unchecked formats are annotations by the standard: they are left out, and so
are titles, descriptions and defaults. The forms of pydantic, zod and OpenAPI are rewritten: `oneOf`
with a discriminator, `allOf` of one, tuples of draft 7, `propertyNames`, `uniqueItems` over a few
values. An object that does not mention additional properties gets none, as in vLLM. Every value
that fits the result fits the original schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain, combinations, islice, permutations, starmap
from typing import Any, cast

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.formats import FORMATS as FORMAT_REGEXES
from conduit_nb.schemas.patterns import anchored

MAX_DEPTH = 120
"""The maximum number of nested levels in a schema; llguidance reads 127."""

MAX_OPTIONAL = 500
"""The maximum number of optional properties of one object: each costs the parser four items."""

MAX_ARRAYS, MAX_ALL_ARRAYS = 130, 650
"""The maximum number of alternatives that replace one `uniqueItems` array, and all of a schema.

Four values have 65 ordered subsets. A grammar of some thousands takes seconds to compile.
"""

MAX_COMPARED = 64
"""The maximum number of members of a oneOf that are compared pairwise."""

LOWEST_INTEGER, LARGEST_NUMBER, LARGEST_COUNT = -(2**62), 10**18, 2**31 - 1
"""The bounds that llguidance accepts; it reads them as floats."""

FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
KEPT = frozenset(
    (
        *("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$anchor"),
        *("$defs", "definitions", "properties", "required", "additionalProperties"),
        *("patternProperties", "propertyNames", "minProperties", "maxProperties"),
        *("items", "prefixItems", "minItems", "maxItems", "additionalItems"),
        *("minLength", "maxLength", "pattern", "format", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "x-guidance"),
    )
)
UNSERVED = frozenset(
    (
        *("not", "if", "uniqueItems", "contains", "dependentRequired", "dependentSchemas"),
        *("dependencies", "unevaluatedProperties", "unevaluatedItems"),
        *("$dynamicRef", "$recursiveRef"),
    )
)
# Grammars allow second 60 and year 0 here; clients do not.
_NARROWED = ("date-time", "date", "time")
# zod adds these to the format, which allows neither a leading dot nor two in a row.
_EMAIL_LOOKAHEADS = (r"(?!\.)", r"(?!.*\.\.)")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_KINDS = {"string": str, "integer": int, "number": int, "boolean": bool}
_DESCRIBING = frozenset(("title", "description", "default", "examples"))
_DEFINING = frozenset(("$defs", "definitions"))
LOOKAROUNDS = ("(?=", "(?!", "(?<=", "(?<!")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SINGLE = ("items", "additionalProperties", "propertyNames", "additionalItems")
_ALTERNATIVES = ("anyOf", "oneOf")


def servable(json_schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema in the form that grammars accept.

    Raises SchemaError where it is too deep or too wide, and where no value ends.
    """
    depth = _depth(json_schema)
    if depth > MAX_DEPTH:
        raise SchemaError(
            f"the JSON Schema is nested {depth} levels deep; at most {MAX_DEPTH} are supported",
            hint="Move inner schemas to $defs and refer to them with $ref.",
        )
    schema = _Rewriter(json_schema).rewritten()
    if not _Endings(schema).has_one():
        raise SchemaError(
            "no finite value fits the JSON Schema: it contains itself without a way out",
            hint="Make the property that refers back optional, or allow null there.",
        )
    return schema


def patterns(json_schema: object) -> Iterator[str]:
    """Yield the regular expressions in a schema."""
    for schema in _subschemas(json_schema):
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            yield pattern
        yield from _mapping(schema.get("patternProperties"))


class _Rewriter:
    """Rewrites one schema, its `$defs` included."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._arrays = 0
        self._tags = dict(_tags(root))
        # Parts that are merged with others must stay open: what one closes, the other cannot have.
        self._closes = not any(_is_mixed(one) for one in _subschemas(root))
        self._containers = {
            steps[1] for steps in (ref.split("/") for ref in _references(root)) if len(steps) > 2
        }

    def rewritten(self) -> dict[str, Any]:
        """Return the rewritten schema."""
        result = self._object(self._root, "$", "#")
        for name in self._containers:  # such as `components`, which are no keyword of JSON Schema
            if name in self._root and name not in result:
                result[name] = self._definitions(self._root[name], f"#/{name}")
        return result

    def _definitions(self, value: object, pointer: str) -> object:
        """Return a tree of schemas; a mapping with a keyword is a schema."""
        if not isinstance(value, Mapping):
            return value
        tree = cast("Mapping[str, Any]", value)
        if any(key in KEPT and key != "properties" for key in tree):
            return self._object(tree, "$", pointer)
        return {
            key: self._definitions(one, f"{pointer}/{_escaped(key)}") for key, one in tree.items()
        }

    def _schema(self, value: object, path: str, pointer: str) -> Any:
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping):
            raise SchemaError(f"{value!r:.40} is not a JSON Schema", path=path)
        return self._object(cast("Mapping[str, Any]", value), path, pointer)

    def _object(self, schema: Mapping[str, Any], path: str, pointer: str) -> dict[str, Any]:
        result = {name: value for name, value in schema.items() if _asserts(name, value)}
        for name in _MAPS:
            if isinstance(result.get(name), Mapping):
                result[name] = {
                    key: self._schema(
                        value, _child(path, name, key), f"{pointer}/{name}/{_escaped(key)}"
                    )
                    for key, value in result[name].items()
                }
        for name in _LISTS:
            if isinstance(result.get(name), list):
                result[name] = [
                    self._schema(value, path, f"{pointer}/{name}/{index}")
                    for index, value in enumerate(result[name])
                ]
        if isinstance(result.get("items"), list):  # a tuple, as drafts up to 7 write it
            result["prefixItems"] = [
                self._schema(value, f"{path}[]", f"{pointer}/items/{index}")
                for index, value in enumerate(result.pop("items"))
            ]
            if "additionalItems" in result:
                result["items"] = result["additionalItems"]
        result.pop("additionalItems", None)
        for name in _SINGLE:
            if name in result:
                result[name] = self._schema(result[name], f"{path}[]", f"{pointer}/{name}")
        self._localise(result)
        _infer_type(result)
        _modernise_bounds(result)
        _narrow_bounds(result)
        _narrow_format(result)
        self._choose_different(result)
        self._name_properties(result)
        self._require_tag(result, pointer)
        self._choose(result, schema)
        self._close(result)
        _check_width(result, path)
        return _unwrapped(result)

    def _localise(self, result: dict[str, Any]) -> None:
        """Rewrite a reference to the schema's own `$id` as a local one."""
        name, reference = self._root.get("$id"), result.get("$ref")
        if isinstance(name, str) and isinstance(reference, str) and name:
            rest = reference.removeprefix(name.removesuffix("#"))
            if rest != reference and rest[:1] in ("", "#"):
                result["$ref"] = rest or "#"

    def _require_tag(self, result: dict[str, Any], pointer: str) -> None:
        """Make the discriminator of a union a required property."""
        tag = self._tags.get(pointer)
        if tag is None or tag not in _mapping(result.get("properties")):
            return
        required = result.get("required", [])
        if isinstance(required, list) and tag not in required:
            result["required"] = [*cast("list[Any]", required), tag]

    def _choose(self, result: dict[str, Any], schema: Mapping[str, Any]) -> None:
        """Drop alternatives that cannot be served, unless all are."""
        if "oneOf" in result and "anyOf" not in result:
            members = [_resolved(self._root, one) for one in _list(schema.get("oneOf"))]
            is_few = len(members) <= MAX_COMPARED
            if _tag_of(schema) is not None or (
                is_few and all(starmap(_exclude, combinations(members, 2)))
            ):
                result["anyOf"] = result.pop("oneOf")
        for name in _ALTERNATIVES:
            members = result.get(name)
            if isinstance(members, list):
                served = [one for one in cast("list[object]", members) if not _is_unserved(one)]
                result[name] = served or members

    def _choose_different(self, result: dict[str, Any]) -> None:
        """Replace a `uniqueItems` array by alternatives for all such arrays, where they are few.

        In any order where that is possible, else in the order of the values.
        """
        min_items, max_items = result.get("minItems", 0), result.get("maxItems")
        if result.get("uniqueItems") is not True or result.get("type") != "array":
            return
        if isinstance(max_items, int) and max_items <= 1:
            del result["uniqueItems"]
            return
        values = _values(_resolved(self._root, result.get("items")))
        array = {"type", "items", "uniqueItems", "minItems", "maxItems"}
        if not values or not isinstance(min_items, int) or result.keys() - array - _DEFINING:
            return
        counts = range(
            min_items,
            min(len(values), max_items if isinstance(max_items, int) else len(values)) + 1,
        )
        limit = min(MAX_ARRAYS, MAX_ALL_ARRAYS - self._arrays)
        for choose in (permutations, combinations):
            arrays = chain.from_iterable(choose(values, count) for count in counts)
            chosen = list(islice(arrays, limit + 1))
            if 0 < len(chosen) <= limit:
                for name in array & result.keys():
                    del result[name]
                result["anyOf"] = [_array_of(one) for one in chosen]
                self._arrays += len(chosen)
                return

    def _name_properties(self, result: dict[str, Any]) -> None:
        """Rewrite `propertyNames` as properties, where it is a few names or a pattern."""
        names = _resolved(self._root, result.get("propertyNames"))
        rule = _mapping(names)
        if names is True or (isinstance(names, Mapping) and rule.keys() <= {"type"}):
            result.pop("propertyNames", None)
            return
        if not isinstance(names, Mapping) or "properties" in result:
            return
        value = result.get("additionalProperties", True)
        listed: object = [rule["const"]] if "const" in rule else rule.get("enum")
        if isinstance(listed, list):
            del result["propertyNames"]
            result["properties"] = {str(key): value for key in cast("list[object]", listed)}
            result["additionalProperties"] = False
        elif "patternProperties" not in result and (pattern := _key_pattern(rule)) is not None:
            del result["propertyNames"]
            result["patternProperties"] = {pattern: value}
            result["additionalProperties"] = False

    def _close(self, result: dict[str, Any]) -> None:
        properties = _mapping(result.get("properties"))
        is_silent = properties and result.keys().isdisjoint(
            ("additionalProperties", "patternProperties", "unevaluatedProperties")
        )
        required = result.get("required", [])
        if self._closes and is_silent and isinstance(required, list):
            keys = cast("list[object]", required)
            if all(isinstance(key, str) and key in properties for key in keys):
                result["additionalProperties"] = False


class _Endings:
    """Decides whether a schema has a finite value: the least fixed point over its references."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._ends = dict.fromkeys(_references(root), False)

    def has_one(self) -> bool:
        """Return whether the schema has a finite value."""
        is_new = True
        while is_new:
            is_new = False
            for reference, ends in self._ends.items():
                if not ends and self._has(_target(self._root, reference)):
                    self._ends[reference] = is_new = True
        return self._has(self._root)

    def _has(self, value: object) -> bool:
        if not isinstance(value, Mapping):
            return value is not False
        schema = cast("Mapping[str, Any]", value)
        reference = schema.get("$ref")
        if isinstance(reference, str) and not self._ends.get(reference, True):
            return False
        for name in _ALTERNATIVES:
            members = schema.get(name)
            if isinstance(members, list) and not any(map(self._has, cast("list[Any]", members))):
                return False
        if not all(map(self._has, _list(schema.get("allOf")))):
            return False
        kinds = schema.get("type")
        if kinds == "object" or kinds == ["object"]:
            properties = _mapping(schema.get("properties"))
            return all(self._has(properties.get(key)) for key in _texts(schema.get("required")))
        if kinds == "array" or kinds == ["array"]:
            min_items = schema.get("minItems", 0)
            first = _list(schema.get("prefixItems"))
            if not isinstance(min_items, int) or not all(map(self._has, first[:min_items])):
                return not isinstance(min_items, int)
            return min_items <= len(first) or self._has(schema.get("items", True))
        return True


def _asserts(name: str, value: object) -> bool:
    """Return whether a keyword restricts values; with a null it does not."""
    match name, value:
        case "const", _:
            return True
        case _, None:
            return False
        case "required", bool():  # of a property itself, as in draft 3
            return False
        case "format", _:
            return isinstance(value, str) and value in FORMATS
        case "uniqueItems", False:
            return False
        case (("unevaluatedProperties" | "unevaluatedItems"), True):
            return False
        case (("dependentRequired" | "dependentSchemas" | "dependencies"), {}):
            return bool(value)
        case _:
            return name in KEPT or name in UNSERVED


def _modernise_bounds(result: dict[str, Any]) -> None:
    """Rewrite a boolean `exclusiveMinimum` (drafts up to 4) as a number."""
    for closed, opened in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = result.get(opened)
        if isinstance(flag, bool):
            del result[opened]
            if flag and closed in result:
                result[opened] = result.pop(closed)


def _infer_type(result: dict[str, Any]) -> None:
    """Add the type object to a schema with properties, and array to one with items.

    Without a type any text or number would fit, which nobody means.
    """
    if result.keys().isdisjoint(("type", "$ref", "enum", "const", "anyOf", "oneOf", "allOf")):
        if "properties" in result:
            result["type"] = "object"
        elif "items" in result:
            result["type"] = "array"


def _narrow_bounds(result: dict[str, Any]) -> None:
    """Clamp bounds to those that a grammar can be made of."""
    for name in _COUNTS:
        bound = result.get(name)
        if isinstance(bound, float) and bound.is_integer():
            result[name] = int(bound)
        if name.startswith("max") and _number(bound) > LARGEST_COUNT:
            result[name] = LARGEST_COUNT
    is_whole = result.get("type") in ("integer", ["integer"])
    lowest = LOWEST_INTEGER if is_whole else -LARGEST_NUMBER
    for name in ("minimum", "exclusiveMinimum"):
        if _number(result.get(name)) < lowest:
            result[name] = lowest
    for name in ("maximum", "exclusiveMaximum"):
        if not is_whole and _number(result.get(name)) > LARGEST_NUMBER:
            result[name] = LARGEST_NUMBER


def _number(value: object) -> float:
    """Return a bound, NaN for other values: it compares as false."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return cast("float", value) if is_number else math.nan


def _narrow_format(result: dict[str, Any]) -> None:
    """Replace a format by a pattern where its grammar allows values that clients reject."""
    form, pattern = result.get("format"), result.get("pattern")
    if form in _NARROWED and pattern is None:
        del result["format"]
        result["pattern"] = anchored(FORMAT_REGEXES[form])
    elif form == "email" and isinstance(pattern, str):
        for lookahead in _EMAIL_LOOKAHEADS:
            pattern = pattern.replace(lookahead, "")
        result["pattern"] = pattern


def _array_of(values: tuple[object, ...]) -> dict[str, Any]:
    """Return the schema of an array with exactly these values."""
    first = {"prefixItems": [{"const": value} for value in values]} if values else {}
    count = len(values)
    return {"type": "array", **first, "items": False, "minItems": count, "maxItems": count}


def _values(items: object) -> list[object]:
    """Return the distinct values that an item may have, none where they are not listed."""
    rule = _mapping(items)
    listed = [rule["const"]] if "const" in rule else _list(rule.get("enum"))
    if rule.get("type") == "boolean" and not listed:
        listed = [False, True]
    is_plain = all(isinstance(one, str | bool | int | None) for one in listed)
    type_ = rule.get("type")
    if not is_plain or rule.keys() - {"const", "enum", "type"} - _DESCRIBING:
        return []
    kind = _KINDS.get(type_) if isinstance(type_, str) else object if type_ is None else None
    if kind is None:
        return []
    return list({json.dumps(one): one for one in listed if isinstance(one, kind)}.values())


def _key_pattern(rule: Mapping[str, Any]) -> str | None:
    """Return the pattern of an object's keys, None where there is no single one."""
    says = rule.keys() - _DESCRIBING - {"type"}
    if says == {"pattern"} and isinstance(rule["pattern"], str):
        return rule["pattern"]
    form, min_length, max_length = (
        rule.get("format"),
        rule.get("minLength", 0),
        rule.get("maxLength", ""),
    )
    if says == {"format"} and isinstance(form, str) and form in FORMAT_REGEXES:
        return anchored(FORMAT_REGEXES[form])
    if says and says <= {"minLength", "maxLength"}:
        return anchored(rf"(?:.|\n){{{min_length},{max_length}}}")
    return None


def _check_width(result: Mapping[str, Any], path: str) -> None:
    properties = _mapping(result.get("properties"))
    required = set(_texts(result.get("required")))
    optional = sum(key not in required for key in properties)
    if optional > MAX_OPTIONAL:
        raise SchemaError(
            f"the object has {optional:,} optional properties; at most {MAX_OPTIONAL} are"
            " supported",
            path=path,
            hint="Make properties required, or split the object into several.",
        )


def _unwrapped(result: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with an `allOf` or `anyOf` of one member replaced by that member."""
    beside = result.keys() - {"$defs", "definitions", "x-guidance", "$anchor"}
    for name in ("allOf", "anyOf"):
        members = _list(result.get(name))
        if beside == {name} and len(members) == 1:
            (member,) = members
            if isinstance(member, dict) and "$defs" not in member and "definitions" not in member:
                rest = {key: value for key, value in result.items() if key != name}
                return {**rest, **cast("dict[str, Any]", member)}
    return result


def _exclude(one: object, other: object) -> bool:
    """Return whether no value fits both, by type or by the values of a shared required property."""
    first, second = _mapping(one), _mapping(other)
    kinds, others = _types(first), _types(second)
    if kinds and others and kinds.isdisjoint(others):
        return True
    if kinds != {"object"} or others != {"object"}:
        return False
    shared = {*_texts(first.get("required"))} & {*_texts(second.get("required"))}
    properties = _mapping(first.get("properties")), _mapping(second.get("properties"))
    for name in shared:
        values, more = (_values(given.get(name)) for given in properties)
        if values and more and not any(value in more for value in values):
            return True
    return False


def _types(schema: Mapping[str, Any]) -> set[str]:
    """Return the types of a schema, none where it has no `type`."""
    kinds = {*_texts(schema.get("type")), *_texts([schema.get("type")])}
    return kinds | {"number"} if "integer" in kinds else kinds


def _is_unserved(schema: object) -> bool:
    keywords = _mapping(schema)
    pattern = keywords.get("pattern")
    has_lookaround = isinstance(pattern, str) and any(one in pattern for one in LOOKAROUNDS)
    return has_lookaround or not UNSERVED.isdisjoint(keywords)


def _is_mixed(schema: Mapping[str, Any]) -> bool:
    """Return whether several keywords describe the values of a schema at once."""
    if len(_list(schema.get("allOf"))) > 1:
        return True
    places = sum(name in schema for name in ("properties", "$ref", "anyOf", "oneOf", "allOf"))
    return places > 1


def _tags(root: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the reference of each member of a tagged union, with the name of the tag."""
    for schema in _subschemas(root):
        tag = _tag_of(schema)
        if tag is not None:
            members = (*_list(schema.get("oneOf")), *_list(schema.get("anyOf")))
            for member in members:
                reference = _mapping(member).get("$ref")
                if isinstance(reference, str):
                    yield reference, tag


def _tag_of(schema: Mapping[str, Any]) -> str | None:
    discriminator = schema.get("discriminator")
    if isinstance(discriminator, str):
        return discriminator
    name = _mapping(discriminator).get("propertyName")
    return name if isinstance(name, str) else None


def _subschemas(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield all schemas in `value`, itself included; not those in enums, consts and defaults."""
    waiting: list[object] = [value]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        schema = cast("Mapping[str, object]", one)
        yield schema
        for name, inside in schema.items():
            if name in _MAPS:
                waiting.extend(_mapping(inside).values())
            elif name in _LISTS or (name == "items" and not _mapping(inside)):
                waiting.extend(_list(inside))
            elif name in _SINGLE:
                waiting.append(inside)
            elif name not in ("enum", "const", "default", "examples", "example"):
                waiting.append(inside)  # definitions may stand anywhere, in `components` for one


def _references(root: Mapping[str, Any]) -> dict[str, None]:
    found: dict[str, None] = {}
    for schema in _subschemas(root):
        if isinstance(schema.get("$ref"), str):
            found[schema["$ref"]] = None
    return found


def _target(root: Mapping[str, Any], reference: object) -> object:
    """Return the target of a reference, True where it is unknown."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    target: object = root
    path = reference[1:]
    if path and not path.startswith("/"):
        return True
    for step in path.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        items, entries = _list(target), _mapping(target)
        if key.isdecimal() and int(key) < len(items):
            target = items[int(key)]
        elif key in entries:
            target = entries[key]
        else:
            return True
    return target


def _resolved(root: Mapping[str, Any], value: object) -> object:
    """Return a schema with its references followed, True where they form a cycle."""
    seen: set[str] = set()
    while isinstance(value, Mapping) and "$ref" in value:
        reference = str(_mapping(cast("object", value))["$ref"])
        if reference in seen:
            return True
        seen.add(reference)
        value = _target(root, reference)
    return cast("object", value)


def _depth(value: object) -> int:
    deepest = 0
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        children: list[object] = [*_list(one), *_mapping(one).values()]
        waiting.extend((child, depth + 1) for child in children if _is_container(child))
    return deepest


def _is_container(value: object) -> bool:
    return isinstance(value, list | Mapping)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [one for one in _list(value) if isinstance(one, str)]


def _child(path: str, name: str, key: str) -> str:
    return f"{path}.{key}" if name == "properties" else f"{path}#{key}"


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

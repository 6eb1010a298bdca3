"""How many tokens a schema costs in a prompt: MDL against JSON Schema, for a nested order.

    python benchmarks/mdl_tokens.py [--tokenizer tokenizer.json]

Printed are tokens and the ratio to MDL, for an order of eight fields and for types that are used
twice or contain themselves. The peers are the JSON Schema that our grammars are made from and, if
it is installed, the one that pydantic makes of the same class, both as compact JSON.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from conduit_nb.lmlite.convert import converted
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model
from conduit_nb.schemas import schema_of


class Status(Enum):
    """Where an order stands."""

    NEW = "new"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


@dataclass
class Customer:
    name: str
    email: str


@dataclass
class Item:
    sku: str
    quantity: int
    price: float


@dataclass
class Order:
    order_id: str
    customer: Customer
    items: list[Item]
    status: Status
    placed: datetime
    gift: bool
    tags: list[str]
    note: str | None = None


@dataclass
class Address:
    street: str
    city: str
    country: str


@dataclass
class Shipment:
    """Types that are used twice, and one that contains itself."""

    sender: Address
    receiver: Address
    billing: Address | None
    parcels: list[Parcel]


@dataclass
class Parcel:
    weight: float
    inside: list[Parcel]


def embedded_tokenizer() -> Path:
    """Return the tokenizer of the embedded model, converting the model if that is still due."""
    return converted(find_model(EMBEDDED_MODEL_ID)) / "tokenizer.json"


def token_counter(tokenizer: Path) -> Callable[[str], int]:
    """Return what counts the tokens of a text."""
    loaded = Tokenizer.from_file(str(tokenizer))
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def forms(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """Yield the ways to tell a model about `cls`, MDL first."""
    schema = schema_of(cls)
    yield "MDL", schema.mdl
    yield "JSON Schema", json.dumps(schema.json_schema, separators=(",", ":"))
    if importlib.util.find_spec("pydantic"):
        pydantic = importlib.import_module("pydantic")  # a peer, no dependency of ours
        peer = pydantic.TypeAdapter(cls).json_schema()
        yield "pydantic", json.dumps(peer, separators=(",", ":"))


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of another model")
    tokenizer = parser.parse_args().tokenizer or embedded_tokenizer()
    count = token_counter(tokenizer)
    for cls in (Order, Shipment):
        print(schema_of(cls).mdl)
        counted = [(name, count(text)) for name, text in forms(cls)]
        for name, tokens in counted:
            ratio = tokens / counted[0][1]
            print(f"{cls.__name__:<10} {name:<12} {tokens:4d} tokens   {ratio:5.2f} x MDL")
        print()


if __name__ == "__main__":
    main()

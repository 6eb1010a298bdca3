"""What every peer is asked, word for word: the same messages, schemas and limits.

A workload with a common prefix gives its instruction first and the row last, as Conduit does; one
without gives the row first, so that no two prompts begin alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from conduit_nb import Length, Range, schema_of
from conduit_nb.protocol import Message

CHAT_TOKENS = 64
TOPICS = ("the sea", "a clock", "bread", "winter", "a train", "music", "a garden", "the moon")
REVIEWS = (
    "The soup was cold and nobody came when we called.",
    "Lovely place, great pasta, we will be back next week!",
    "Too expensive for what you get, though the wine was fine.",
    "Friendly staff. The view over the harbour alone is worth it.",
)
NAMES = ("Ada Brandt", "Luis Ortega", "Mei Tanaka", "Noor Haddad", "Olga Petrova", "Sam Okafor")
CITIES = ("Bremen", "Valencia", "Osaka", "Amman", "Tula", "Lagos")
THINGS = ("oak table", "desk lamp", "wool rug", "bookshelf", "armchair", "mirror")


class Sentiment(Enum):
    """How a review sounds."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


class Topic(Enum):
    """What a review is about."""

    FOOD = "food"
    SERVICE = "service"
    PRICE = "price"
    PLACE = "place"


@dataclass
class Judgement:
    sentiment: Sentiment
    topic: Topic
    would_return: bool
    is_complaint: bool
    stars: Annotated[int, Range(ge=1, le=5)]


@dataclass
class File:
    name: Annotated[str, Length(max=24)]
    purpose: Annotated[str, Length(max=96)]


@dataclass
class Listing:
    files: Annotated[list[File], Length(2, 2)]


@dataclass
class Address:
    street: Annotated[str, Length(max=32)]
    city: Annotated[str, Length(max=24)]
    postcode: Annotated[str, Length(max=12)]
    country: Annotated[str, Length(max=24)]


@dataclass
class Customer:
    name: Annotated[str, Length(max=32)]
    email: Annotated[str, Length(max=40)]
    is_company: bool
    address: Address


@dataclass
class Item:
    name: Annotated[str, Length(max=24)]
    quantity: Annotated[int, Range(ge=1, le=99)]
    price: Annotated[int, Range(ge=1, le=9999)]
    color: Annotated[str, Length(max=16)]


class Shipping(Enum):
    """How fast an order travels."""

    STANDARD = "standard"
    EXPRESS = "express"


@dataclass
class Order:
    """Twenty values: three of the order, seven of the customer, four of each item, two more."""

    number: Annotated[str, Length(max=16)]
    date: Annotated[str, Length(max=16)]
    customer: Customer
    items: Annotated[list[Item], Length(2, 2)]
    shipping: Shipping
    is_gift: bool


@dataclass
class Verdict:
    answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request. `output` is the dataclass that the reply must fit; None: any text will do."""

    messages: tuple[Message, ...]
    max_tokens: int
    output: type[Any] | None = None

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """Return what the reply's grammar is made from."""
        return None if self.output is None else schema_of(self.output).json_schema

    def check(self, text: str) -> None:
        """Raise ValidationError where a reply does not fit."""
        if self.output is not None:
            schema_of(self.output).decode(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Rows of one kind. `unit` is what the rate counts: rows where replies are records."""

    name: str
    unit: str
    instruction: str
    row: Callable[[int], str]
    max_tokens: int
    output: type[Any] | None = None

    def questions(self, count: int, *, common_prefix: bool = True) -> list[Question]:
        """Return `count` rows; the same ones each time."""
        return [
            Question(
                messages=tuple(self._messages(self.row(at), common_prefix)),
                max_tokens=self.max_tokens,
                output=self.output,
            )
            for at in range(count)
        ]

    def _messages(self, row: str, common_prefix: bool) -> list[Message]:
        told = self.instruction
        if self.output is not None:
            told += f"\n\nOutput (JSON):\n{schema_of(self.output).mdl}"
        if not told:
            return [{"role": "user", "content": row}]
        if common_prefix:
            return [{"role": "system", "content": told}, {"role": "user", "content": row}]
        return [{"role": "user", "content": f"{row}\n\n{told}"}]


def _order(at: int) -> str:
    name, city = NAMES[at % 6], CITIES[at * 5 % 6]
    mail = f"{name.split()[0].lower()}{at}@example.org"
    first = f"{at % 4 + 1} x {THINGS[at % 6]} (brown) at {40 + at}"
    second = f"{at % 3 + 1} x {THINGS[(at + 2) % 6]} (white) at {90 + at}"
    return (
        f"Order A-{1000 + 37 * at} of 2026-03-{at % 28 + 1:02d}. {name} <{mail}>, {at + 3} Mill"
        f" Lane, {10000 + 7 * at} {city}, Freedonia, a private customer, wants {first} and"
        f" {second}, sent by express, not as a gift."
    )


def _notes() -> str:
    return "\n".join(
        f"Note {index}: on day {index} the {THINGS[index % 6]} of {NAMES[index * 7 % 6]} was moved"
        f" from {CITIES[index % 6]} to {CITIES[(index + 3) % 6]}, and nobody complained."
        for index in range(1, 41)
    )


CLASSIFY = Workload(
    name="classify",
    unit="rows/s",
    instruction=(
        "You judge restaurant reviews: the sentiment of the review, its main topic, whether the"
        " guest would return, whether it is a complaint, and the stars from 1 to 5 that the guest"
        " would give. Judge only what the review says. A review that praises and blames in equal"
        " parts is neutral. A complaint asks for something to be done. The topic is what most of"
        " the review speaks of."
    ),
    row=lambda at: f"Review {at}: {REVIEWS[at % 4]}",
    max_tokens=100,
    output=Judgement,
)
FILES = Workload(
    name="files",
    unit="rows/s",
    instruction="List two files that a small project of this kind has, and what each is for.",
    row=lambda at: f"Project {at}: an app about {TOPICS[at % 8]}.",
    max_tokens=160,
    output=Listing,
)
EXTRACTION = Workload(
    name="extraction",
    unit="rows/s",
    instruction="Copy the facts of the order into the record, word for word.",
    row=_order,
    max_tokens=400,
    output=Order,
)
CHAT = Workload(
    name="chat",
    unit="tokens/s",
    instruction="",
    row=lambda at: f"Write a long story about {TOPICS[at % 8]} {at}.",
    max_tokens=CHAT_TOKENS,
)
LONG = Workload(
    name="long prompt",
    unit="rows/s",
    instruction=f"Answer the question about these notes.\n{_notes()}",
    row=lambda at: f"Question {at}: was anything moved on day {at % 60}?",
    max_tokens=16,
    output=Verdict,
)
WORKLOADS = {one.name: one for one in (CLASSIFY, FILES, EXTRACTION, CHAT, LONG)}

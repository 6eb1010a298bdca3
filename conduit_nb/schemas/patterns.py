r"""Rewrite regular expressions so that Python, ECMA 262 (JSON Schema) and grammars agree on them.

`\d`, `\w` and `\s` become ASCII classes (as in ECMA for the first two), `.` becomes `[^\n]`, groups
do not capture. A construct whose meaning differs, or that is missing somewhere, is an error:
lookaround, back-references, word boundaries, inline flags, lazy and possessive repetition, anchors
in the middle. A pattern matches the whole text: `^` and `$` around it have no effect.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from conduit_nb.errors import SchemaError

MAX_REPEAT = 1000

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f\v"}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_NAMED = {
    "b": "word boundary",
    "B": "word boundary",
    "A": "anchor",
    "Z": "anchor",
    "z": "anchor",
    "p": "Unicode property",
    "P": "Unicode property",
    "k": "named back-reference",
}
_GROUPS = {
    "=": "look-ahead",
    "!": "look-ahead",
    "<=": "look-behind",
    "<!": "look-behind",
    "P<": "named group",
    "P=": "named back-reference",
    "<": "named group",
    "#": "comment",
    ">": "atomic group",
    "(": "conditional",
}


def common_regex(regex: str, *, path: str = "$") -> str:
    """Return `regex` in the common form, without anchors.

    Raises SchemaError, which names the construct, where there is no common form.
    """
    return _Parser(regex, path).parse()


def anchored(regex: str) -> str:
    """Return a `regex` of the common form with anchors: a search matches only the whole text."""
    return f"^(?:{regex})$"


@dataclass(slots=True)
class _Parser:
    regex: str
    path: str
    at: int = 0
    end: int = 0

    def parse(self) -> str:
        self.end = len(self.regex)
        is_anchored = self.regex.startswith("^")
        if is_anchored:
            self.at = 1
        if self.regex.endswith("$") and not _is_escaped(self.regex, self.end - 1):
            self.end -= 1
            is_anchored = True
        branches = self._branches()
        if self.at < self.end:
            raise self._refused("unbalanced )")
        if is_anchored and len(branches) > 1:
            raise self._refused(
                "^ or $ beside |", hint="Leave the anchors out: a pattern matches the whole text."
            )
        return "|".join(branches)

    def _branches(self) -> list[str]:
        branches = [""]
        while self.at < self.end and self._peek() != ")":
            if self._peek() == "|":
                self.at += 1
                branches.append("")
            else:
                branches[-1] += self._atom() + self._repeat()
        return branches

    def _atom(self) -> str:
        char = self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return self._char_class()
            case ".":
                return r"[^\n]"
            case "\\":
                return self._escape()
            case "^" | "$":
                raise self._refused(f"{char} in the middle")
            case "*" | "+" | "?" | "{":
                raise self._refused(f"{char} without something to repeat")
            case _:
                return _literal(char)

    def _group(self) -> str:
        if self._peek() == "?":
            self.at += 1
            if self._peek() != ":":
                raise self._refused(self._group_name())
            self.at += 1
        inner = "|".join(self._branches())
        if self._peek() != ")":
            raise self._refused("unbalanced (")
        self.at += 1
        return f"(?:{inner})"

    def _group_name(self) -> str:
        rest = self.regex[self.at : self.end]
        for length in (2, 1):
            name = _GROUPS.get(rest[:length])
            if name:
                return f"(?{rest[:length]} ({name})"
        return f"(?{rest[:1]} (inline flag)"

    def _repeat(self) -> str:
        char = self._peek()
        if char not in ("*", "+", "?", "{"):
            return ""
        self.at += 1
        quantifier = self._braces() if char == "{" else char
        if self._peek() == "?":
            raise self._refused(f"{quantifier}? (lazy repetition)")
        if self._peek() == "+":
            raise self._refused(f"{quantifier}+ (possessive repetition)")
        if self._peek() in ("*", "{"):
            raise self._refused(f"{quantifier}{self._peek()} (repetition of a repetition)")
        return quantifier

    def _braces(self) -> str:
        close = self.regex.find("}", self.at, self.end)
        text = self.regex[self.at : close] if close >= 0 else ""
        low, comma, high = text.partition(",")
        if not _is_count(low) or (high and not _is_count(high)):
            raise self._refused("{", hint=r"Write {n}, {n,} or {n,m}; a brace itself as \{.")
        if max(int(low), int(high or 0)) > MAX_REPEAT:
            raise self._refused(
                f"{{{text}}}", hint=f"At most {MAX_REPEAT} repetitions; Length bounds a whole text."
            )
        if high and int(high) < int(low):
            raise self._refused(f"{{{text}}}", hint="The smaller number comes first.")
        self.at = close + 1
        return f"{{{int(low)}{comma}{int(high) if high else ''}}}"

    def _escape(self) -> str:
        char = self._take()
        if char.lower() in _CLASSES:
            return f"[{'^' if char.isupper() else ''}{_CLASSES[char.lower()]}]"
        return _literal(self._escaped_char(char))

    def _escaped_char(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char in "xu":
            digits = self.regex[self.at : self.at + (2 if char == "x" else 4)]
            if len(digits) == (2 if char == "x" else 4) and all(
                digit in string.hexdigits for digit in digits
            ):
                code = int(digits, 16)
                if not 0xD800 <= code <= 0xDFFF:
                    self.at += len(digits)
                    return chr(code)
            raise self._refused(rf"\{char}{digits}")
        if char.isdigit():
            raise self._refused(rf"\{char} (back-reference or octal)")
        if char.isalpha() or not char.isascii():
            name = _NAMED.get(char)
            raise self._refused(rf"\{char} ({name})" if name else rf"\{char}")
        return char

    def _char_class(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self.at += 1
        parts: list[str] = []
        while True:
            char = self._take("unbalanced [")
            if char == "]":
                if not parts:
                    raise self._refused("[]", hint=r"Name at least one character; ] itself as \].")
                return f"[{'^' if negated else ''}{''.join(parts)}]"
            parts.append(self._class_part(char))

    def _class_part(self, char: str) -> str:
        if char == "[":
            raise self._refused("[ in a class", hint=r"Write \[ for the character.")
        if char == "\\":
            char = self._take()
            if char in _CLASSES:
                if self._peek() == "-" and self.regex[self.at + 1 : self.at + 2] != "]":
                    raise self._refused(rf"\{char}- (a range from a class)")
                return _CLASSES[char]
            if char.lower() in _CLASSES:
                raise self._refused(rf"\{char} in a class")
            char = self._escaped_char(char)
        if self._peek() != "-" or self.regex[self.at + 1 : self.at + 2] in ("]", ""):
            return _class_literal(char)
        self.at += 1
        last = self._take()
        if last == "\\":
            last = self._take()
            if last.lower() in _CLASSES:
                raise self._refused(rf"-\{last} (a range to a class)")
            last = self._escaped_char(last)
        if last == "[":
            raise self._refused("[ in a class", hint=r"Write \[ for the character.")
        if ord(last) < ord(char):
            raise self._refused(f"{char}-{last}", hint="The range runs backwards.")
        return f"{_class_literal(char)}-{_class_literal(last)}"

    def _peek(self) -> str:
        return self.regex[self.at] if self.at < self.end else ""

    def _take(self, otherwise: str = "\\ without a character") -> str:
        if self.at >= self.end:
            raise self._refused(otherwise)
        self.at += 1
        return self.regex[self.at - 1]

    def _refused(self, construct: str, *, hint: str = "") -> SchemaError:
        return SchemaError(
            f"the pattern {self.regex!r} uses {construct}, which does not mean the same in Python, "
            "JSON Schema and the grammar",
            path=self.path,
            hint=hint
            or r"Use characters, classes ([a-z], \d \w \s), groups (...), | and * + ? {n,m}.",
        )


def _literal(char: str) -> str:
    return "\\" + char if char in r"\.^$|?*+()[]{}" else _visible(char)


def _class_literal(char: str) -> str:
    if char in r"\]^[-":
        return "\\" + char
    # Doubled, these are set operations in some engines; not all accept them escaped.
    return f"\\x{ord(char):02x}" if char in "&~" else _visible(char)


def _visible(char: str) -> str:
    if char in _CONTROLS.values():
        return "\\" + next(name for name, control in _CONTROLS.items() if control == char)
    return f"\\x{ord(char):02x}" if ord(char) < 0x20 or ord(char) == 0x7F else char


def _is_escaped(text: str, at: int) -> bool:
    before = text[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9

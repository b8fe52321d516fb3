"""Text of unknown origin, made safe to show in a terminal, a log or an error: the one place that escapes it."""

import json
import unicodedata

_QUOTED = 80
"""Characters of a value that are quoted."""

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with everything that has no glyph written as JSON writes it: ``\u001b``, ``\n``, ``\u202e``.

    That is control characters (ESC among them), line breaks, tabs, bidirectional and zero-width characters, unassigned
    code points and lone surrogates, but for those in ``keep``. In JSON such characters stand only inside strings,
    where the escapes mean the same: what is escaped keeps its value.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_shown(char) or char in keep else _escaped(char) for char in text)


def _is_shown(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return _SHORT.get(char) or "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def quoted(value: object) -> str:
    """Return enough of a value to recognise it: a text as ``'text'``, anything else as JSON, such as ``null``."""
    if isinstance(value, str):
        return f"'{printable(_shortened(value))}'"
    try:
        # Stops early: a value may be as long as a request.
        chunks = json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value)
        text = ""
        while len(text) <= _QUOTED and (chunk := next(chunks, None)) is not None:
            text += chunk
    except (TypeError, ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"
    return printable(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"

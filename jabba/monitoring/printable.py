"""Text of unknown origin, made safe to show in a terminal, a log or an error: the one place that escapes it."""

import unicodedata

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

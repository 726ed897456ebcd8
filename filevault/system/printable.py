"""Escape text from outside, so that no control character reaches a terminal.

Names, file contents and AWS's answers may contain escape sequences, line ends or direction marks
that make a terminal or a reader see something else than the text.
"""

from __future__ import annotations

# C0, DEL, C1; Arabic letter mark; zero-width and direction marks; line and paragraph separators,
# embeddings and overrides; word joiner and isolates; BOM; interlinear annotation; tag characters;
# lone surrogates.
_HIDDEN = (
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_PLAIN_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/:=.,@+%-"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    short = _SHORT.get(character)
    if short is not None:
        return short
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"


def shell_word(text: str) -> str:
    """Return text as one word of a shell command for a hint: printable, quoted if necessary."""
    shown = printable(text)
    if shown and shown.isascii() and not shown.encode().translate(None, _PLAIN_WORD):
        return shown
    return "'" + shown.replace("'", "'\\''") + "'"


def printable(text: object, limit: int | None = None) -> str:
    """Return `text` as one line that is safe to show.

    Control, format, direction and surrogate characters appear as backslash escapes; with a
    `limit`, longer text is cut there and ends in `...`.
    """
    shown = str(text)
    if not (shown.isascii() and shown.isprintable()):
        import re  # here, since nearly no text needs it

        shown = re.sub(_HIDDEN, _escape, shown)
    if limit is not None and len(shown) > limit:
        return shown[: max(0, limit - 3)] + "..."
    return shown

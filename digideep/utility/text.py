"""Text for a terminal, whatever it was made of."""

_LONGEST = 2_000  # characters of a message


def printable(text: str) -> str:
    """Return text on one line: what would move the cursor, or cannot be shown, is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def one_line(text: str) -> str:
    """Return a message on one line; of a very long one, head and tail."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 500]} [...] {text[-500:]}"

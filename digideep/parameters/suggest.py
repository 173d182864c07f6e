"""Did you mean …?"""

import difflib
from collections.abc import Iterable

_MOST = 30  # words of a list: in a longer one nobody would find the message


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message: a question with the nearest known word, or the list of all known ones."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    if len(words) > _MOST:
        return f"Known are {len(words)}: {', '.join(words[:_MOST])}, …"
    return f"Known: {', '.join(words)}." if words else "None is known."

"""A session's logs as arrays."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import is_finite, is_number, read_json_lines
from digideep.utility.text import printable

if TYPE_CHECKING:
    import pandas

_MOMENT = ("epoch", "frame", "episode", "clock")
_LONGEST = 1e12  # seconds, or times that a block was entered


class Log(Mapping[str, dict[str, np.ndarray]]):
    """A file of JSON lines as arrays: `log[key][field]`, one entry per line that has the key.

    Fields are those of the line's "meta" (`epoch`, `frame`, `episode`, `clock`) and of the key's data (`num`, `sum`,
    `std`, `min`, `max`; in `prolog.json` `occurs`, `totals`, `starts`). What a line lacks is NaN. A file that is not
    there is an empty log; the line that a running session is writing is left out.

    Args:
        path: the file.
        needed: what each key's data must have.

    Raises:
        SessionError: for a file that cannot be read, or a line that no session writes.
    """

    def __init__(self, path: Path, needed: tuple[str, ...] = ("num", "sum")):
        self.path = path
        self._rows: dict[str, list[dict[str, Any]]] = {}
        for where, entry in read_json_lines(path):
            meta, figures = (entry.get("meta"), entry.get("data")) if isinstance(entry, dict) else (None, None)
            if not isinstance(meta, dict) or not isinstance(figures, dict):
                raise SessionError(f'{where} has no "meta" and "data".')
            if not all(is_finite(value) for value in meta.values()):
                raise SessionError(f'{where} has a "meta" that is not finite numbers.')
            for key, data in figures.items():
                if not isinstance(data, dict) or not all(is_number(data.get(name)) for name in needed):
                    raise SessionError(f"{where} has no numbers {', '.join(needed)} of '{printable(key)}'.")
                is_sane = all(value is None or is_number(value) for value in data.values()) and data.get("num", 1) >= 1
                is_sane &= all(0 <= data.get(name, 0) < _LONGEST for name in ("occurs", "totals"))
                if not is_sane:
                    raise SessionError(f"{where} has figures of '{printable(key)}' that are none.")
                self._rows.setdefault(key, []).append({**meta, **data})

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys, in the order of their first lines."""
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, np.ndarray]:
        """Return the fields of a key as arrays. Raises: KeyError: if nothing was logged under that name."""
        if key not in self._rows:
            raise KeyError(f"'{key}' is not in {self.path.name}. {did_you_mean(key, self._rows)}")
        rows = self._rows[key]
        fields = dict.fromkeys(field for row in rows for field in row)
        return {field: _column([row.get(field) for row in rows]) for field in fields}

    def mean(self, key: str) -> np.ndarray:
        """Return the mean of each line: `sum / num`."""
        entry = self[key]
        return entry["sum"] / entry["num"]

    def to_pandas(self, field: str = "mean") -> "pandas.DataFrame":
        """Return a table: a row for each line, columns `epoch`, `frame`, `episode`, `clock` and one for each key.

        Args:
            field: of the key's data, such as "max" or "num"; "mean" is `sum / num`, of `prolog.json` `totals / occurs`.

        Raises:
            UsageError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as err:
            raise UsageError("Tables need a package that is missing: pip install 'digideep[plot]'.") from err
        lines: dict[tuple[Any, ...], dict[str, Any]] = {}
        for key, rows in self._rows.items():
            for row in rows:
                moment = {name: row[name] for name in _MOMENT if name in row}
                total, number = row.get("sum", row.get("totals")), row.get("num", row.get("occurs"))
                value = row.get(field) if field != "mean" else total / number if number else None
                lines.setdefault(tuple(moment.items()), dict(moment))[key] = value
        return pandas.DataFrame(list(lines.values()))

    def last(self, field: str) -> int:
        """Return the greatest value of an integer field of "meta" in all lines; 0 if none has it."""
        found = (row[field] for rows in self._rows.values() for row in rows if field in row)
        return int(max(found, default=0))


def _column(values: list[Any]) -> np.ndarray:
    """Return whole numbers as int64, any others as float64; NaN for what is missing."""
    if all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    return np.array([np.nan if value is None else value for value in values], np.float64)

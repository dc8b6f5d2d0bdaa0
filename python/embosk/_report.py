"""`embosk.Report`: what an evaluation found."""

import html
import json
from os import PathLike
from pathlib import Path
from typing import Any

from embosk._embosk import RawReport
from embosk.errors import BudgetError, SettingError

# the columns of the notebook's table, where a report has them
_SHOWN = ("leak", "word_leak", "guess_leak", "bleu", "word_recall", "guess", "ndcg_at_10", "recall_at_10")

_NO_PICTURE = (
    "There is no picture: it shows leak against retrieval, and retrieval cannot be measured on a corpus without queries. "
    "Evaluate on a BEIR folder or on records, which have queries."
)


class Verdict:
    """Whether a report keeps a budget: `outcome` is "pass", "fail" or "inconclusive"."""

    def __init__(self, data, message):
        self._data = data
        self._message = message

    @property
    def outcome(self) -> str:
        """One of "pass", "fail" and "inconclusive"."""
        return self._data["outcome"]

    @property
    def reason(self) -> str | None:
        """Why nothing can be concluded; None if something can."""
        return self._data["reason"]

    def to_dict(self) -> dict[str, Any]:
        """The verdict with all its findings, as `embosk gate --format json` prints it."""
        return self._data

    def __bool__(self) -> bool:
        return self.outcome == "pass"

    def __str__(self):
        return self._message

    def __repr__(self):
        return f"<Verdict: {self.outcome}>"


class Report:
    """What an evaluation found: a row for each defense and adversary, and a signature of all settings.

    `print(report)` prints the table of `embosk evaluate`. A notebook shows it as HTML, with a picture of leak against
    retrieval. If retrieval was not measured, it says so in place of the picture.
    """

    def __init__(self, raw):
        self._raw = raw
        self._data = None

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Reads what `to_json` wrote. Only the full form can be checked against a budget."""
        try:
            return cls(RawReport.from_json(text))
        except SettingError as error:
            raise SettingError(str(error).replace("Report::to_json_full", "Report.to_json")) from None

    def to_json(self, full: bool = False) -> str:
        """The report as JSON, as `embosk evaluate --format json` prints it. With `full`, it also has the scores text by text."""
        return self._raw.full_json() if full else self._raw.json()

    def to_dict(self) -> dict[str, Any]:
        """The report as dicts and lists, like its JSON."""
        if self._data is None:
            self._data = json.loads(self._raw.json())
        return self._data

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, each a dict. A score is a dict of value, low and high."""
        return self.to_dict()["rows"]

    @property
    def signature(self) -> dict[str, Any]:
        """Everything that the scores depend on."""
        return self.to_dict()["signature"]

    @property
    def warnings(self) -> list[str]:
        """What weakens the result, such as assumptions about the embedder or missing texts."""
        return self.to_dict()["warnings"]

    @property
    def reason(self) -> str | None:
        """Why the report shows nothing about leaks; None if it does, or if nothing was attacked."""
        return self.to_dict()["reason"]

    def to_pandas(self) -> Any:
        """The rows as a pandas.DataFrame: each score has the columns NAME, NAME_low and NAME_high."""
        import pandas

        return pandas.DataFrame([_flat(row) for row in self.rows])

    def check(self, budget: str | PathLike[str], *, raises: bool = True) -> Verdict:
        """Checks the report against a budget, and returns the `Verdict`.

        Arguments:
            budget: the path of a budget file, or its text, such as "[limits]\\nleak = 0.1". Only its limits are used.
            raises: whether to raise `BudgetError`, which has the verdict, unless the budget is proved to be kept.
        """
        return self._check(read_budget(budget), raises)

    def _check(self, budget, raises):
        made = json.loads(self._raw.verdict(*budget))
        verdict = Verdict(made["verdict"], made["message"])
        if raises and not verdict:
            raise BudgetError(str(verdict), verdict)
        return verdict

    def __reduce__(self):
        return Report.from_json, (self.to_json(full=True),)

    def __str__(self):
        return self._raw.table()

    def __repr__(self):
        defenses = len({row["defense"] for row in self.rows})
        return f"<Report of {len(self.rows)} rows on {defenses} defenses>"

    def _repr_html_(self):
        shown = [name for name in _SHOWN if any(row.get(name) for row in self.rows)]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("defense", "adversary", *shown))
        body = "".join(_html_row(row, shown) for row in self.rows)
        picture = self._raw.picture()
        picture = "" if picture is None else picture[picture.index("<svg") :]
        missing = None if picture or "ndcg_at_10" in shown else _NO_PICTURE
        notes = "".join(f"<p>{html.escape(text)}</p>" for text in [self.reason, *self.warnings, missing] if text)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}{picture}"


def _html_row(row, shown):
    cells = [f"<td>{html.escape(row[name])}</td>" for name in ("defense", "adversary")]
    for name in shown:
        score = row.get(name)
        text = "–" if score is None else f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
        cells.append(f"<td>{text}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _flat(row):
    flat = {}
    for name, value in row.items():
        if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
            flat.update({name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]})
        elif not isinstance(value, dict):
            flat[name] = value
    return flat


def read_budget(budget):
    """The path and the text of a budget: a text has more than one line, and its paths are relative to the working folder."""
    if isinstance(budget, str) and "\n" in budget:
        return Path("budget"), budget
    if not isinstance(budget, (str, PathLike)):
        raise SettingError(f"a budget must be the path of a file, or its text, not {type(budget).__name__}")
    path = Path(budget)
    if not path.is_file():
        raise SettingError(f"{path}: there is no such budget; name a file, or give its text, which has more than one line")
    try:
        return path, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingError(f"{path}: it cannot be read: {reason}") from None

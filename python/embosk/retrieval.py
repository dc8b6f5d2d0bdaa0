"""Exact search and its scores, as evaluations compute them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy

from embosk._embosk import ndcg_of, search_exactly
from embosk._types import Vectors, is_ordered
from embosk.errors import IdsError, SettingError

__all__ = ["ndcg", "search"]


def search(documents: Vectors, queries: Vectors, k: int, ids: Iterable[str | int]) -> list[list[tuple[int, float]]]:
    """Returns, for each query, the `k` documents of highest cosine as pairs of a row and a score, best first.

    `documents` and `queries` are `[rows, dim]`. `ids` names the documents; equal scores are ordered by descending id. Raises
    `SettingError` unless both have the same dimension and each document has an id.
    """
    if not is_ordered(ids):
        raise IdsError(f"ids must be a sequence with an id for each document, not {type(ids).__name__}")
    return search_exactly(documents, queries, k, [str(one) for one in ids])


def ndcg(ranking: Sequence[Any], grades: Mapping[Any, int], k: int = 10) -> float | None:
    """Returns the nDCG of the first `k` documents of a ranking, by the rules of trec_eval.

    `ranking` is a list of ids, best first, and `grades` a dict from the ids of judged documents to their grades. None if
    none is judged. Raises `SettingError` for grades that are not whole numbers.
    """
    if not isinstance(grades, Mapping):
        raise SettingError(f"grades must be a dict from ids to grades, not {type(grades).__name__}")
    numbers: dict[Any, int] = {}
    number = lambda one: numbers.setdefault(one, len(numbers))  # noqa: E731
    judged = [(number(one), whole(grade, f"judgement {at}")) for at, (one, grade) in enumerate(grades.items())]
    return ndcg_of([number(one) for one in ranking], judged, k)


def whole(grade: Any, what: str) -> int:
    """The grade of a judgement as an int; `what` names the judgement."""
    if isinstance(grade, bool) or not isinstance(grade, (int, numpy.integer)):
        raise SettingError(f"{what} (counted from 0) has a grade of type {type(grade).__name__}; a grade is a whole number")
    return int(grade)

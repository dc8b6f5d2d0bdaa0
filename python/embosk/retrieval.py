"""Exact search and its scores, as evaluations compute them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embosk._embosk import ndcg_of, search_exactly
from embosk._types import Vectors

__all__ = ["ndcg", "search"]


def search(documents: Vectors, queries: Vectors, k: int, ids: Iterable[str | int]) -> list[list[tuple[int, float]]]:
    """Returns, for each query, the `k` documents of highest cosine as pairs of a row and a score, best first.

    `documents` and `queries` are `[rows, dim]`, and `ids` names the documents: ties are broken by descending id.
    """
    return search_exactly(documents, queries, k, [str(one) for one in ids])


def ndcg(ranking: Sequence[Any], grades: Mapping[Any, int], k: int = 10) -> float | None:
    """Returns the nDCG of the first `k` documents of a ranking, by the rules of trec_eval.

    `ranking` is a list of ids, best first, and `grades` a dict from the ids of judged documents to their grades. None if
    none is judged.
    """
    numbers: dict[Any, int] = {}
    number = lambda one: numbers.setdefault(one, len(numbers))  # noqa: E731
    judged = [(number(one), int(grade)) for one, grade in grades.items()]
    return ndcg_of([number(one) for one in ranking], judged, k)

"""Protects a column of a Spark DataFrame on its executors, with the same bytes as on one machine.

- **Keys do not travel.** A spec names keys as `env:NAME` or `file:PATH`, which each executor reads for itself. Mount
  files, name a function that asks a secrets manager (`keys`), or set variables with `spark.executorEnv.NAME`. Choose
  a NAME that contains `SECRET`, or Spark shows its value on its web page. Plans contain only the spec and names.
- **A retried task writes the same bytes.** Noise is therefore keyed and drawn by the id of each row; fresh noise is
  refused.
- **Vectors are arrays of float or double**, which the column keeps.

The package must be installed on the executors. Needs pyspark: `pip install embosk[spark]`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy

from embosk import _cluster, arrow
from embosk._embosk import Stack, check_spec
from embosk._types import KeyProvider, Norms, Role
from embosk.errors import ArrayError, IdsError, SettingError
from embosk.retrieval import ndcg, search, whole

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["evaluate_retrieval", "protect", "rekey", "unprotect"]


def protect(
    df: DataFrame,
    column: str,
    spec: str | Stack,
    id_column: str | None = None,
    *,
    role: Role = "document",
    dim: int | None = None,
    keys: KeyProvider | None = None,
    norms: Norms = "warn",
) -> DataFrame:
    """Protects a column of vectors, and returns the DataFrame with them in its place.

    Arguments:
        df: the DataFrame.
        column: its column of vectors, array<float> or array<double>. A null stays null.
        spec: the defenses, or a `Stack` whose keys are named as `env:NAME` or `file:PATH`.
        id_column: the column with the id of each row: string, binary, or a whole number. Keyed noise needs it. Each id
            must belong to one text and version.
        role: "document" or "query".
        dim: the dimension of the vectors. If it is given, other dimensions are refused on every executor.
        keys: where keys come from, if not from variables: a function from the NAME of `env:NAME` to its `Key` or the
            key's text, or the function's name as `"module:function"`. Each Python worker imports and calls it. Only its
            name travels, so a lambda or a function of the main script is refused.
        norms: what is done with vectors whose norm is not 1, as for `Stack.protect`, batch by batch. A warning goes to
            the executor's log.

    Raises `SpecError` for a spec outside the grammar, `SettingError` for fresh noise, keyed noise without ids, or a
    `keys` that workers cannot import. Errors in a row or a key are raised on the executor, when the DataFrame is computed.
    Warns of a key that Spark would show.
    """
    spec, dim = _cluster.planned(spec, dim)
    ids = id_column if _cluster.check(spec, role, id_column, norms) else None
    schema = _schema(df, column, id_column)
    _warn_of_shown_keys(df, spec, keys)
    stack = _cluster.builder(spec, keys, dim)
    return df.mapInArrow(partial(_protect, stack=stack, column=column, ids=ids, role=role, norms=norms), schema)


def unprotect(df: DataFrame, column: str, spec: str | Stack, *, keys: KeyProvider | None = None) -> DataFrame:
    """Undoes `protect` for specs of rotations, permutations and scalings, and returns the DataFrame.

    Arguments are those of `protect`. Raises `NotInvertibleError` on the executors for other specs.
    """
    spec, dim = _cluster.planned(spec)
    _warn_of_shown_keys(df, spec, keys)
    stack = _cluster.builder(spec, keys, dim)
    return df.mapInArrow(partial(_unprotect, stack=stack, column=column), _schema(df, column, None))


def rekey(
    df: DataFrame,
    column: str,
    old: str | Stack,
    new: str | Stack,
    id_column: str | None = None,
    *,
    role: Role = "document",
    keys: KeyProvider | None = None,
) -> DataFrame:
    """Moves a column of protected vectors from the spec `old` to `new`, and returns the DataFrame.

    Arguments are those of `protect`; `keys` gives the keys of both specs. Raises as `unprotect` for `old`, and as
    `protect` for `new`.
    """
    plans = _cluster.planned(old), _cluster.planned(new)
    ids = id_column if _cluster.check(plans[1][0], role, id_column) else None
    for spec, _ in plans:
        _warn_of_shown_keys(df, spec, keys)
    stacks = tuple(_cluster.builder(spec, keys, dim) for spec, dim in plans)
    return df.mapInArrow(partial(_rekey, stacks=stacks, column=column, ids=ids, role=role), _schema(df, column, id_column))


def evaluate_retrieval(
    queries: DataFrame,
    documents: DataFrame,
    qrels: DataFrame | Mapping[Any, Mapping[Any, int]],
    spec: str | Stack,
    *,
    id_column: str = "id",
    column: str = "vector",
    k: int = 10,
    keys: KeyProvider | None = None,
    norms: Norms = "warn",
) -> dict[str, Any]:
    """Computes nDCG@k of exact search on clean and on protected vectors, for collections that do not fit one machine.

    Each partition of the documents finds its own best documents for all queries, and the driver merges them. Scores are
    cosines. Ties are broken by descending id, as on one machine. `embosk.evaluate` gives the same figures if the
    defense draws no noise. Keyed noise is drawn by the rows' ids here, and by their vectors there, so figures under it
    differ a little. A stack that ends in `rerank` is measured by its coarse vectors alone: there is no second stage
    here.

    Arguments:
        queries: a DataFrame with an id and a vector for each query. They are held on every executor. Those without a
            vector, or without judgements, do not count.
        documents: a DataFrame with an id and a vector for each document. A document without a judgement has grade 0.
        qrels: a DataFrame with the columns `query_id`, `document_id` and `grade`, or a dict from the id of a query to a
            dict from ids of documents to grades. Grades are whole numbers. Ids are compared as text, so 7 is "7".
        spec, keys, norms: as for `protect`.
        id_column, column: the names of the id's and the vector's column, in both DataFrames.
        k: how many documents count.

    Returns a dict: `clean` and `protected` are mean nDCG@k, `queries` is how many queries they are the mean of. Raises
    `SettingError` for a column that is not there, qrels of another form, and if no query has a vector and judgements,
    `IdsError` for a query or a document without an id, and otherwise as `protect`.
    """
    if isinstance(k, bool) or not isinstance(k, (int, numpy.integer)) or k < 1:
        raise SettingError("k is a whole number of at least 1")
    spec, dim = _cluster.planned(spec)
    for name, df in (("queries", queries), ("documents", documents)):
        _schema(df, column, id_column, name)
    grades = _grades(qrels)
    # both sides in one plan: a limit or a sample may choose other rows when it is computed again
    copy = f"{column} protected"
    queries = queries.select(id_column, column).withColumn(copy, queries[column])
    queries = protect(queries, copy, spec, id_column, role="query", dim=dim, keys=keys, norms=norms)
    ids, clean, hidden = _collected(queries, id_column, (column, copy))
    uses_ids = _cluster.check(spec, "document", id_column)
    sides = {"clean": clean, "protected": hidden}
    stack = _cluster.builder(spec, keys, dim)
    work = partial(_best, sides=sides, stack=stack, ids=id_column, column=column, k=k, uses_ids=uses_ids, norms=norms)
    found = documents.select(id_column, column).mapInArrow(work, "side string, query int, id string, score float")
    rankings: dict[str, list[list[Any]]] = {side: [[] for _ in ids] for side in sides}
    for row in found.collect():
        rankings[row.side][row.query].append((row.score, row.id))
    return _scores(rankings, ids, grades, int(k))


def _warn_of_shown_keys(df, spec, keys):
    """Warns of keys in Spark's configuration, which Spark shows unless its pattern for secrets fits their names."""
    _, _, names = check_spec(spec, "document")
    conf = df.sparkSession.conf
    pattern = conf.get("spark.redaction.regex", "(?i)secret|password|token|access[.]?key")
    for name in [] if keys else names:
        setting = f"spark.executorEnv.{name}"
        if conf.get(setting, None) and not _is_hidden(pattern, setting):
            warnings.warn(
                f"Spark shows the key in {setting} on its web page and in event logs; give the variable a name with SECRET in "
                f"it, which `spark.redaction.regex` hides, or take a mounted file or `keys`",
                stacklevel=3,
            )


def _is_hidden(pattern, setting):
    """Whether Spark's pattern fits a name. One that only Java can read is taken not to."""
    try:
        return re.search(pattern, setting) is not None
    except re.error:
        return False


def _schema(df, column, id_column, what="the DataFrame"):
    """The schema of the result, which is that of the DataFrame."""
    from pyspark.sql import types

    known = _columns(df, what, *filter(None, (column, id_column)))
    kind = known[column]
    is_floats = isinstance(kind, types.ArrayType) and isinstance(kind.elementType, (types.FloatType, types.DoubleType))
    if not is_floats:
        raise ArrayError(
            f"{what}: the column {column!r} is of type {kind.simpleString()}; vectors are array<float> or array<double>; "
            f"cast it to array<float>, or name another column"
        )
    of_ids = (types.StringType, types.BinaryType, types.IntegralType)
    if id_column is not None and not isinstance(known[id_column], of_ids):
        raise IdsError(
            f"{what}: the column {id_column!r} is of type {known[id_column].simpleString()}; ids are string, binary or a whole "
            f"number; cast it to string"
        )
    return df.schema


def _columns(df, what, *names):
    """The types of a DataFrame's columns by name. Columns that are not there are refused."""
    if not hasattr(df, "mapInArrow"):
        kind = type(df).__name__
        raise SettingError(f"{what}: a Spark DataFrame is needed, not {kind}; make one with session.createDataFrame(data)")
    known = {field.name: field.dataType for field in df.schema.fields}
    for name in names:
        if name not in known:
            raise SettingError(f"{what}: there is no column {name!r}; the columns are {list(known)}")
    return known


def _protect(batches, *, stack, column, ids, role, norms):
    for batch in batches:
        defenses = stack(arrow.dimension(batch, column))
        known = ids if defenses.uses_ids(role) else None
        yield arrow.protect(batch, column, defenses, ids=known, role=role, norms=norms)


def _unprotect(batches, *, stack, column):
    for batch in batches:
        yield arrow.unprotect(batch, column, stack(arrow.dimension(batch, column)))


def _rekey(batches, *, stacks, column, ids, role):
    for batch in batches:
        old, new = (stack(arrow.dimension(batch, column)) for stack in stacks)
        yield arrow.rekey(batch, column, old, new, ids=ids if new.uses_ids(role) else None, role=role)


def _best(batches, *, sides, stack, ids, column, k, uses_ids, norms):
    """The best documents of a partition for each query, on both sides."""
    import pyarrow

    best = {side: [[] for _ in queries] for side, queries in sides.items()}
    for batch in batches:
        names = _texts(batch.column(batch.schema.get_field_index(ids)), "a document")
        both = {"clean": batch}
        defenses = stack(arrow.dimension(batch, column))
        both["protected"] = arrow.protect(batch, column, defenses, ids=ids if uses_ids else None, norms=norms)
        for side, table in both.items():
            rows, documents = _rows(table, column)
            named = [names[row] for row in rows]
            for query, hits in enumerate(search(documents, sides[side], k, named) if len(rows) else []):
                kept = best[side][query] + [(score, named[at]) for at, score in hits]
                best[side][query] = _first(kept, k)
    lines = [(side, query, one, score) for side, lists in best.items() for query, hits in enumerate(lists) for score, one in hits]
    columns = list(zip(*lines)) or [[], [], [], []]
    kinds = [pyarrow.string(), pyarrow.int32(), pyarrow.string(), pyarrow.float32()]
    arrays = [pyarrow.array(values, kind) for values, kind in zip(columns, kinds)]
    yield pyarrow.record_batch(arrays, names=["side", "query", "id", "score"])


def _rows(table, column):
    """The rows that have a vector, and these vectors."""
    vectors = table.column(table.schema.get_field_index(column))
    valid = vectors.is_valid().to_numpy(zero_copy_only=False)
    present = vectors.filter(vectors.is_valid())
    if len(present) == 0:
        return numpy.empty(0, int), numpy.empty((0, 0), "float32")
    return numpy.flatnonzero(valid), numpy.asarray(present.flatten()).reshape(len(present), -1)


def _first(hits, k):
    """The first `k` of pairs of a score and an id: the highest score first, then by descending id, compared as bytes."""
    return sorted(hits, key=lambda hit: (hit[0], hit[1].encode()), reverse=True)[:k]


def _collected(df, id_column, columns):
    """The ids of a small DataFrame, and the vectors of each column, which are null in the same rows."""
    table = df.toArrow().combine_chunks()
    batch = table.to_batches()[0] if table.num_rows else None
    sides = [_rows(batch, column) for column in columns] if batch else []
    if not sides or len(sides[0][0]) == 0:
        raise SettingError("there are no queries with a vector")
    names = _texts(table.column(id_column), "a query")
    return [names[row] for row in sides[0][0]], *(vectors for _, vectors in sides)


def _grades(qrels):
    """The grades of documents by the ids of queries, all ids as text."""
    if isinstance(qrels, Mapping):
        rows = []
        for at, (query, judged) in enumerate(qrels.items()):
            if not isinstance(judged, Mapping):
                kind = type(judged).__name__
                raise SettingError(f"qrels: query {at} (counted from 0) has a {kind}; it needs a dict from ids of documents to grades")
            rows += [(query, document, grade) for document, grade in judged.items()]
    else:
        names = ("query_id", "document_id", "grade")
        _columns(qrels, "qrels", *names)
        rows = [tuple(row) for row in qrels.select(*names).collect()]
    grades: dict[str, dict[str, int]] = {}
    for at, (query, document, grade) in enumerate(rows):
        if query is None or document is None:
            raise SettingError(f"qrels: judgement {at} (counted from 0) lacks the id of its query or document")
        grades.setdefault(_text(query), {})[_text(document)] = whole(grade, f"qrels: judgement {at}")
    return grades


def _scores(rankings, ids, grades, k):
    scores = {}
    for side, lists in rankings.items():
        ranked = [[one for _, one in _first(hits, k)] for hits in lists]
        judged = [ndcg(ranking, grades.get(query, {}), k) for query, ranking in zip(ids, ranked)]
        judged = [score for score in judged if score is not None]
        if not judged:
            raise SettingError("qrels: no query has judgements; its ids are those of queries and documents, compared as text")
        scores[side] = sum(judged) / len(judged)
    return {**scores, "queries": len(judged)}


def _texts(ids, what):
    """Ids as text. One that is missing is refused; `what` it is the id of."""
    if ids.null_count:
        raise IdsError(f"{what} has no id; give each an id, or leave it out")
    return [_text(one) for one in ids.to_pylist()]


def _text(one):
    # an id that is not UTF-8, such as the bytes of a UUID, is told apart by its bytes
    return one.decode(errors="backslashreplace") if isinstance(one, (bytes, bytearray)) else str(one)

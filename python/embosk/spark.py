"""Protects a column of a Spark DataFrame on its executors, with the same bytes as on one machine.

- **Keys do not travel.** A spec names keys as `env:NAME` or `file:PATH`, which each executor reads for itself: set
  variables with `spark.executorEnv.NAME`, or mount files. Plans and logs hold the spec alone.
- **A retried task writes the same bytes.** Noise is therefore keyed and drawn by the id of each row; fresh noise is
  refused.
- **Vectors are arrays of float or double**, which the column keeps.

The package must be installed on the executors. Needs pyspark: `pip install embosk[spark]`.
"""

from functools import lru_cache, partial

import numpy

from embosk import arrow
from embosk._embosk import Stack, check_spec
from embosk.errors import ArrayError, IdsError, NotPicklableError, SettingError

__all__ = ["evaluate_retrieval", "protect", "rekey", "unprotect"]


def protect(df, column, spec, id_column=None, *, role="document", dim=None):
    """Protects a column of vectors, and returns the DataFrame with them in its place.

    Arguments:
        df: the DataFrame.
        column: its column of vectors, array<float> or array<double>. A null stays null.
        spec: the defenses, or a `Stack` whose keys are named as `env:NAME` or `file:PATH`.
        id_column: the column with the id of each row: string, binary, or a whole number. Keyed noise needs it. Each id
            must belong to one text and version.
        role: "document" or "query".
        dim: the dimension of the vectors. With it, rows of another one are refused on every executor.

    Raises `SpecError` for a spec outside the grammar, `SettingError` for fresh noise, or keyed noise without ids. What is
    wrong with a row or a key is raised on the executor, when the DataFrame is computed.
    """
    spec = _spec(spec)
    uses_ids = _check(spec, role, id_column)
    schema = _schema(df, column, id_column)
    work = partial(_protect, spec=spec, column=column, ids=id_column if uses_ids else None, role=role, dim=dim)
    return df.mapInArrow(work, schema)


def unprotect(df, column, spec):
    """Undoes `protect` for specs of rotations, permutations and scalings, and returns the DataFrame.

    Raises `NotInvertibleError` on the executors for other specs.
    """
    spec = _spec(spec)
    check_spec(spec, "document")
    return df.mapInArrow(partial(_unprotect, spec=spec, column=column), _schema(df, column, None))


def rekey(df, column, old, new, id_column=None, *, role="document"):
    """Moves a column of protected vectors from the spec `old` to `new`, and returns the DataFrame.

    Raises as `unprotect` for `old`, and as `protect` for `new`.
    """
    old, new = _spec(old), _spec(new)
    check_spec(old, role)
    uses_ids = _check(new, role, id_column)
    ids = id_column if uses_ids else None
    work = partial(_rekey, old=old, new=new, column=column, ids=ids, role=role)
    return df.mapInArrow(work, _schema(df, column, id_column))


def evaluate_retrieval(queries, documents, qrels, spec, *, id_column="id", column="vector", k=10):
    """Computes nDCG@k of exact search on clean and on protected vectors, for collections that do not fit one machine.

    Each partition of the documents finds its own best documents for all queries, and the driver merges them. Scores are
    cosines, and ties are broken by descending id, as on one machine.

    Arguments:
        queries: a DataFrame with an id and a vector for each query. They are held on every executor.
        documents: a DataFrame with an id and a vector for each document.
        qrels: a DataFrame with the columns `query_id`, `document_id` and `grade`, or a dict from the id of a query to a
            dict from ids of documents to grades.
        spec: the defenses, as for `protect`.
        id_column, column: the names of the id's and the vector's column, in both DataFrames.
        k: how many documents count.

    Returns a dict: `clean` and `protected` are mean nDCG@k, `queries` is how many have judgements.
    """
    spec = _spec(spec)
    grades = _grades(qrels)
    hidden = protect(queries, column, spec, id_column, role="query")
    ids, clean = _collected(queries, id_column, column)
    hidden_ids, hidden = _collected(hidden, id_column, column)
    places = {one: at for at, one in enumerate(hidden_ids)}
    hidden = hidden[[places[one] for one in ids]]
    uses_ids = _check(spec, "document", id_column)
    sides = {"clean": clean, "protected": hidden}
    work = partial(_best, sides=sides, spec=spec, ids=id_column, column=column, k=k, uses_ids=uses_ids)
    found = documents.select(id_column, column).mapInArrow(work, "side string, query int, id string, score float")
    rankings = {side: [[] for _ in ids] for side in sides}
    for row in found.collect():
        rankings[row.side][row.query].append((row.score, row.id))
    return _scores(rankings, ids, grades, k)


def _spec(spec):
    if isinstance(spec, Stack):
        if "keys={" in repr(spec):
            raise NotPicklableError(
                "this stack was given its keys, and keys do not travel in plans; name them as `env:NAME` or `file:PATH`"
            )
        return spec.spec
    return spec


def _check(spec, role, id_column):
    """Whether the spec needs ids; refuses what is not repeatable."""
    fresh, uses_ids = check_spec(spec, role)
    if fresh is not None:
        raise SettingError(
            f"`{fresh}` draws fresh noise, and a task that Spark runs again would write other bytes; take keyed noise, as in "
            f"gaussian(sigma=0.01, key=env:NAME), and name the column of ids"
        )
    if uses_ids and id_column is None:
        raise SettingError("the spec has keyed noise, which is drawn by the id of each row; name the column with id_column")
    return uses_ids


def _schema(df, column, id_column):
    """The schema of the result, which is that of the DataFrame."""
    from pyspark.sql import types

    known = {field.name: field.dataType for field in df.schema.fields}
    for name in filter(None, (column, id_column)):
        if name not in known:
            raise SettingError(f"the DataFrame has no column {name!r}; its columns are {list(known)}")
    kind = known[column]
    is_floats = isinstance(kind, types.ArrayType) and isinstance(kind.elementType, (types.FloatType, types.DoubleType))
    if not is_floats:
        raise ArrayError(
            f"the column {column!r} is of type {kind.simpleString()}; vectors are array<float> or array<double>"
        )
    of_ids = (types.StringType, types.BinaryType, types.IntegralType)
    if id_column is not None and not isinstance(known[id_column], of_ids):
        raise IdsError(
            f"the column {id_column!r} is of type {known[id_column].simpleString()}; ids are string, binary or a whole number"
        )
    return df.schema


@lru_cache(maxsize=16)
def _stack(spec, dim=None):
    """The stack of a spec, once for each Python worker of an executor."""
    return Stack(spec, dim=dim)


def _protect(batches, *, spec, column, ids, role, dim):
    stack = _stack(spec, dim)
    ids = ids if stack.uses_ids(role) else None
    for batch in batches:
        yield arrow.protect(batch, column, stack, ids=ids, role=role)


def _unprotect(batches, *, spec, column):
    for batch in batches:
        yield arrow.unprotect(batch, column, _stack(spec))


def _rekey(batches, *, old, new, column, ids, role):
    new = _stack(new)
    ids = ids if new.uses_ids(role) else None
    for batch in batches:
        yield arrow.rekey(batch, column, _stack(old), new, ids=ids, role=role)


def _best(batches, *, sides, spec, ids, column, k, uses_ids):
    """The best documents of a partition for each query, on both sides."""
    import pyarrow

    from embosk.retrieval import search

    best = {side: [[] for _ in queries] for side, queries in sides.items()}
    for batch in batches:
        names = [_text(one) for one in batch.column(batch.schema.get_field_index(ids)).to_pylist()]
        both = {"clean": batch}
        both["protected"] = arrow.protect(batch, column, _stack(spec), ids=ids if uses_ids else None)
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
    return numpy.flatnonzero(valid), numpy.asarray(present.flatten()).reshape(len(present), -1)


def _first(hits, k):
    """The first `k` of pairs of a score and an id: the highest score first, then by descending id, compared as bytes."""
    return sorted(hits, key=lambda hit: (hit[0], hit[1].encode()), reverse=True)[:k]


def _collected(df, id_column, column):
    """The ids and the vectors of a small DataFrame."""
    table = df.select(id_column, column).toArrow().combine_chunks()
    if table.num_rows == 0:
        raise SettingError("there are no queries")
    rows, vectors = _rows(table.to_batches()[0], column)
    names = table.column(id_column).to_pylist()
    return [_text(names[row]) for row in rows], vectors


def _grades(qrels):
    if isinstance(qrels, dict):
        return {_text(query): {_text(one): grade for one, grade in of.items()} for query, of in qrels.items()}
    grades = {}
    for row in qrels.select("query_id", "document_id", "grade").collect():
        grades.setdefault(_text(row.query_id), {})[_text(row.document_id)] = row.grade
    return grades


def _scores(rankings, ids, grades, k):
    from embosk.retrieval import ndcg

    scores = {}
    for side, lists in rankings.items():
        ranked = [[one for _, one in _first(hits, k)] for hits in lists]
        judged = [ndcg(ranking, grades.get(query, {}), k) for query, ranking in zip(ids, ranked)]
        judged = [score for score in judged if score is not None]
        scores[side] = sum(judged) / len(judged) if judged else None
    return {**scores, "queries": len(judged)}


def _text(one):
    return one.decode() if isinstance(one, (bytes, bytearray)) else str(one)

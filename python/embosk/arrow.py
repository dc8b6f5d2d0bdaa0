"""Protects a column of vectors in Arrow tables: Arrow in, Arrow out.

Tables come in over Arrow's C data interface (the PyCapsule protocol), so those of pyarrow, Polars, DuckDB and others are
taken as they are. What comes back is a table of pyarrow, which all of them read in turn. The numbers are copied once, to
where they are protected; with nulls among the vectors, once more before and once after. Other columns are not copied.
Needs pyarrow: `pip install embosk[arrow]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy
import pyarrow
import pyarrow.compute

from embosk._embosk import Stack
from embosk._types import Id, Role
from embosk.errors import ArrayError, DimensionError, IdsError, NotFiniteError, SettingError

__all__ = ["protect", "rekey", "unprotect"]


def protect(
    batch: Any, column: str, stack: Stack | str, ids: str | Iterable[Id] | None = None, role: Role = "document"
) -> Any:
    """Protects the vectors of a column, and returns the table with them in their place.

    Arguments:
        batch: a RecordBatch or a Table of pyarrow, or any table with `__arrow_c_stream__` or `__arrow_c_array__`.
        column: its name. It holds List, LargeList or FixedSizeList of float16, float32 or float64, which it keeps. A
            null stays null.
        stack: a `Stack`, or its spec.
        ids: for keyed noise, the name of the column with the ids, or a sequence with one for each row.
        role: "document" or "query".

    Returns a RecordBatch for a RecordBatch or a table that has `__arrow_c_array__` alone, and otherwise a Table. Raises `ArrayError` for another type of column or a
    null within a vector, `DimensionError` for vectors of several lengths, `IdsError` for a null id, and otherwise as
    `Stack.protect`; rows are counted from 0 in the whole table.
    """
    defenses = _stack(stack)
    return _changed(batch, column, lambda vectors, ids: defenses.protect(vectors, role=role, ids=ids), defenses, ids)


def unprotect(batch: Any, column: str, stack: Stack | str) -> Any:
    """Undoes `protect` as `Stack.unprotect` does, and returns the table. Arguments are those of `protect`."""
    defenses = _stack(stack)
    return _changed(batch, column, lambda vectors, ids: defenses.unprotect(vectors))


def rekey(
    batch: Any,
    column: str,
    old: Stack | str,
    new: Stack | str,
    ids: str | Iterable[Id] | None = None,
    role: Role = "document",
) -> Any:
    """Moves the vectors of a column from the stack `old` to `new` as `Stack.rekey` does, and returns the table."""
    before, after = _stack(old), _stack(new)
    return _changed(batch, column, lambda vectors, ids: before.rekey(vectors, after, role=role, ids=ids), after, ids)


def dimension(table: pyarrow.Table | pyarrow.RecordBatch, column: str) -> int | None:
    """The dimension of the first vector of a column; None if there is none, or no such column."""
    place = table.schema.get_field_index(column)
    if place < 0:
        return None
    kind = table.schema.field(place).type
    if pyarrow.types.is_fixed_size_list(kind):
        return kind.list_size
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)):
        return None
    lengths = pyarrow.compute.list_value_length(table.column(place)).drop_null()
    return lengths[0].as_py() if len(lengths) else None


def _stack(stack: Stack | str) -> Stack:
    return stack if isinstance(stack, Stack) else Stack(stack)


def _changed(batch, column, change, stack=None, ids=None):
    table = _table(batch)
    if table.schema.names.count(column) != 1:
        raise SettingError(f"the table has no column {column!r}, or several; its columns are {table.schema.names}")
    place = table.schema.get_field_index(column)
    vectors = table.column(place)
    _check_type(vectors.type, column)
    ids = _ids(table, ids)
    parts = vectors.chunks if isinstance(vectors, pyarrow.ChunkedArray) else [vectors]
    made, first = [], 0
    for part in parts:
        of_part = None if ids is None else ids.slice(first, len(part))
        made.append(_changed_chunk(part, of_part, change, first))
        first += len(part)
    # without a vector there is nothing that shows the new dimension but the stack
    kind = next((one.type for one in made if one is not None), None) or _type_without_vectors(vectors.type, stack)
    made = [pyarrow.nulls(len(part), kind) if one is None else one for part, one in zip(parts, made)]
    field = table.schema.field(place).with_type(kind)
    if isinstance(table, pyarrow.RecordBatch):
        return table.set_column(place, field, made[0])
    return table.set_column(place, field, pyarrow.chunked_array(made, type=kind))


def _table(batch):
    if isinstance(batch, (pyarrow.RecordBatch, pyarrow.Table)):
        return batch
    for method, read in (("__arrow_c_stream__", pyarrow.table), ("__arrow_c_array__", pyarrow.record_batch)):
        if hasattr(batch, method):
            try:
                return read(batch)
            except (TypeError, ValueError, pyarrow.ArrowException) as error:
                kind = type(batch).__name__
                raise ArrayError(f"no table can be read from the {kind}; give a table of Arrow, which has columns") from error
    raise ArrayError(f"a table of Arrow is needed, with `__arrow_c_stream__` or `__arrow_c_array__`, not {type(batch).__name__}")


def _check_type(kind, column):
    types = pyarrow.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not is_list or not types.is_floating(kind.value_type):
        raise ArrayError(
            f"the column {column!r} is of type {kind}; vectors are list, large_list or fixed_size_list of halffloat, float "
            f"or double"
        )


def _ids(table, ids):
    """The ids of all rows as one Arrow array."""
    if ids is None:
        return None
    if isinstance(ids, str):
        if table.schema.names.count(ids) != 1:
            raise SettingError(f"the table has no column {ids!r} of ids, or several; its columns are {table.schema.names}")
        ids = table.column(ids)
    elif not isinstance(ids, (pyarrow.Array, pyarrow.ChunkedArray)):
        try:
            ids = pyarrow.array(ids)
        except (TypeError, ValueError, pyarrow.ArrowException):
            # Arrow's words repeat a value
            raise IdsError("ids are the name of a column, or a sequence of str, bytes or int, all of one type") from None
    if isinstance(ids, pyarrow.ChunkedArray):
        ids = ids.combine_chunks()
        ids = ids if isinstance(ids, pyarrow.Array) else pyarrow.concat_arrays(ids.chunks)
    views = {pyarrow.string_view(): pyarrow.large_string(), pyarrow.binary_view(): pyarrow.large_binary()}
    ids = ids.cast(views.get(ids.type, ids.type))
    if len(ids) != table.num_rows:
        raise IdsError(f"{table.num_rows} rows were given {len(ids)} ids; give each row one id")
    return ids


def _changed_chunk(chunk, ids, change, first):
    """The chunk with its vectors changed; None if it has none. `first` is the number of its first row."""
    valid = None if chunk.null_count == 0 else chunk.is_valid()
    present = chunk if valid is None else chunk.filter(valid)
    rows = numpy.arange(len(chunk)) if valid is None else numpy.flatnonzero(valid.to_numpy(zero_copy_only=False))
    if len(present) == 0:
        return None
    if ids is not None:
        ids = ids if valid is None else ids.filter(valid)
        if ids.null_count:
            at = ids.is_null().index(True).as_py()
            raise IdsError(f"row {first + rows[at]} (counted from 0) has no id; give each row one")
    vectors = _matrix(present, first, rows)
    try:
        changed = change(vectors, ids)
    except NotFiniteError as error:
        raise _named(error, vectors, first, rows) from None
    made = _lists(changed, chunk.type)
    if valid is None:
        return made
    places = numpy.cumsum(valid.to_numpy(zero_copy_only=False)) - 1
    return made.take(pyarrow.array(places, mask=~valid.to_numpy(zero_copy_only=False)))


def _matrix(lists, first, rows):
    """The numbers of lists, `[rows, dim]`, without a copy."""
    if pyarrow.types.is_fixed_size_list(lists.type):
        dim = lists.type.list_size
    else:
        lengths = pyarrow.compute.list_value_length(lists).to_numpy(zero_copy_only=False)
        dim = int(lengths[0])
        other = numpy.flatnonzero(lengths != dim)
        if len(other):
            raise DimensionError(
                f"row {first + rows[other[0]]} (counted from 0) has {lengths[other[0]]} numbers, but row {first + rows[0]} "
                f"has {dim}; make all vectors of a column equally long"
            )
    numbers = lists.flatten()
    if numbers.null_count:
        at = numbers.is_null().index(True).as_py()
        raise ArrayError(f"row {first + rows[at // dim]} (counted from 0) has a null within its vector")
    return numbers.to_numpy(zero_copy_only=True).reshape(len(lists), dim)


def _lists(vectors, kind):
    """Rows as lists of a kind, without a copy of the numbers."""
    rows, dim = vectors.shape
    numbers = pyarrow.array(vectors.reshape(-1))
    if pyarrow.types.is_fixed_size_list(kind):
        return pyarrow.FixedSizeListArray.from_arrays(numbers, type=pyarrow.list_(kind.value_field, dim))
    wide = pyarrow.types.is_large_list(kind)
    if not wide and rows * dim > numpy.iinfo(numpy.int32).max:
        raise ArrayError("a chunk of the column has more numbers than a list may count; take large_list, or smaller batches")
    ends = numpy.arange(rows + 1, dtype=numpy.int64 if wide else numpy.int32) * dim
    return (pyarrow.LargeListArray if wide else pyarrow.ListArray).from_arrays(ends, numbers, type=kind)


def _type_without_vectors(kind, stack):
    if stack is None or not pyarrow.types.is_fixed_size_list(kind):
        return kind
    return pyarrow.list_(kind.value_field, stack.dimension(kind.list_size))


def _named(error, vectors, first, rows):
    """The same error with the row as it is counted in the table."""
    bad = numpy.flatnonzero(~numpy.isfinite(vectors).all(axis=1))
    if len(bad) == 0:
        return error
    return NotFiniteError(f"row {first + rows[bad[0]]} (counted from 0) holds NaN or an infinity")

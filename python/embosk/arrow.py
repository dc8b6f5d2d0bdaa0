"""Protects a column of vectors in Arrow tables: Arrow in, Arrow out.

Tables are read through Arrow's C data interface (the PyCapsule protocol), so those of pyarrow, Polars, DuckDB and others
need no conversion. The result is a pyarrow table, which all of these can read. float32 vectors are copied once, and
float16 and float64 vectors twice. If some vectors are null, the others are copied twice more. Other columns are not
copied.

Needs pyarrow: `pip install embosk[arrow]`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy
import pyarrow
import pyarrow.compute

from embosk._embosk import Stack, check_norms, protect_part, warnings_of
from embosk._protected import stack_of
from embosk._types import Id, Norms, Role, is_ordered
from embosk.errors import ArrayError, DimensionError, EmboskError, IdsError, SettingError

__all__ = ["protect", "rekey", "unprotect"]


def protect(
    batch: Any,
    column: str,
    stack: Stack | str,
    ids: str | Iterable[Id] | None = None,
    role: Role = "document",
    *,
    norms: Norms = "warn",
) -> Any:
    """Protects the vectors of a column, and returns the table with them in its place.

    Arguments:
        batch: a RecordBatch or a Table of pyarrow, or any table with `__arrow_c_stream__` or `__arrow_c_array__`.
        column: the name of the column of vectors: List, LargeList or FixedSizeList of float16, float32 or float64. It
            keeps its type, and a null stays null.
        stack: a `Stack`, or its spec.
        ids: for keyed noise, the name of the column with the ids, or a sequence with one for each row. They are str,
            bytes, int of at most 64 bits, or UUIDs, which count as their str.
        role: "document" or "query".
        norms: what is done with vectors whose norm is not 1, as for `Stack.protect`.

    Returns a RecordBatch for a RecordBatch or a table that has `__arrow_c_array__` alone, and otherwise a Table. Raises
    `SettingError` for a column that is not there, `ArrayError` for a column of another type or a null within a vector,
    `DimensionError` for vectors of several lengths, `IdsError` for a null id or ids of another type, and otherwise as
    `Stack.protect`. Rows are counted from 0 in the whole table.
    """
    return _changed(batch, column, None, stack_of(stack), ids, role, norms)


def unprotect(batch: Any, column: str, stack: Stack | str) -> Any:
    """Undoes `protect` as `Stack.unprotect` does, and returns the table. Arguments are those of `protect`."""
    return _changed(batch, column, stack_of(stack), None)


def rekey(
    batch: Any,
    column: str,
    old: Stack | str,
    new: Stack | str,
    ids: str | Iterable[Id] | None = None,
    role: Role = "document",
) -> Any:
    """Moves the vectors of a column from the stack `old` to `new` as `Stack.rekey` does, and returns the table.

    Other arguments and errors are those of `protect`.
    """
    return _changed(batch, column, stack_of(old), stack_of(new), ids, role)


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


def _changed(batch, column, old, new, ids=None, role="document", norms="warn"):
    """The table with the vectors of a column taken from the stack `old`, if there is one, to `new`, if there is one."""
    check_norms(norms)
    table = _table(batch)
    place = _place(table, column, "column")
    vectors = table.column(place)
    _check_type(vectors.type, column)
    parts, first = [], 0
    for chunk in vectors.chunks if isinstance(vectors, pyarrow.ChunkedArray) else [vectors]:
        parts.append(_Part(chunk, first, column))
        first += len(chunk)
    _check_lengths(parts, column)
    ids = _ids(table, ids, vectors)
    uses_ids = new is not None and new.uses_ids(role)

    seen = []

    def change(vectors, ids):
        clean = vectors if old is None else old.unprotect(vectors)
        if new is None:
            return clean
        protected, found = protect_part(new, clean, role, ids if uses_ids else None, norms)
        seen.append(found)
        return protected

    made = [part.changed(change, ids) for part in parts]
    if new is not None:
        repeat = None if ids is None or not uses_ids else _first_repeat(ids, vectors)
        for warning in warnings_of(new, seen, role, ids is not None, repeat):
            warnings.warn(warning, stacklevel=3)
    # without a vector there is nothing that shows the new dimension but the stack
    kind = next((one.type for one in made if one is not None), None) or _type_without_vectors(vectors.type, new)
    made = [pyarrow.nulls(len(part.chunk), kind) if one is None else one for part, one in zip(parts, made)]
    field = table.schema.field(place).with_type(kind)
    if isinstance(table, pyarrow.RecordBatch):
        return table.set_column(place, field, made[0])
    return table.set_column(place, field, pyarrow.chunked_array(made, type=kind))


def _table(batch):
    if isinstance(batch, (pyarrow.RecordBatch, pyarrow.Table)):
        return batch
    kind = type(batch).__name__
    for method, read in (("__arrow_c_stream__", pyarrow.table), ("__arrow_c_array__", pyarrow.record_batch)):
        if hasattr(batch, method):
            try:
                return read(batch)
            except (TypeError, ValueError, pyarrow.ArrowException) as error:
                raise ArrayError(f"no table can be read from the {kind}; give a table of Arrow, which has columns") from error
    hints = {
        "str": "read the file first: pyarrow.parquet.read_table(path)",
        "ndarray": "an array is protected by embosk.Stack(spec).protect(array)",
    }
    raise ArrayError(
        f"a table of Arrow is needed, with `__arrow_c_stream__` or `__arrow_c_array__`, not {kind}; "
        f"{hints.get(kind, 'make one with pyarrow.table(columns)')}"
    )


def _place(table, column, argument):
    """The place of a column by its name."""
    names = table.schema.names
    if not isinstance(column, str):
        raise SettingError(f"{argument} must be the name of a column, a str, not {type(column).__name__}")
    if names.count(column) > 1:
        raise SettingError(f"the table has {names.count(column)} columns {column!r}; rename all but one of them")
    if column not in names:
        raise SettingError(f"{argument}: the table has no column {column!r}; its columns are {names}")
    return names.index(column)


def _check_type(kind, column):
    types = pyarrow.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    numbers = getattr(kind, "value_type", None)
    if is_list and types.is_floating(numbers):
        return
    is_cast = numbers is not None and (types.is_floating(numbers) or types.is_integer(numbers) or types.is_decimal(numbers))
    raise ArrayError(
        f"the column {column!r} is of type {kind}; vectors are list, large_list or fixed_size_list of halffloat, float or "
        f"double; {'cast it to pyarrow.list_(pyarrow.float32())' if is_cast else 'name the column that has the vectors'}"
    )


def _check_lengths(parts, column):
    """Refuses vectors of several lengths, and empty ones."""
    dim = row = None
    for part in parts:
        lengths = part.lengths
        if len(lengths) and dim is None:
            dim, row = lengths[0], part.rows[0]
        other = numpy.flatnonzero(lengths != dim)
        if len(other):
            raise DimensionError(
                f"the column {column!r}: row {part.rows[other[0]]} (counted from 0) has {lengths[other[0]]} numbers, but row "
                f"{row} has {dim}; make all vectors equally long"
            )
    if dim == 0:
        raise DimensionError(f"the column {column!r}: row {row} (counted from 0) has an empty vector; make it null")


def _ids(table, ids, vectors):
    """The ids of all rows as one Arrow array."""
    if ids is None:
        return None
    named = isinstance(ids, str)
    where = f"the column {ids!r}" if named else "ids"
    ids = table.column(_place(table, ids, "ids")) if named else _array(ids)
    if isinstance(ids, pyarrow.ChunkedArray):
        ids = ids.combine_chunks()
        ids = ids if isinstance(ids, pyarrow.Array) else pyarrow.concat_arrays(ids.chunks)
    if getattr(ids.type, "extension_name", None) == "arrow.uuid":
        ids = pyarrow.array([None if one is None else str(one) for one in ids.to_pylist()], pyarrow.string())
    types = pyarrow.types
    kind = ids.type.value_type if types.is_dictionary(ids.type) else ids.type
    views = {pyarrow.string_view(): pyarrow.large_string(), pyarrow.binary_view(): pyarrow.large_binary()}
    kind = views.get(kind, kind)
    texts = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    if not (types.is_null(kind) or types.is_integer(kind) or any(is_text(kind) for is_text in texts)):
        raise IdsError(f"{where}: an id must be a str, bytes, an int or a UUID, not {kind}; cast them to string")
    if len(ids) != table.num_rows:
        raise IdsError(f"{table.num_rows} rows were given {len(ids)} ids; give each row one id")
    missing = numpy.flatnonzero(_mask(vectors.is_valid()) & _mask(ids.is_null()))
    if len(missing):
        raise IdsError(f"{where}: row {missing[0]} (counted from 0) has no id; give each row one")
    return ids.cast(kind)


def _array(ids):
    if isinstance(ids, (pyarrow.Array, pyarrow.ChunkedArray)):
        return ids
    if not is_ordered(ids):
        raise IdsError(
            f"ids must be the name of a column, or a sequence of str, bytes, int or UUID in the order of the rows, not "
            f"{type(ids).__name__}"
        )
    try:
        return pyarrow.array(ids)
    except (TypeError, ValueError, OverflowError, pyarrow.ArrowException):
        # Arrow's words repeat a value
        raise IdsError(
            "ids are str, bytes, int or UUID, all of one type, and an int has at most 64 bits; make them all str"
        ) from None


def _first_repeat(ids, vectors):
    """The first row with a vector that repeats an id; None if there is none."""
    valid = _mask(vectors.is_valid())
    # ids are numbered as they first appear
    numbers = ids.filter(pyarrow.array(valid)).dictionary_encode().indices.to_numpy()
    again = numpy.flatnonzero(numbers[1:] <= numpy.maximum.accumulate(numbers)[:-1])
    return int(numpy.flatnonzero(valid)[again[0] + 1]) if len(again) else None


def _mask(array):
    return array.to_numpy() if isinstance(array, pyarrow.ChunkedArray) else array.to_numpy(zero_copy_only=False)


class _Part:
    """A chunk of the column of vectors. `first` is the number of its first row in the table."""

    def __init__(self, chunk, first, column):
        self.chunk = chunk
        self.column = column
        self.valid = None if chunk.null_count == 0 else _mask(chunk.is_valid())
        places = numpy.arange(len(chunk)) if self.valid is None else numpy.flatnonzero(self.valid)
        self.first, self.rows = first, first + places

    @property
    def present(self):
        """The lists that are not null."""
        return self.chunk if self.valid is None else self.chunk.filter(pyarrow.array(self.valid))

    @property
    def lengths(self):
        """How many numbers each list has that is not null."""
        if pyarrow.types.is_fixed_size_list(self.chunk.type):
            return numpy.full(len(self.rows), self.chunk.type.list_size)
        return pyarrow.compute.list_value_length(self.chunk).drop_null().to_numpy()

    @property
    def matrix(self):
        """The numbers of the lists that are not null, `[rows, dim]`: without a copy, if there is no null."""
        present = self.present
        numbers = present.flatten()
        dim = len(numbers) // len(present)
        if numbers.null_count:
            row = self.rows[numbers.is_null().index(True).as_py() // dim]
            raise ArrayError(f"the column {self.column!r}: row {row} (counted from 0) has a null within its vector")
        return numbers.to_numpy(zero_copy_only=True).reshape(len(present), dim)

    def changed(self, change, ids):
        """The chunk with its vectors changed; None if it has none."""
        if len(self.rows) == 0:
            return None
        if ids is not None:
            ids = ids.slice(self.first, len(self.chunk))
            ids = ids if self.valid is None else ids.filter(pyarrow.array(self.valid))
        vectors = self.matrix
        try:
            vectors = change(vectors, ids)
        except EmboskError as error:
            raise self._placed(error) from None
        made = _lists(vectors, self.chunk.type)
        if self.valid is None:
            return made
        return made.take(pyarrow.array(numpy.cumsum(self.valid) - 1, mask=~self.valid))

    def _placed(self, error):
        """The same error with the column, and with the row as it is counted in the table."""
        said, rows = re.subn(r"\brow (\d+)\b", lambda row: f"row {self.rows[int(row[1])]}", str(error))
        if rows or isinstance(error, DimensionError):
            return type(error)(f"the column {self.column!r}: {said}")
        return error


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

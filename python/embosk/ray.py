"""Protects a column of a Ray Dataset on its workers, with the same bytes as on one machine.

- **Keys do not travel.** A spec names keys as `env:NAME` or `file:PATH`, which each worker reads for itself. Mount files,
  name a function that asks a secrets manager (`keys`), or set variables before `ray start`; Ray shows those of a
  `runtime_env` on its dashboard and in its logs. Plans contain only the spec and names.
- **A retried task writes the same bytes.** Noise is therefore keyed and drawn by the id of each row; fresh noise is
  refused.
- **Vectors are lists or tensors of float16, float32 or float64**, which the column keeps.

The package must be installed on the workers. Needs Ray: `pip install embosk[ray]`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pyarrow

from embosk import _cluster, arrow
from embosk._embosk import Stack, check_spec
from embosk._types import KeyProvider, Norms, Role
from embosk.errors import ArrayError, SettingError

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["protect", "rekey", "unprotect"]


def protect(
    dataset: Dataset,
    column: str,
    spec: str | Stack,
    id_column: str | None = None,
    *,
    role: Role = "document",
    dim: int | None = None,
    keys: KeyProvider | None = None,
    norms: Norms = "warn",
    **options: Any,
) -> Dataset:
    """Protects a column of vectors, and returns the Dataset with them in its place.

    Arguments:
        dataset: the Dataset.
        column: its column of vectors: lists of floats, or tensors of one dimension. A null stays null.
        spec: the defenses, or a `Stack` whose keys are named as `env:NAME` or `file:PATH`.
        id_column: the column with the id of each row: string, binary, or a whole number. Keyed noise needs it. Each id
            must belong to one text and version.
        role: "document" or "query".
        dim: the dimension of the vectors. If it is given, other dimensions are refused on every worker.
        keys: where keys come from, if not from variables: a function from the NAME of `env:NAME` to its `Key` or the
            key's text, or the function's name as `"module:function"`. Each worker imports and calls it. Only its name
            travels, so a lambda or a function of the main script is refused.
        norms: what is done with vectors whose norm is not 1, as for `Stack.protect`, batch by batch. A warning goes to
            the worker's log.
        options: more arguments of Ray's `map_batches`, such as `batch_size`, `concurrency` or `num_cpus`.

    Raises `SpecError` for a spec outside the grammar, and `SettingError` for fresh noise, keyed noise without ids, a
    column that is known to be missing, or a `keys` that workers cannot import. Errors in a row or a key are raised on the
    worker, when the Dataset is computed. Warns of a key that Ray would show.
    """
    spec, dim = _cluster.planned(spec, dim)
    ids = id_column if _cluster.check(spec, role, id_column, norms) else None
    _check_columns(dataset, column, ids)
    _warn_of_shown_keys(spec, keys)
    stack = _cluster.builder(spec, keys, dim)
    return _mapped(dataset, _protect, options, stack=stack, column=column, ids=ids, role=role, norms=norms)


def unprotect(dataset: Dataset, column: str, spec: str | Stack, *, keys: KeyProvider | None = None, **options: Any) -> Dataset:
    """Undoes `protect` for specs of rotations, permutations and scalings, and returns the Dataset.

    Arguments are those of `protect`. Raises `NotInvertibleError` on the workers for other specs.
    """
    spec, dim = _cluster.planned(spec)
    _check_columns(dataset, column)
    _warn_of_shown_keys(spec, keys)
    stack = _cluster.builder(spec, keys, dim)
    return _mapped(dataset, _unprotect, options, stack=stack, column=column)


def rekey(
    dataset: Dataset,
    column: str,
    old: str | Stack,
    new: str | Stack,
    id_column: str | None = None,
    *,
    role: Role = "document",
    keys: KeyProvider | None = None,
    **options: Any,
) -> Dataset:
    """Moves a column of protected vectors from the spec `old` to `new`, and returns the Dataset.

    Arguments are those of `protect`; `keys` gives the keys of both specs. Raises as `unprotect` for `old`, and as
    `protect` for `new`.
    """
    plans = _cluster.planned(old), _cluster.planned(new)
    ids = id_column if _cluster.check(plans[1][0], role, id_column) else None
    _check_columns(dataset, column, ids)
    for spec, _ in plans:
        _warn_of_shown_keys(spec, keys)
    stacks = tuple(_cluster.builder(spec, keys, dim) for spec, dim in plans)
    return _mapped(dataset, _rekey, options, stacks=stacks, column=column, ids=ids, role=role)


def _mapped(dataset, work, options, **arguments):
    return dataset.map_batches(work, batch_format="pyarrow", zero_copy_batch=True, fn_kwargs=arguments, **options)


def _check_columns(dataset, *columns):
    """Refuses columns that are not there, if the schema is known before the dataset is computed."""
    schema = dataset.schema(fetch_if_missing=False)
    for name in filter(None, columns):
        if schema is not None and name not in schema.names:
            raise SettingError(f"the dataset has no column {name!r}; its columns are {schema.names}")


def _warn_of_shown_keys(spec, keys):
    """Warns of keys in the variables of the job's `runtime_env`, which Ray shows."""
    import ray

    _, _, names = check_spec(spec, "document")
    if keys or not ray.is_initialized():
        return
    variables = ray.get_runtime_context().runtime_env.get("env_vars") or {}
    for name in names & set(variables):
        warnings.warn(
            f"Ray shows the key in the variable {name} of `runtime_env` on its dashboard and in its logs; set the variable "
            f"before `ray start`, or take a mounted file or `keys`",
            stacklevel=3,
        )


def _protect(table, *, stack, column, ids, role, norms):
    lists, kind = _lists(table, column)
    defenses = stack(arrow.dimension(lists, column))
    ids = ids if defenses.uses_ids(role) else None
    protected = arrow.protect(lists, column, defenses, ids=ids, role=role, norms=norms)
    return _tensors(protected, column, kind, defenses)


def _unprotect(table, *, stack, column):
    lists, kind = _lists(table, column)
    defenses = stack(arrow.dimension(lists, column))
    return _tensors(arrow.unprotect(lists, column, defenses), column, kind, defenses)


def _rekey(table, *, stacks, column, ids, role):
    lists, kind = _lists(table, column)
    old, new = (stack(arrow.dimension(lists, column)) for stack in stacks)
    ids = ids if new.uses_ids(role) else None
    return _tensors(arrow.rekey(lists, column, old, new, ids=ids, role=role), column, kind, new)


def _lists(table, column):
    """The table with tensors as the lists that they are stored as, and the type of these tensors; None for lists."""
    place = table.schema.get_field_index(column)
    kind = table.schema.field(place).type if place >= 0 else None
    if not isinstance(kind, pyarrow.BaseExtensionType):
        return table, None
    shape = getattr(kind, "shape", None)
    if shape is None or len(shape) != 1:
        raise ArrayError(f"the column {column!r} is of type {kind}; vectors are lists of floats, or tensors of one dimension")
    stored = [chunk.storage for chunk in table.column(place).chunks]
    return table.set_column(place, column, pyarrow.chunked_array(stored, kind.storage_type)), kind


def _tensors(table, column, kind, stack):
    """The table with lists as tensors again, of the dimension that the stack makes of theirs."""
    if kind is None:
        return table
    dim = stack.dimension(kind.shape[0])
    if dim != kind.shape[0]:
        of_numbers = kind.storage_type.value_type
        is_native = isinstance(kind, pyarrow.FixedShapeTensorType)
        kind = pyarrow.fixed_shape_tensor(of_numbers, [dim]) if is_native else type(kind)((dim,), of_numbers)
    place = table.schema.get_field_index(column)
    chunks = [pyarrow.ExtensionArray.from_storage(kind, chunk) for chunk in table.column(place).chunks]
    return table.set_column(place, column, pyarrow.chunked_array(chunks, kind))

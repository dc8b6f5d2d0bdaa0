"""Columns of vectors in Arrow: every kind of list, nulls, slices, chunks, and tables of other packages."""

import uuid

import numpy
import pyarrow
import pytest

import embosk
from conftest import unit_rows
from embosk import arrow

ROTATION = "rotation(key=env:EMBOSK_TEST_KEY)"
NOISE = f"{ROTATION} | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)"
KINDS = [
    kind(number)
    for kind in (pyarrow.list_, pyarrow.large_list, lambda number: pyarrow.list_(number, 8))
    for number in (pyarrow.float16(), pyarrow.float32(), pyarrow.float64())
]


def numbers(array):
    return numpy.array([row for row in array.to_pylist() if row is not None])


def chunks(*rows, kind=pyarrow.float64()):
    return pyarrow.chunked_array([pyarrow.array(some, pyarrow.list_(kind)) for some in rows])


def table(kind, vectors, nulls=()):
    numbers = vectors.astype(kind.value_type.to_pandas_dtype())
    rows = [None if at in nulls else row for at, row in enumerate(numbers)]
    ids = [f"id {at}" for at in range(len(rows))]
    return pyarrow.record_batch({"id": ids, "vector": pyarrow.array(rows, kind), "n": list(range(len(rows)))})


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_list_holds_what_arrays_hold(kind):
    vectors = unit_rows(7, 8)
    batch = table(kind, vectors)
    protected = arrow.protect(batch, "vector", NOISE, ids="id")
    assert isinstance(protected, pyarrow.RecordBatch) and protected.schema == batch.schema
    assert protected.column("id") == batch.column("id")
    same = vectors.astype(kind.value_type.to_pandas_dtype())
    expected = embosk.Stack(NOISE).protect(same, ids=batch.column("id").to_pylist())
    assert (numbers(protected.column("vector")) == expected).all()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_nulls_slices_and_chunks_keep_their_rows(kind):
    vectors = unit_rows(12, 8)
    batch = table(kind, vectors, nulls=(0, 3, 4, 11))
    whole = arrow.protect(batch, "vector", NOISE, ids="id").column("vector")
    assert whole.is_null().to_pylist() == batch.column("vector").is_null().to_pylist()
    for start, length in ((0, 12), (1, 5), (3, 2), (5, 6), (2, 0)):
        part = arrow.protect(batch.slice(start, length), "vector", NOISE, ids="id")
        assert part.column("vector").to_pylist() == whole.slice(start, length).to_pylist()
    chunked = pyarrow.Table.from_batches([batch.slice(0, 5), batch.slice(5, 0), batch.slice(5, 7)])
    protected = arrow.protect(chunked, "vector", NOISE, ids="id")
    assert protected.schema == chunked.schema
    assert protected.column("vector").to_pylist() == whole.to_pylist()


def test_a_dimension_may_change_and_names_stay():
    item = pyarrow.field("coordinate", pyarrow.float32(), nullable=False, metadata={"unit": "none"})
    kind = pyarrow.list_(item, 8)
    field = pyarrow.field("vector", kind, metadata={"model": "m"})
    for rows in (3, 0):
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(unit_rows(rows, 8).reshape(-1)), type=kind)
        batch = pyarrow.record_batch([vectors], schema=pyarrow.schema([field]))
        made = arrow.protect(batch, "vector", "projection(key=env:EMBOSK_TEST_KEY, dims=3)").schema.field("vector")
        assert made.type.list_size == 3 and made.metadata == {b"model": b"m"}
        assert made.type.value_field.name == "coordinate" and not made.type.value_field.nullable


def test_without_nulls_the_input_is_not_copied():
    vectors = unit_rows(1000, 8)
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), 8)
    seen = []
    arrow._Part(column, 0, "vector").changed(lambda array, ids: seen.append(array) or array, None)
    assert numpy.shares_memory(seen[0], vectors)


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (pyarrow.array([1.0, 2.0]), embosk.ArrayError, "of type double"),
        (pyarrow.array([[1], [2]]), embosk.ArrayError, r"'vector' is of type list<.*; cast it to pyarrow.list_\("),
        (pyarrow.array(["a", "b"]), embosk.ArrayError, "of type string; .* name the column that has the vectors"),
        (pyarrow.nulls(2), embosk.ArrayError, "of type null"),
        (pyarrow.array([[1.0], None, [1.0, 2.0]]), embosk.DimensionError, "'vector': row 2 .* has 2 numbers, but row 0 has 1"),
        (chunks([[1.0]], [None, [1.0, 2.0]]), embosk.DimensionError, "'vector': row 2 .* has 2 numbers, but row 0 has 1"),
        (pyarrow.array([None, []], pyarrow.list_(pyarrow.float32())), embosk.DimensionError, "row 1 .* an empty vector"),
        (pyarrow.array([None, [1.0, 2.0], [1.0, None]]), embosk.ArrayError, "'vector': row 2 .* a null within its vector"),
        (chunks([None, [1.0, 2.0]], [None, [1.0, None]]), embosk.ArrayError, "'vector': row 3 .* a null within its vector"),
        (pyarrow.array([None, [1.0, 2.0], [1.0, float("nan")]]), embosk.NotFiniteError, "'vector': row 2 .* holds NaN"),
        (chunks([None, [1.0, 2.0]], [None, [1.0, 1e300]]), embosk.NotFiniteError, "'vector': row 3 .* too large for float32"),
        (
            chunks([[1.0, 0.0]], [None, [65504.0, 65504.0]], kind=pyarrow.float16()),
            embosk.NotFiniteError,
            "'vector': row 2 .* does not fit into float16",
        ),
    ],
)
def test_what_is_not_vectors_is_refused_with_the_column_and_the_row(column, kind, message):
    with pytest.raises(kind, match=message) as refused:
        arrow.protect(pyarrow.table({"vector": column}), "vector", ROTATION)
    assert not any(value in str(refused.value) for value in ("1e+300", "65504", "1e300"))


def test_a_stack_for_another_dimension_is_refused_with_the_column():
    with pytest.raises(embosk.DimensionError, match="the column 'vector': the stack is bound to dimension 9, the vectors have 8"):
        arrow.protect(table(KINDS[1], unit_rows(3, 8)), "vector", embosk.Stack(ROTATION, dim=9))


def test_tables_and_ids_are_checked():
    batch = table(KINDS[1], unit_rows(3, 8), nulls=(0,))
    with pytest.raises(embosk.SettingError, match=r"column: the table has no column 'vectors'; its columns are \["):
        arrow.protect(batch, "vectors", "none")
    with pytest.raises(embosk.SettingError, match="ids: the table has no column 'ids'"):
        arrow.protect(batch, "vector", NOISE, ids="ids")
    with pytest.raises(embosk.SettingError, match="column must be the name of a column, a str, not int"):
        arrow.protect(batch, 1, "none")
    with pytest.raises(embosk.SettingError, match="2 columns 'vector'; rename"):
        arrow.protect(pyarrow.table([batch["vector"]] * 2, names=["vector"] * 2), "vector", "none")
    with pytest.raises(embosk.IdsError, match="3 rows were given 2 ids"):
        arrow.protect(batch, "vector", NOISE, ids=["a", "b"])
    with pytest.raises(embosk.IdsError, match="row 2 .* has no id"):
        arrow.protect(batch, "vector", NOISE, ids=[None, "b", None])
    with pytest.raises(embosk.IdsError, match="the column 'id': row 2 .* has no id"):
        nothing = batch.set_column(0, "id", pyarrow.array(["a", "b", None]))
        arrow.protect(pyarrow.Table.from_batches([nothing.slice(0, 1), nothing.slice(1)]), "vector", NOISE, ids="id")
    for other, hint in (([[1.0]], "not list; make one with"), ("a.parquet", "read_table"), (unit_rows(2, 8), "Stack")):
        with pytest.raises(embosk.ArrayError, match=f"a table of Arrow is needed, .*{hint}"):
            arrow.protect(other, "vector", "none")
    unordered = [{"a", "b", "c"}, {"a": 1, "b": 2, "c": 3}]
    for ids in (7, ["a", 1, 2], [{}, {}, {}], [1.5, 2.5, 3.5], [True, True, False], [2**70, 1, 2], b"abc", *unordered):
        with pytest.raises(embosk.IdsError, match="str, bytes, (an )?int or (a )?UUID"):
            arrow.protect(batch, "vector", NOISE, ids=ids)
    with pytest.raises(embosk.IdsError, match="the column 'vector': an id must be a str, .* not list"):
        arrow.protect(batch, "vector", NOISE, ids="vector")
    for stack in (7, None, embosk.Protected("reference", "none")):
        with pytest.raises(embosk.SettingError, match="a stack must be an embosk.Stack or its spec, a str, not"):
            arrow.protect(batch, "vector", stack)


def test_uuids_count_as_their_text():
    batch = table(KINDS[1], unit_rows(3, 8))
    uuids = [uuid.UUID(int=at) for at in range(3)]
    column = pyarrow.array([one.bytes for one in uuids], pyarrow.binary(16)).cast(pyarrow.uuid())
    named = arrow.protect(batch, "vector", NOISE, ids=[str(one) for one in uuids])["vector"]
    for ids in (uuids, column):
        assert arrow.protect(batch, "vector", NOISE, ids=ids)["vector"] == named


def test_warnings_are_for_the_whole_table():
    vectors = unit_rows(8, 8) * 5
    ids = ["a", "b", "c", "d", "e", "b", "a", "a"]
    whole = table(KINDS[1], vectors, nulls=(0, 3)).set_column(0, "id", pyarrow.array(ids))
    chunked = pyarrow.Table.from_batches([whole.slice(0, 5), whole.slice(5, 0), whole.slice(5)])
    with pytest.warns(UserWarning) as warned:
        arrow.protect(chunked, "vector", NOISE, ids="id")
    repeat, norm = [str(one.message) for one in warned]
    assert repeat.startswith("row 5 (counted from 0) repeats an id") and "mean norm of 5.000" in norm
    assert {one.filename for one in warned} == {__file__}
    with pytest.warns(UserWarning, match="ids make no difference"):
        arrow.protect(chunked, "vector", ROTATION, ids="id")


def test_other_norms_are_warned_of_refused_or_scaled_in_every_part():
    vectors = unit_rows(8, 8)
    vectors[6] *= 3
    whole = table(KINDS[1], vectors, nulls=(0, 3))
    chunked = pyarrow.Table.from_batches([whole.slice(0, 5), whole.slice(5, 0), whole.slice(5)])
    with pytest.warns(UserWarning, match=r"\(from 1.000 to 3.000\)"):
        arrow.protect(chunked, "vector", NOISE, ids="id")
    with pytest.raises(embosk.ArrayError, match=r"the column 'vector': row 6 \(counted from 0\) has norm 3.000"):
        arrow.protect(chunked, "vector", NOISE, ids="id", norms="refuse")
    rows = [1, 2, 4, 5, 6, 7]
    expected = embosk.Stack(NOISE).protect(vectors[rows], ids=[f"id {at}" for at in rows], norms="normalize")
    normalized = arrow.protect(chunked, "vector", NOISE, ids="id", norms="normalize")
    assert (numbers(normalized.column("vector")) == expected).all()
    arrow.protect(chunked, "vector", ROTATION, norms="refuse")
    with pytest.raises(embosk.SettingError, match='norms must be "warn"'):
        arrow.protect(chunked.slice(0, 0), "vector", ROTATION, norms="scale")


def test_vectors_are_restored_and_moved():
    batch = table(KINDS[1], unit_rows(5, 8), nulls=(2,))
    new = embosk.Stack(ROTATION, keys={"EMBOSK_TEST_KEY": embosk.Key.generate()})
    protected = arrow.protect(batch, "vector", ROTATION)
    restored = arrow.unprotect(protected, "vector", ROTATION)
    assert numpy.abs(numbers(restored.column("vector")) - numbers(batch.column("vector"))).max() < 1e-6
    moved = arrow.rekey(protected, "vector", ROTATION, new)
    expected = arrow.protect(batch, "vector", new)
    assert numpy.abs(numbers(moved.column("vector")) - numbers(expected.column("vector"))).max() < 1e-6


class Stream:
    """A table that has nothing but the protocol for streams."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Array:
    """A batch that has nothing but the protocol for arrays."""

    def __init__(self, batch):
        self.batch = batch

    def __arrow_c_array__(self, requested_schema=None):
        return self.batch.__arrow_c_array__(requested_schema)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tables_are_taken_by_the_protocol_alone(kind):
    whole = table(kind, unit_rows(12, 8), nulls=(0, 3, 4, 11))
    parts = [whole.slice(0, 5), whole.slice(5, 0), whole.slice(5, 7)]
    expected = arrow.protect(whole, "vector", NOISE, ids="id")
    streamed = arrow.protect(Stream(pyarrow.Table.from_batches(parts)), "vector", NOISE, ids="id")
    assert isinstance(streamed, pyarrow.Table) and streamed.equals(pyarrow.Table.from_batches([expected]))
    assert arrow.protect(Array(whole), "vector", NOISE, ids="id").equals(expected)
    part = arrow.protect(Array(whole.slice(3, 6)), "vector", NOISE, ids="id")
    assert isinstance(part, pyarrow.RecordBatch) and part.equals(expected.slice(3, 6))
    rotated = arrow.protect(Stream(pyarrow.Table.from_batches(parts)), "vector", ROTATION)
    assert arrow.unprotect(Stream(rotated), "vector", ROTATION).schema == whole.schema
    assert arrow.rekey(Array(whole), "vector", ROTATION, ROTATION).schema == whole.schema


def test_what_has_the_protocol_but_no_columns_is_refused():
    numbers = pyarrow.array([1.0, 2.0])
    for one in (Array(numbers), Stream(pyarrow.chunked_array([numbers]))):
        with pytest.raises(embosk.ArrayError, match=f"no table can be read from the {type(one).__name__}"):
            arrow.protect(one, "vector", "none")

    class Failing:
        def __arrow_c_stream__(self, requested_schema=None):
            raise ValueError("the connection is closed")

    with pytest.raises(embosk.ArrayError) as failed:
        arrow.protect(Failing(), "vector", "none")
    assert "connection" in str(failed.value.__cause__)


@pytest.fixture
def batch():
    return table(KINDS[4], unit_rows(6, 8), nulls=(1,))


@pytest.fixture
def expected(batch):
    return arrow.protect(batch, "vector", NOISE, ids="id").column("vector").to_pylist()


def test_polars_hands_over_its_tables(batch, expected):
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(pyarrow.Table.from_batches([batch]))
    back = polars.from_arrow(arrow.protect(frame, "vector", NOISE, ids="id"))
    assert back["vector"].to_list() == expected


def test_duckdb_hands_over_its_tables(batch, expected):
    duckdb = pytest.importorskip("duckdb")
    relation = duckdb.sql("select * from batch").arrow()
    protected = arrow.protect(relation, "vector", NOISE, ids="id")
    assert duckdb.sql("select vector from protected order by n").to_arrow_table().column(0).to_pylist() == expected


def test_datafusion_hands_over_its_tables(batch, expected):
    datafusion = pytest.importorskip("datafusion")
    context = datafusion.SessionContext()
    frame = context.from_arrow(batch, name="texts")
    context.from_arrow(arrow.protect(frame, "vector", NOISE, ids="id"), name="protected")
    found = context.sql("select vector from protected order by n").to_arrow_table()
    assert found.column(0).to_pylist() == expected

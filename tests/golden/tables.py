"""Writes the small tables in tests/data/tables/ with pyarrow: kinds of columns and encodings that others write.

    python tests/golden/tables.py         # needs pyarrow and numpy

`clean.npy` has the vectors of all of them, without the rows that have none; `tests/suite/files.rs` protects the tables and
compares.
"""

import datetime
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent.parent / "data" / "tables"
DIM = 8
ROWS = 7
EMPTY = 3  # the row without a vector

vectors = np.zeros((ROWS, DIM), dtype=np.float32)
for row in range(ROWS):
    for place in range(4):  # of norm 1, and exact in float16
        vectors[row, (3 * row + 2 * place * (1 + row % 2)) % DIM] += 0.5 * (-1) ** (row // (place + 1))
present = [row for row in range(ROWS) if row != EMPTY]
np.save(FOLDER / "clean.npy", vectors[present])

rows = [None if row == EMPTY else vectors[row] for row in range(ROWS)]
numbers = list(range(100, 100 + ROWS))
names = [f"id-{number}" for number in numbers]
labels = ["note", "bill", "note", None, "letter", "bill", "note"]
nested = [{"tags": ["a", None], "place": {"x": row, "y": row / 3}} if row % 3 else None for row in range(ROWS)]
days = [datetime.datetime(2024, 1, 1 + row, 12, 30) for row in range(ROWS)]


def table(kind, ids=None):
    """A table that is a slice of a larger one, so that its lists do not begin at 0."""
    pad = [rows[0], *rows, rows[1]]
    embedding = pa.array([None if row is None else row.tolist() for row in pad], pa.list_(pa.float32()))
    if kind != embedding.type:
        if pa.types.is_fixed_size_list(kind):
            flat = [kind.value_type.to_pandas_dtype()(x) for row in pad for x in (np.zeros(DIM) if row is None else row)]
            flat = pa.array(np.array(flat), kind.value_type)
            embedding = pa.FixedSizeListArray.from_arrays(flat, DIM, mask=pa.array([row is None for row in pad]))
        else:
            embedding = embedding.cast(kind)
    around = lambda values: [values[0], *values, values[0]]
    columns = {
        "id": pa.array(around(numbers if ids is None else ids)),
        "label": pa.array(around(labels)).dictionary_encode(),
        "embedding": embedding,
        "nested": pa.array(around(nested)),
        "day": pa.array(around(days), pa.timestamp("us")),
    }
    made = pa.table(columns).slice(1, ROWS)
    return made.replace_schema_metadata({"source": "tests/golden/tables.py", "note": "é"})


pq.write_table(table(pa.list_(pa.float32())), FOLDER / "list.parquet", compression="zstd", row_group_size=4)
pq.write_table(
    table(pa.list_(pa.float16(), DIM), names),
    FOLDER / "half.parquet",
    compression={"embedding": "snappy", "id": "none", "label": "gzip"},
    write_page_index=True,
    row_group_size=4,
)
# what old writers make: no Arrow schema, other names within lists, 96-bit timestamps, pages of version 2
pq.write_table(
    table(pa.list_(pa.float64())),
    FOLDER / "old.parquet",
    compression="gzip",
    store_schema=False,
    use_compliant_nested_type=False,
    use_deprecated_int96_timestamps=True,
    data_page_version="2.0",
)
pyarrow.feather.write_feather(table(pa.large_list(pa.float32()), names), FOLDER / "large.feather", chunksize=4)
fixed = table(pa.list_(pa.float64(), DIM))
with pa.ipc.new_stream(FOLDER / "stream.arrow", fixed.schema) as writer:
    writer.write_table(fixed, max_chunksize=4)
with open(FOLDER / "lines.jsonl", "w") as file:
    for row in range(ROWS):
        value = {"text": "é \"[1]\" ", "embedding": None if row == EMPTY else vectors[row].tolist(), "n": 1e3, "id": numbers[row]}
        file.write(json.dumps(value, separators=(", ", " : ")) + "\n")
for path in sorted(FOLDER.iterdir()):
    print(path.name, path.stat().st_size)

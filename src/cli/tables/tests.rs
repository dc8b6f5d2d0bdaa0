#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::properties::WriterProperties;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, FixedSizeListArray, Int64Array, ListArray, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use ndarray::Array2;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::files::{read_npy, write_npy};
use super::super::terminal::Terminal;
use super::*;
use crate::{Defense, Key, Rng, Role, Rotation, Stack};

/// Turns vectors, one row after the other.
struct Turn(Stack);

impl Change for Turn {
    fn change(&mut self, batch: Batch) -> Result<Changed, CliError> {
        let done = self.0.protect_owned(Role::Document, batch.vectors, &mut Rng::seeded(1))?;
        Ok(Changed::Vectors(done))
    }

    fn finish(&mut self, _: usize) -> Result<(), CliError> {
        Ok(())
    }

    fn dimension(&self, input: usize) -> Result<usize, String> {
        Ok(input)
    }

    fn packing(&self) -> Option<Packing<'_>> {
        None
    }

    fn sealing(&mut self) -> Option<&mut dyn Seals> {
        None
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

/// Turns the vectors of `input`.
fn turn(folder: &Path, input: &str, output: &str) {
    let session = Session { terminal: Terminal::Quiet, ..Session::default() };
    let table = Table { column: None, format: None, input: folder.join(input), output: folder.join(output) };
    let mut turn = Turn(Stack::new().with(Rotation::deferred(&Key::from_bytes([3; 32]))));
    table.change(None, None, &mut turn, &session).unwrap();
}

type Rows = Vec<Option<Vec<f32>>>;

fn lists(rows: &Rows, dim: Option<usize>) -> RecordBatch {
    let values =
        rows.iter().map(|row| row.as_ref().map(|row| row.iter().map(|x| Some(*x)).collect::<Vec<_>>()));
    let vectors: ArrayRef = match dim {
        None => Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(values)),
        Some(dim) => Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            values,
            i32::try_from(dim).unwrap(),
        )),
    };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::try_from(rows.len()).unwrap()));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("embedding", vectors, true)]).unwrap()
}

fn rows_of(batches: impl Iterator<Item = RecordBatch>) -> Rows {
    let mut rows = Vec::new();
    for batch in batches {
        let mut column = column::VectorColumn::find(&batch.schema(), "embedding").unwrap();
        let read = column.read(batch.column(column.index), 0).unwrap();
        let start = rows.len();
        rows.resize(start + batch.num_rows(), None);
        for (row, vector) in read.rows.into_iter().zip(read.vectors.rows()) {
            rows[start + row] = Some(vector.to_vec());
        }
    }
    rows
}

fn by_parquet(folder: &Path, rows: &Rows, dim: Option<usize>, group: usize) -> Rows {
    let batch = lists(rows, dim);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = File::create(folder.join("in.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    turn(folder, "in.parquet", "out.parquet");
    let open =
        |name| ParquetRecordBatchReaderBuilder::try_new(File::open(folder.join(name)).unwrap()).unwrap();
    let sizes = |name| {
        let groups = open(name).metadata().row_groups().to_vec();
        groups.iter().map(::parquet::file::metadata::RowGroupMetaData::num_rows).collect::<Vec<_>>()
    };
    assert_eq!(sizes("in.parquet"), sizes("out.parquet"));
    assert_eq!(open("in.parquet").schema(), open("out.parquet").schema());
    rows_of(open("out.parquet").build().unwrap().map(Result::unwrap))
}

fn by_arrow(folder: &Path, rows: &Rows, dim: Option<usize>, group: usize) -> Rows {
    let batch = lists(rows, dim);
    let mut writer =
        FileWriter::try_new(File::create(folder.join("in.arrow")).unwrap(), &batch.schema()).unwrap();
    for start in (0..rows.len()).step_by(group) {
        writer.write(&batch.slice(start, group.min(rows.len() - start))).unwrap();
    }
    writer.finish().unwrap();
    turn(folder, "in.arrow", "out.arrow");
    let reader = FileReader::try_new(File::open(folder.join("out.arrow")).unwrap(), None).unwrap();
    assert_eq!(reader.schema(), batch.schema());
    rows_of(reader.map(Result::unwrap))
}

fn by_lines(folder: &Path, rows: &Rows) -> Rows {
    let lines = rows.iter().map(|row| json!({"n": 1, "embedding": row}).to_string() + "\n");
    fs::write(folder.join("in.jsonl"), lines.collect::<String>()).unwrap();
    turn(folder, "in.jsonl", "out.jsonl");
    let text = fs::read_to_string(folder.join("out.jsonl")).unwrap();
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["n"], 1);
        serde_json::from_value(value["embedding"].clone()).unwrap()
    };
    text.lines().map(read).collect()
}

fn by_npy(folder: &Path, rows: &Rows, dim: usize) -> Rows {
    let present: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
    let matrix = Array2::from_shape_vec((present.len() / dim, dim), present).unwrap();
    write_npy(&folder.join("in.npy"), &matrix).unwrap();
    turn(folder, "in.npy", "out.npy");
    let turned = read_npy(&folder.join("out.npy")).unwrap();
    let mut turned = turned.rows().into_iter();
    rows.iter().map(|row| row.as_ref().map(|_| turned.next().unwrap().to_vec())).collect()
}

fn rows() -> impl Strategy<Value = (usize, Rows)> {
    (1..40_usize).prop_flat_map(|dim| {
        let row = prop::option::weighted(0.8, prop::collection::vec(-1.0..=1.0_f32, dim));
        let rows = prop::collection::vec(row, 1..30);
        let rows = rows.prop_filter("a vector", |rows| rows.iter().any(Option::is_some));
        rows.prop_map(move |rows| (dim, rows))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_kind_of_file_gives_the_same_vectors((dim, rows) in rows(), group in 1..12_usize) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let expected = by_npy(folder, &rows, dim);
        prop_assert_eq!(&by_lines(folder, &rows), &expected);
        for fixed in [None, Some(dim)] {
            prop_assert_eq!(&by_parquet(folder, &rows, fixed, group), &expected);
            prop_assert_eq!(&by_arrow(folder, &rows, fixed, group), &expected);
        }
    }
}

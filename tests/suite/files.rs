//! `embosk protect` and `unprotect` on tables, from outside: what comes out, what stays, and what is refused.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray,
};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, SchemaRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use embosk::{Defense, Sealer, Stack};
use ndarray::Array2;
use ndarray_npy::read_npy;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::command::{self, embosk, exits, stderr};
use crate::common::skip;

const TABLES: [&str; 5] = ["list.parquet", "half.parquet", "old.parquet", "large.feather", "stream.arrow"];
const TURN: &str = "--defense rotation(key=file:key,kind=hadamard)";

/// Succeeds, and returns the warnings; not the fingerprint, which each `protect` prints.
#[track_caller]
fn succeeds(folder: &TempDir, line: &str) -> String {
    let said = stderr(&exits(folder, line, 0));
    let lines = said.lines().filter(|line| !line.starts_with("fingerprint: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Refused, and nothing is written.
#[track_caller]
fn refused(folder: &TempDir, line: &str, part: &str) {
    command::refused(folder, line, part);
    assert!(!names(folder).iter().any(|name| name.starts_with("out") || name.contains(".part")), "{line}");
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A folder with a key and the tables that pyarrow wrote.
fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables");
    for entry in fs::read_dir(tables).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    succeeds(&folder, "keygen --output key");
    folder
}

fn matrix(folder: &TempDir, name: &str) -> Array2<f32> {
    read_npy(folder.path().join(name)).unwrap()
}

fn parquet_metadata(folder: &TempDir, name: &str) -> ParquetMetaData {
    let file = File::open(folder.path().join(name)).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().as_ref().clone()
}

/// Reads a table of any kind.
fn table(path: &Path) -> (SchemaRef, Vec<RecordBatch>) {
    let open = || File::open(path).unwrap();
    if path.extension().unwrap() == "parquet" {
        let builder = ParquetRecordBatchReaderBuilder::try_new(open()).unwrap();
        return (builder.schema().clone(), builder.build().unwrap().map(Result::unwrap).collect());
    }
    if fs::read(path).unwrap().starts_with(b"ARROW1") {
        let reader = FileReader::try_new(open(), None).unwrap();
        return (reader.schema(), reader.map(Result::unwrap).collect());
    }
    let reader = StreamReader::try_new(open(), None).unwrap();
    (reader.schema(), reader.map(Result::unwrap).collect())
}

fn vector(list: &ArrayRef) -> Vec<f32> {
    match list.data_type() {
        DataType::Float16 => list.as_primitive::<Float16Type>().values().iter().map(|x| x.to_f32()).collect(),
        DataType::Float32 => list.as_primitive::<Float32Type>().values().to_vec(),
        DataType::Float64 => list.as_primitive::<Float64Type>().values().iter().map(|x| *x as f32).collect(),
        other => panic!("{other}"),
    }
}

/// The vectors of a table, `None` where a row has none.
fn vectors(path: &Path) -> Vec<Option<Vec<f32>>> {
    let of = |array: &ArrayRef, row: usize| match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_fixed_size_list().value(row),
    };
    let mut rows = Vec::new();
    for batch in table(path).1 {
        let array = batch.column_by_name("embedding").unwrap();
        rows.extend((0..array.len()).map(|row| array.is_valid(row).then(|| vector(&of(array, row)))));
    }
    rows
}

#[track_caller]
fn near(found: &[Option<Vec<f32>>], expected: &Array2<f32>, tolerance: f32) {
    let present: Vec<_> = found.iter().flatten().collect();
    assert_eq!((present.len(), found.len(), found[3].is_none()), (6, 7, true));
    for (found, expected) in present.into_iter().zip(expected.rows()) {
        let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && largest <= tolerance, "{largest}");
    }
}

#[test]
fn tables_of_another_writer_are_protected_as_a_matrix_is_and_unprotected() {
    let folder = workplace();
    let at = |name: &str| folder.path().join(name);
    succeeds(&folder, &format!("protect {TURN} --role document clean.npy turned.npy"));
    let (clean, turned) = (matrix(&folder, "clean.npy"), matrix(&folder, "turned.npy"));
    assert!((&clean - &turned).iter().any(|difference| difference.abs() > 0.1));
    for name in TABLES {
        let tolerance = if name.starts_with("half") { 1e-3 } else { 1e-6 };
        let (_, ending) = name.split_once('.').unwrap();
        let (out, back) = (format!("protected.{ending}"), format!("back.{ending}"));
        assert_eq!(succeeds(&folder, &format!("protect {TURN} --role document {name} {out}")), "", "{name}");
        near(&vectors(&at(&out)), &turned, tolerance);
        succeeds(&folder, &format!("unprotect {TURN} {out} {back}"));
        near(&vectors(&at(&back)), &clean, 2.0 * tolerance);

        let ((before, rows), (after, changed)) = (table(&at(name)), table(&at(&out)));
        assert_eq!(before, after, "{name}");
        assert_eq!(before.metadata(), after.metadata());
        assert_eq!(rows.len(), changed.len());
        for (rows, changed) in rows.iter().zip(&changed) {
            for (index, field) in before.fields().iter().enumerate() {
                let same = rows.column(index) == changed.column(index);
                assert_eq!(same, field.name() != "embedding", "{name}: {}", field.name());
            }
        }
    }
}

#[test]
fn a_parquet_file_keeps_its_layout() {
    let folder = workplace();
    for name in ["list.parquet", "half.parquet", "old.parquet"] {
        succeeds(&folder, &format!("protect {TURN} --role document {name} turned.parquet"));
        let (before, after) = (parquet_metadata(&folder, name), parquet_metadata(&folder, "turned.parquet"));
        let (old, new) = (before.file_metadata(), after.file_metadata());
        assert_eq!(old.schema(), new.schema());
        assert_eq!(old.key_value_metadata(), new.key_value_metadata(), "{name}");
        assert_eq!(old.num_rows(), new.num_rows());
        for (old, new) in before.row_groups().iter().zip(after.row_groups()) {
            assert_eq!(old.num_rows(), new.num_rows());
            for (old, new) in old.columns().iter().zip(new.columns()) {
                assert_eq!(old.compression(), new.compression(), "{name}: {}", old.column_path());
                if !old.column_path().string().starts_with("embedding") {
                    assert_eq!(old.statistics(), new.statistics());
                    assert_eq!(old.compressed_size(), new.compressed_size());
                    assert_eq!(old.column_index_length(), new.column_index_length());
                }
            }
        }
        assert_eq!(before.num_row_groups(), after.num_row_groups());
    }
}

#[test]
fn a_defense_that_changes_the_dimension_changes_the_length_of_lists() {
    let folder = workplace();
    let narrow = "protect --defense projection(key=file:key,dims=3) --role query";
    succeeds(&folder, &format!("{narrow} clean.npy narrow.npy"));
    let narrowed = matrix(&folder, "narrow.npy");
    for (name, out) in
        [("list.parquet", "o.parquet"), ("half.parquet", "o.parquet"), ("stream.arrow", "o.arrow")]
    {
        succeeds(&folder, &format!("{narrow} {name} {out}"));
        near(&vectors(&folder.path().join(out)), &narrowed, 1e-3);
        let (schema, _) = table(&folder.path().join(out));
        let kind = schema.field_with_name("embedding").unwrap().data_type().clone();
        assert!(matches!(kind, DataType::List(_) | DataType::FixedSizeList(_, 3)), "{kind}");
    }
}

#[test]
fn keyed_noise_by_a_column_of_ids_is_that_of_a_file_of_ids() {
    let folder = workplace();
    let write = |name: &str, prefix: &str| {
        let ids = (100..107).map(|id| format!("{prefix}{id}\n"));
        fs::write(folder.path().join(name), ids.collect::<String>()).unwrap();
    };
    write("numbers.txt", "");
    write("names.txt", "id-");
    let noise = "protect --defense gaussian(sigma=0.1,key=file:key) --role document";
    for (name, ids) in [
        ("list.parquet", "numbers.txt"),
        ("half.parquet", "names.txt"),
        ("large.feather", "names.txt"),
        ("stream.arrow", "numbers.txt"),
        ("lines.jsonl", "numbers.txt"),
    ] {
        let (_, ending) = name.split_once('.').unwrap();
        assert_eq!(succeeds(&folder, &format!("{noise} --id-column id {name} column.{ending}")), "");
        assert_eq!(succeeds(&folder, &format!("{noise} --ids {ids} {name} file.{ending}")), "");
        let read = |name: &str| fs::read(folder.path().join(format!("{name}.{ending}"))).unwrap();
        assert!(read("column") == read("file"), "{name}");
        assert!(read("column") != fs::read(folder.path().join(name)).unwrap(), "{name}");
    }
    let both = format!("{noise} --ids names.txt --id-column id list.parquet o.parquet");
    assert!(stderr(&embosk(&folder, &both).output().unwrap()).contains("cannot be used with"));
    fs::write(folder.path().join("few.txt"), "a\nb\n").unwrap();
    refused(&folder, &format!("{noise} --ids few.txt list.parquet out.parquet"), "few.txt: it has 2 ids");
    let column = |column: &str| format!("{noise} --id-column {column} list.parquet out.parquet");
    refused(&folder, &column("label"), "column \"label\" is Dictionary(");
    refused(&folder, &column("day"), "column \"day\" is Timestamp(");
    refused(&folder, &column("key"), "there is no column \"key\"; the columns are \"id\", \"label\"");
    let twice = "{\"id\": 1, \"embedding\": [1]}\n{\"id\": \"1\", \"embedding\": [0]}\n";
    fs::write(folder.path().join("twice.jsonl"), twice).unwrap();
    let warned = succeeds(&folder, &format!("{noise} --id-column id twice.jsonl t.jsonl"));
    assert!(warned.contains("row 1 (counted from 0), column \"id\" repeats an id"), "{warned}");
    assert!(warned.contains("mean norm of 0.500"), "{warned}");
    let plain = "protect --defense gaussian(sigma=0.1) --role document --id-column id twice.jsonl t.jsonl";
    assert!(succeeds(&folder, plain).contains("--id-column makes no difference"));
}

#[test]
fn vectors_of_another_norm_are_warned_of_refused_or_scaled() {
    let folder = workplace();
    let write = |name: &str, vectors: [&str; 4]| {
        let lines = vectors.map(|vector| format!("{{\"id\": 1, \"embedding\": {vector}}}\n"));
        fs::write(folder.path().join(name), lines.concat()).unwrap();
    };
    // norms of 0.5 and 1.5 in halves: a mean of 1
    write("mixed.jsonl", ["[0.5,0]", "null", "[0,1.5]", "[0.6,0.8]"]);
    write("unit.jsonl", ["[1,0]", "null", "[0,1]", "[0.6,0.8]"]);
    // keyed by the vector, so that equal vectors get equal noise
    let noise = "protect --role document --defense gaussian(sigma=0.1,key=file:key)";
    let refusal = format!("{noise} --norms refuse mixed.jsonl out.jsonl");
    refused(&folder, &refusal, "row 0 (counted from 0) has norm 0.500");
    refused(&folder, &refusal, "scale the vectors to norm 1");
    write("late.jsonl", ["null", "[0.6,0.8]", "[0.9,1.2]", "null"]);
    refused(&folder, &format!("{noise} --norms refuse late.jsonl out.jsonl"), "row 2 (counted from 0)");

    let warned = succeeds(&folder, &format!("{noise} mixed.jsonl w.jsonl"));
    assert!(warned.contains("mean norm of 1.000 (from 0.500 to 1.500)"), "{warned}");
    assert_eq!(succeeds(&folder, &format!("{noise} unit.jsonl u.jsonl")), "");
    let said = succeeds(&folder, &format!("{noise} --norms normalize mixed.jsonl n.jsonl"));
    assert!(said.contains("2 of 3 vectors were scaled to norm 1") && !said.contains("warning"), "{said}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("n.jsonl"), read("u.jsonl"));
    assert_ne!(read("w.jsonl"), read("u.jsonl"));
    let said = succeeds(&folder, &format!("--verbose {noise} unit.jsonl v.jsonl"));
    assert!(said.contains("norms of 3 vectors: 1.000 in the mean, from 1.000 to 1.000"), "{said}");

    let turned = format!("protect {TURN} --role document");
    assert_eq!(succeeds(&folder, &format!("{turned} mixed.jsonl t.jsonl")), "");
    let without = succeeds(&folder, &format!("{turned} --norms normalize mixed.jsonl t.jsonl"));
    assert!(without.contains("--norms makes no difference"), "{without}");
}

const COARSE: &str = "quantization(bits=1)";
const SEALING: &str =
    "protect --defense quantization(bits=1)|rerank(candidates=9,key=file:key) --role document";

/// What opens the rows that were sealed beside the vectors of a defense.
fn sealer(folder: &TempDir, key: &str, before: &str) -> Sealer {
    let key = folder.path().join(key).display().to_string();
    let before = before.replace("file:key", &format!("file:{key:?}"));
    let stack: Stack = format!("{before} | rerank(candidates=9, key=file:{key:?})").parse().unwrap();
    stack.reranking().unwrap().sealer(&stack).unwrap()
}

/// The sealed vectors of a file, `None` where a row has none.
fn sealed(path: &Path) -> Vec<Option<Vec<u8>>> {
    if path.extension().unwrap() == "jsonl" {
        let text = fs::read_to_string(path).unwrap();
        let field = |line: &str| serde_json::from_str::<Value>(line).unwrap()["embedding_sealed"].clone();
        return text
            .lines()
            .map(|line| field(line).as_str().map(|it| STANDARD.decode(it).unwrap()))
            .collect();
    }
    let mut rows = Vec::new();
    for batch in table(path).1 {
        let array = batch.column_by_name("embedding_sealed").unwrap().as_fixed_size_binary().clone();
        rows.extend((0..array.len()).map(|row| array.is_valid(row).then(|| array.value(row).to_vec())));
    }
    rows
}

#[test]
fn exact_vectors_are_sealed_in_a_column_beside_the_coarse_ones() {
    let folder = workplace();
    succeeds(&folder, "keygen --output other");
    let at = |name: &str| folder.path().join(name);
    let right = sealer(&folder, "key", COARSE);
    let wrong = [
        sealer(&folder, "other", COARSE),
        sealer(&folder, "key", &format!("permutation(key=file:key) | {COARSE}")),
    ];
    succeeds(&folder, &format!("protect --defense {COARSE} --role document clean.npy coarse.npy"));
    let clean = matrix(&folder, "clean.npy");
    for (name, prefix) in TABLES.into_iter().zip(["", "id-", "", "id-", ""]).chain([("lines.jsonl", "")]) {
        let (_, ending) = name.split_once('.').unwrap();
        let out = format!("beside.{ending}");
        assert_eq!(succeeds(&folder, &format!("{SEALING} --id-column id {name} {out}")), "", "{name}");
        let rows = sealed(&at(&out));
        assert!(rows.len() == 7 && rows[3].is_none() && rows.iter().flatten().count() == 6, "{name}");
        let rows: Vec<Vec<u8>> = rows.into_iter().flatten().collect();
        let ids: Vec<String> =
            [100, 101, 102, 104, 105, 106].iter().map(|id| format!("{prefix}{id}")).collect();
        let opened = right.open_vectors(&ids, &rows).unwrap();
        assert!((&opened - &clean).iter().all(|lost| lost.abs() < 0.005), "{name}");
        let swapped: Vec<&String> = ids.iter().rev().collect();
        assert!(right.open_vectors(&swapped, &rows).is_err(), "{name}: for another id");
        assert!(wrong.iter().all(|it| it.open_vectors(&ids, &rows).is_err()), "{name}: another key or stack");

        if ending == "jsonl" {
            succeeds(&folder, &format!("protect --defense {COARSE} --role document {name} coarse.jsonl"));
            let line = |line: &str| match line.split_once(", \"embedding_sealed\": \"") {
                Some((start, rest)) => start.to_owned() + rest.split_once('"').unwrap().1,
                None => line.to_owned(),
            };
            let text = |name: &str| fs::read_to_string(at(name)).unwrap();
            let without: Vec<String> = text(&out).lines().map(line).collect();
            assert_eq!(without, text("coarse.jsonl").lines().collect::<Vec<_>>());
            continue;
        }
        near(&vectors(&at(&out)), &matrix(&folder, "coarse.npy"), 1e-3);
        let ((before, batches), (after, changed)) = (table(&at(name)), table(&at(&out)));
        let last = after.fields().last().unwrap();
        assert_eq!((last.name().as_str(), last.is_nullable()), ("embedding_sealed", true), "{name}");
        assert_eq!(after.fields()[..after.fields().len() - 1], before.fields()[..], "{name}");
        for (before, after) in batches.iter().zip(&changed) {
            for (index, field) in before.schema().fields().iter().enumerate() {
                let same = before.column(index) == after.column(index);
                assert_eq!(same, field.name() != "embedding", "{name}: {}", field.name());
            }
        }
        if ending == "parquet" {
            for group in parquet_metadata(&folder, &out).row_groups() {
                assert_eq!(group.columns().last().unwrap().compression(), Compression::UNCOMPRESSED);
            }
        }
    }
}

#[test]
fn ids_of_sealed_vectors_are_there_and_differ() {
    let folder = workplace();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("ids", &(1..8).map(|id| format!("{id}\n")).collect::<String>());
    succeeds(&folder, &format!("{SEALING} --ids ids list.parquet beside.parquet"));
    let rows: Vec<Vec<u8>> = sealed(&folder.path().join("beside.parquet")).into_iter().flatten().collect();
    let ids = ["1", "2", "3", "5", "6", "7"];
    assert!(sealer(&folder, "key", COARSE).open_vectors(&ids, &rows).is_ok());

    write("twice.jsonl", "{\"id\": 1, \"embedding\": [1]}\n{\"id\": \"1\", \"embedding\": [0]}\n");
    write("null.jsonl", "{\"id\": null, \"embedding\": [1]}\n");
    write("none.jsonl", "{\"embedding\": [1]}\n");
    write("old.jsonl", "{\"embedding_sealed\": 1, \"id\": 1, \"embedding\": [1]}\n");
    write("same", "1\n2\n3\n4\n5\n6\n1\n");
    for (more, part) in [
        (
            "list.parquet out.parquet",
            "give the ids with --ids FILE, or those of a table with --id-column NAME",
        ),
        ("--id-column id --sealed s.npy list.parquet out.parquet", "a table gets a column of sealed vectors"),
        ("--id-column id twice.jsonl out.jsonl", "row 1 (counted from 0), column \"id\" repeats an id"),
        ("--ids same stream.arrow out.arrow", "same: line 7 repeats an id; sealed rows need"),
        ("--id-column id null.jsonl out.jsonl", "line 1: field \"id\": the id is null"),
        ("--id-column id none.jsonl out.jsonl", "line 1: field \"id\": there is no such field"),
        ("--id-column id old.jsonl out.jsonl", "there is already a field \"embedding_sealed\""),
        ("--ids ids beside.parquet out.parquet", "there is already a column \"embedding_sealed\""),
    ] {
        refused(&folder, &format!("{SEALING} {more}"), part);
    }
    let keyless =
        "protect --defense rerank(candidates=9) --role document --id-column id list.parquet out.parquet";
    refused(&folder, keyless, "give it a key");
    let queries = SEALING.replace("document", "query");
    assert_eq!(succeeds(&folder, &format!("{queries} list.parquet queries.parquet")), "");
    let (schema, _) = table(&folder.path().join("queries.parquet"));
    assert!(schema.field_with_name("embedding_sealed").is_err());
}

const TEXTS: [Option<&str>; 4] = [Some("é \"[1]\""), None, Some(""), Some("the last, without a vector")];

/// A table of texts, with ids from 1 and a title beside each text.
fn texts(texts: ArrayRef) -> RecordBatch {
    let vectors = [Some([1.0, 0.0]), Some([0.0, 1.0]), Some([0.6, 0.8]), None];
    let vectors = vectors.map(|row| row.map(|row| row.map(Some)));
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("text", texts, true),
        ("embedding", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(vectors)), true),
        ("title", Arc::new(StringArray::from(vec!["a", "b", "c", "d"])), false),
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4])), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn texts_are_sealed_in_their_place() {
    let folder = workplace();
    let at = |name: &str| folder.path().join(name);
    let sealer = sealer(&folder, "key", COARSE);
    let check = |sealed: &[Option<Vec<u8>>], column: &str, expected: &[Option<&str>]| {
        assert_eq!(sealed.len(), expected.len());
        for (row, (sealed, expected)) in sealed.iter().zip(expected).enumerate() {
            let id = (row + 1).to_string();
            let open = |bytes: &Vec<u8>| sealer.open_text(&id, column, bytes).unwrap().to_string();
            assert_eq!(sealed.as_ref().map(open).as_deref(), *expected, "{column}, row {row}");
            assert!(sealed.iter().all(|bytes| sealer.open_text(&id, "other", bytes).is_err()));
        }
    };
    let owned = |row: Option<&[u8]>| row.map(<[u8]>::to_vec);
    let titles = ["a", "b", "c", "d"].map(Some);
    let sealing = format!("{SEALING} --id-column id --seal-text text --seal-text title");
    let kinds: [ArrayRef; 3] = [
        Arc::new(StringArray::from(TEXTS.to_vec())),
        Arc::new(LargeStringArray::from(TEXTS.to_vec())),
        Arc::new(StringViewArray::from(TEXTS.to_vec())),
    ];
    for batch in kinds.map(texts) {
        // sorted by the title
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3));
        let sorted = Some(vec![SortingColumn { column_idx: 2, descending: false, nulls_first: false }]);
        let properties = properties.set_sorting_columns(sorted).build();
        let file = File::create(at("in.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let mut writer = FileWriter::try_new(File::create(at("in.arrow")).unwrap(), &batch.schema()).unwrap();
        writer.write(&batch.slice(0, 1)).unwrap();
        writer.write(&batch.slice(1, 3)).unwrap();
        writer.finish().unwrap();
        for ending in ["parquet", "arrow"] {
            assert_eq!(succeeds(&folder, &format!("{sealing} in.{ending} sealed.{ending}")), "");
            let (schema, batches) = table(&at(&format!("sealed.{ending}")));
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names, ["text", "embedding", "title", "id", "embedding_sealed"]);
            for (column, expected) in [("text", TEXTS), ("title", titles)] {
                let rows = batches.iter().flat_map(|batch| {
                    let array = batch.column_by_name(column).unwrap();
                    let long = array.as_binary_opt::<i64>().map(|array| array.iter().map(owned).collect());
                    long.unwrap_or_else(|| array.as_binary::<i32>().iter().map(owned).collect::<Vec<_>>())
                });
                check(&rows.collect::<Vec<_>>(), column, &expected);
            }
        }
        assert!(parquet_metadata(&folder, "in.parquet").row_group(0).sorting_columns().is_some());
        assert!(parquet_metadata(&folder, "sealed.parquet").row_group(0).sorting_columns().is_none());
    }
    let line = |row: usize| {
        let (text, vector) =
            (serde_json::to_string(&TEXTS[row]).unwrap(), if row == 3 { "null" } else { "[1,0]" });
        format!(
            "{{\"title\": \"{}\", \"embedding\": {vector},\"text\":{text}, \"id\": {}}}\n",
            titles[row].unwrap(),
            row + 1
        )
    };
    fs::write(at("in.jsonl"), (0..4).map(line).collect::<String>()).unwrap();
    assert_eq!(succeeds(&folder, &format!("{sealing} in.jsonl sealed.jsonl")), "");
    let lines = fs::read_to_string(at("sealed.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (column, expected) in [("text", TEXTS), ("title", titles)] {
        let rows = lines.iter().map(|line| line[column].as_str().map(|it| STANDARD.decode(it).unwrap()));
        check(&rows.collect::<Vec<_>>(), column, &expected);
    }
    assert!(lines.iter().enumerate().all(|(row, line)| line["id"] == row + 1), "{lines:?}");
}

#[test]
fn texts_that_cannot_be_sealed_are_refused() {
    let folder = workplace();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("number.jsonl", "{\"text\": 1, \"id\": 1, \"embedding\": [1]}\n");
    write("half.jsonl", "{\"text\": \"\\ud800\", \"id\": 1, \"embedding\": [1]}\n");
    write(
        "ids.jsonl",
        "{\"text\": \"a\", \"id\": 1, \"embedding\": [1]}\n{\"text\": \"b\", \"id\": 1, \"embedding\": null}\n",
    );
    write(
        "null.jsonl",
        "{\"text\": \"a\", \"id\": 1, \"embedding\": [1]}\n{\"text\": \"b\", \"id\": null, \"embedding\": null}\n",
    );
    write("ids", "1\n2\n3\n4\n5\n6\n");
    for (more, part) in [
        ("--seal-text label list.parquet out.parquet", "column \"label\" is Dictionary("),
        ("--seal-text text stream.arrow out.arrow", "there is no column \"text\""),
        ("--seal-text title number.jsonl out.jsonl", "line 1: there is no field \"title\""),
        ("--seal-text text number.jsonl out.jsonl", "line 1: field \"text\": it is not a string"),
        ("--seal-text text half.jsonl out.jsonl", "it is not a string of whole characters"),
        ("--seal-text embedding ids.jsonl out.jsonl", "field \"embedding\": it is not a string"),
        ("--seal-text id ids.jsonl out.jsonl", "names the column of ids"),
        ("--seal-text text --seal-text text ids.jsonl out.jsonl", "names a column twice"),
        ("--seal-text text ids.jsonl out.jsonl", "row 1 (counted from 0), column \"id\" repeats an id"),
        ("--seal-text text null.jsonl out.jsonl", "line 2: field \"id\": the id is null"),
    ] {
        refused(&folder, &format!("{SEALING} --id-column id {more}"), part);
    }
    let npy = format!("{SEALING} --ids ids --sealed s.npy --seal-text text clean.npy out.npy");
    refused(&folder, &npy, "a .npy file has no columns, so --seal-text says nothing");
    let plain =
        "protect --defense quantization(bits=1) --role document --seal-text text lines.jsonl out.jsonl";
    refused(&folder, plain, "--seal-text is for documents under a defense that ends in `rerank`");
}

/// Runs the command with this on stdin, and returns what is on stdout.
fn piped(folder: &TempDir, line: &str, input: Vec<u8>) -> Vec<u8> {
    let mut child = embosk(folder, line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writing.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
    output.stdout
}

#[test]
fn json_lines_keep_everything_but_the_vector() {
    let folder = workplace();
    let before = fs::read_to_string(folder.path().join("lines.jsonl")).unwrap();
    let line = format!("protect {TURN} --role document lines.jsonl turned.jsonl");
    succeeds(&folder, &line);
    let after = fs::read_to_string(folder.path().join("turned.jsonl")).unwrap();
    succeeds(&folder, &format!("protect {TURN} --role document clean.npy turned.npy"));
    let turned = matrix(&folder, "turned.npy");
    let mut rows = turned.rows().into_iter();
    for (before, after) in before.lines().zip(after.lines()) {
        let (start, rest) = before.split_once("\"embedding\" : ").unwrap();
        let rest = &rest[rest.find(", \"n\"").unwrap()..];
        let vector = after.strip_prefix(start).and_then(|after| after.strip_suffix(rest)).unwrap();
        let vector: Option<Vec<f32>> = serde_json::from_str(vector.split_once(" : ").unwrap().1).unwrap();
        assert_eq!(vector, before.contains("[0.5").then(|| rows.next().unwrap().to_vec()).or(vector.clone()));
    }
    assert_eq!(before.lines().count(), after.lines().count());
    // from stdin to stdout, compressed or not
    let pipe = format!("protect {TURN} --role document --format jsonl - -");
    assert_eq!(piped(&folder, &pipe, before.clone().into_bytes()), after.as_bytes());
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(before.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    fs::write(folder.path().join("lines.jsonl.gz"), &packed).unwrap();
    assert_eq!(piped(&folder, &pipe, packed), after.as_bytes());
    succeeds(&folder, &format!("protect {TURN} --role document lines.jsonl.gz again.jsonl"));
    assert_eq!(fs::read_to_string(folder.path().join("again.jsonl")).unwrap(), after);
}

#[test]
fn an_arrow_stream_goes_from_stdin_to_stdout() {
    let folder = workplace();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    succeeds(&folder, &format!("protect {TURN} --role document stream.arrow turned.arrow"));
    let pipe = format!("protect {TURN} --role document --format arrow - -");
    assert_eq!(piped(&folder, &pipe, read("stream.arrow")), read("turned.arrow"));
}

#[test]
fn what_is_wrong_is_named() {
    let folder = workplace();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("ragged.jsonl", "{\"embedding\": [1, 2]}\n{\"embedding\": [1]}\n");
    write("holed.jsonl", "{\"embedding\": [1, null]}\n");
    write("nan.jsonl", "{\"embedding\": [1, NaN]}\n");
    write("text.jsonl", "{\"embedding\": \"no\"}\n");
    write("broken.jsonl", "{\"embedding\": [1]\n");
    write("none.jsonl", "{\"embedding\": null}\n");
    write("other.jsonl", "{\"vector\": [1]}\n");
    write("text.parquet", "no table");
    write("text.arrow", "no table");
    write("empty.parquet", "");
    let whole = fs::read(folder.path().join("list.parquet")).unwrap();
    fs::write(folder.path().join("cut.parquet"), &whole[..whole.len() - 9]).unwrap();
    for (input, more, part) in [
        (
            "list.parquet",
            "--column vector",
            "there is no column \"vector\"; the columns are \"id\", \"label\", \"embedding\"",
        ),
        ("list.parquet", "--column label", "column \"label\" is Dictionary("),
        ("stream.arrow", "--column nested", "column \"nested\" is Struct("),
        ("large.feather", "--column id", "column \"id\" is Utf8, and vectors are lists of float16"),
        ("clean.npy", "--column embedding", "a .npy file has no columns"),
        (
            "ragged.jsonl",
            "",
            "line 2: field \"embedding\": its vector has 1 coordinates, those before it have 2",
        ),
        ("holed.jsonl", "", "line 1: field \"embedding\": coordinate 1 is null"),
        ("nan.jsonl", "", "line 1: field \"embedding\": coordinate 1 is NaN"),
        ("text.jsonl", "", "it is not an array of numbers"),
        ("broken.jsonl", "", "line 1: it is not a JSON object: EOF"),
        ("none.jsonl", "", "has no vectors"),
        ("other.jsonl", "", "there is no field \"embedding\" among its 1"),
        ("text.parquet", "", "not a Parquet file"),
        ("cut.parquet", "", "not a Parquet file"),
        ("empty.parquet", "", "empty.parquet: it is not a Parquet file, or it is cut off"),
        ("text.arrow", "", "not an Arrow file or stream"),
        ("missing.parquet", "", "missing.parquet: there is no such file"),
        ("missing.jsonl", "", "missing.jsonl"),
        ("table.csv", "", "its name does not end in .npy, .parquet"),
    ] {
        let ending = input.split_once('.').unwrap().1;
        refused(&folder, &format!("protect {TURN} --role document {more} {input} out.{ending}"), part);
    }
    let protect = |files: &str| format!("protect {TURN} --role document {files}");
    refused(
        &folder,
        &protect("list.parquet out.arrow"),
        "its name says arrow, but what comes out is parquet",
    );
    refused(&folder, &protect("list.parquet ./list.parquet"), "overwritten");
    refused(&folder, &protect("lines.jsonl out.jsonl.gz"), "uncompressed");
    refused(&folder, &protect("- out.jsonl"), "--format jsonl");
    refused(&folder, &protect("list.parquet -"), "only JSON lines and Arrow streams are written to stdout");
    let sealed =
        "protect --defense rerank(candidates=9,key=file:key) --role document list.parquet out.parquet";
    refused(&folder, sealed, "those of a table with --id-column NAME");
    for (defense, part) in [
        ("gaussian(sigma=0.1)", "`gaussian(sigma=0.1)` cannot be undone: it adds noise"),
        (
            "rotation(key=file:key)|quantization(bits=8)",
            "`quantization(bits=8)` cannot be undone: what it rounds",
        ),
        ("projection(key=file:key,dims=3)", "cannot be undone: the directions"),
    ] {
        refused(&folder, &format!("unprotect --defense {defense} list.parquet out.parquet"), part);
    }
    refused(&folder, &format!("unprotect {TURN} list.parquet list.parquet"), "overwritten");
}

#[test]
fn a_killed_run_leaves_no_half_file() {
    let folder = workplace();
    let line = format!("protect {TURN} --role document --format jsonl - killed.jsonl");
    fs::write(folder.path().join("killed.jsonl"), "before").unwrap();
    let mut child = embosk(&folder, &line).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let row = "{\"embedding\": [1, 0, 0, 0, 0, 0, 0, 0]}\n".repeat(5000);
    stdin.write_all(row.as_bytes()).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(50);
    while !names(&folder).iter().any(|name| name.contains(".part")) {
        assert!(std::time::Instant::now() < deadline, "nothing was begun");
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    assert_eq!(fs::read_to_string(folder.path().join("killed.jsonl")).unwrap(), "before");
    let whole = format!("protect {TURN} --role document lines.jsonl killed.jsonl");
    succeeds(&folder, &whole);
    assert_eq!(fs::read_to_string(folder.path().join("killed.jsonl")).unwrap().lines().count(), 7);
}

/// The codes that come out of a table, row by row, and their scales.
fn codes(path: &Path) -> (Vec<Vec<u8>>, Vec<f32>) {
    let (mut rows, mut scales) = (Vec::new(), Vec::new());
    for batch in table(path).1 {
        let codes = batch.column_by_name("embedding").unwrap().as_fixed_size_binary();
        rows.extend((0..codes.len()).filter(|row| codes.is_valid(*row)).map(|row| codes.value(row).to_vec()));
        if let Some(column) = batch.column_by_name("embedding_scale") {
            scales.extend(column.as_primitive::<Float32Type>().iter().flatten());
            assert_eq!(column.nulls(), codes.nulls());
        }
    }
    (rows, scales)
}

#[test]
fn codes_are_written_with_what_is_needed_to_read_them() {
    let folder = workplace();
    let at = |name: &str| folder.path().join(name);
    for (kind, bits, bytes) in [("int8", 8, 8), ("int4", 4, 4), ("binary", 1, 1)] {
        let line = format!("protect --defense quantization(bits={bits}) --role document --codes {kind}");
        succeeds(&folder, &format!("{line} clean.npy c.npy"));
        let matrix: Array2<u8> = read_npy(at("c.npy")).unwrap();
        assert_eq!(matrix.dim(), (6, bytes));
        let about: Value = serde_json::from_str(&fs::read_to_string(at("c.npy.json")).unwrap()).unwrap();
        assert_eq!(about["kind"], kind);
        assert_eq!((&about["bits"], &about["dimension"]), (&bits.into(), &8.into()));
        assert_eq!(about["scales"]["file"], "c.npy.scales.npy");
        assert_eq!(about["fingerprint"], "embosk2 none");
        let scales: ndarray::Array1<f32> = read_npy(at("c.npy.scales.npy")).unwrap();
        // decoded, the codes are the protected vectors
        let quantization = embosk::Quantization::new(bits).unwrap();
        let decoded = embosk::defenses::Codes::new(8, matrix.clone(), scales.to_vec());
        succeeds(
            &folder,
            &format!("protect --defense quantization(bits={bits}) --role document clean.npy p.npy"),
        );
        assert_eq!(quantization.decode(&decoded).unwrap(), self::matrix(&folder, "p.npy"));
        for (name, out) in
            [("list.parquet", "c.parquet"), ("old.parquet", "c.parquet"), ("stream.arrow", "c.arrow")]
        {
            succeeds(&folder, &format!("{line} {name} {out}"));
            let (rows, of_rows) = codes(&at(out));
            assert_eq!(rows.concat(), matrix.iter().copied().collect::<Vec<_>>(), "{name}");
            assert_eq!(of_rows, scales.to_vec());
            let about: Value =
                serde_json::from_str(&fs::read_to_string(at(&format!("{out}.json"))).unwrap()).unwrap();
            assert_eq!(about["scales"]["column"], "embedding_scale");
        }
    }
    let fixed = "protect --defense quantization(bits=8,scale=0.5) --role document --codes int8 half.parquet c.parquet";
    succeeds(&folder, fixed);
    assert_eq!(codes(&at("c.parquet")).1, [0.0; 0]);
    let about: Value = serde_json::from_str(&fs::read_to_string(at("c.parquet.json")).unwrap()).unwrap();
    assert_eq!(about["scales"], serde_json::json!({"per": "all", "value": 0.5}));
}

#[test]
fn codes_that_the_defense_does_not_make_are_refused() {
    let folder = workplace();
    for (defense, kind, files, part) in [
        (
            "none",
            "int8",
            "clean.npy out.npy",
            "--codes int8 are made by `quantization(bits=8)` as the last part, and the defense has no parts",
        ),
        ("rotation(key=file:key)", "binary", "clean.npy out.npy", "ends in `rotation("),
        ("quantization(bits=8)", "int4", "clean.npy out.npy", "ends in `quantization(bits=8)`"),
        ("quantization(bits=8)", "pq", "clean.npy out.npy", "product_quantization"),
        ("quantization(bits=8)", "int8", "lines.jsonl out.jsonl", "JSON lines hold numbers"),
        ("quantization(bits=8)", "int8", "--format arrow stream.arrow -", "name a file for them"),
    ] {
        let line = format!("protect --defense {defense} --role document --codes {kind} {files}");
        refused(&folder, &line, part);
    }
}

/// Runs the snippet of the manual that reads codes with numpy.
#[test]
fn numpy_reads_codes_as_the_manual_says() {
    let is_there =
        Command::new("python3").args(["-c", "import numpy"]).output().is_ok_and(|it| it.status.success());
    if !is_there {
        return skip("python3 has no numpy; the snippet of the manual was not run");
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/do/files.md")).unwrap();
    let snippet = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = workplace();
    let fit: PathBuf = folder.path().join("fit");
    let product =
        embosk::defenses::ProductQuantization::fit(matrix(&folder, "clean.npy").view(), 4, 4, 1).unwrap();
    fs::write(&fit, product.to_bytes()).unwrap();
    for (defense, kind) in [
        ("quantization(bits=8)", "int8"),
        ("quantization(bits=4)", "int4"),
        ("quantization(bits=1)", "binary"),
        ("quantization(bits=4,scale=0.5)", "int4"),
        ("product_quantization(codebook=file:fit)", "pq"),
    ] {
        succeeds(
            &folder,
            &format!("protect --defense {defense} --role document --codes {kind} clean.npy codes.npy"),
        );
        succeeds(&folder, &format!("protect --defense {defense} --role document clean.npy expected.npy"));
        let script = format!("{snippet}\nnumpy.save('decoded.npy', vectors.astype(numpy.float32))\n");
        let run = Command::new("python3").current_dir(folder.path()).args(["-c", &script]).output().unwrap();
        assert!(run.status.success(), "{kind}: {}", stderr(&run));
        let (decoded, expected) = (matrix(&folder, "decoded.npy"), matrix(&folder, "expected.npy"));
        assert!((&decoded - &expected).iter().all(|lost| lost.abs() < 1e-6), "{defense}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_not_an_error() {
    let folder = workplace();
    let rows = "{\"embedding\": [1, 0, 0, 0, 0, 0, 0, 0]}\n".repeat(50_000);
    fs::write(folder.path().join("many.jsonl"), rows).unwrap();
    let line = format!("protect {TURN} --role document many.jsonl -");
    let mut child = embosk(&folder, &line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

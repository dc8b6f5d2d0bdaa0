//! What DataFusion sees of protected vectors.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array,
    Int32Array, LargeListArray, ListArray, RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use embosk::ndarray::{Array2, Axis};
use embosk::{Defense, Key, OtherNorms, Registry, Rng, Role, Stack};

const ROWS: usize = 60;
const DIM: usize = 24;
const NOISE: &str = "rotation(key=env:K) | gaussian(sigma=0.05, key=env:K)";

/// Every keyed defense, and what may follow.
const SPECS: [&str; 12] = [
    "none",
    "rotation(key=env:K)",
    "rotation(key=env:K, kind=hadamard)",
    "permutation(key=env:K)",
    "scaling(key=env:K)",
    "dcpe(key=env:K, beta=0)",
    "gaussian(sigma=0.05, key=env:K)",
    "gaussian(sigma=0.05, key=env:K, on=documents, renormalize=true)",
    "projection(key=env:K, dims=5)",
    "quantization(bits=8, scale=0.5, dither=env:K)",
    "rotation(key=env:K) | gaussian(sigma=0.05, key=env:K) | quantization(bits=8)",
    "rotation(key=env:K) | rerank(candidates=20, key=env:K)",
];

/// The key of the goldens.
fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.key("K", &Key::from_bytes(std::array::from_fn(|at| at as u8)));
    registry
}

fn context() -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_udf(embosk_datafusion::protect_with(registry()));
    context
}

fn clean() -> Array2<f32> {
    // numbers that float16 has too
    Array2::from_shape_fn((ROWS, DIM), |(row, at)| ((row * 31 + at * 17) % 101) as f32 / 256.0 - 0.1875)
}

fn has_vector(row: usize) -> bool {
    row % 7 != 3
}

/// The vectors as lists of this type; each seventh is null.
fn lists(kind: &DataType) -> ArrayRef {
    let numbers = |child: &Field| {
        let numbers: ArrayRef = Arc::new(Float32Array::from_iter_values(clean()));
        cast(&numbers, child.data_type()).unwrap()
    };
    let nulls = Some(NullBuffer::from_iter((0..ROWS).map(has_vector)));
    match kind {
        DataType::FixedSizeList(child, dim) => {
            Arc::new(FixedSizeListArray::new(Arc::clone(child), *dim, numbers(child), nulls))
        }
        DataType::List(child) => {
            let ends = OffsetBuffer::from_lengths(vec![DIM; ROWS]);
            Arc::new(ListArray::new(Arc::clone(child), ends, numbers(child), nulls))
        }
        DataType::LargeList(child) => {
            let ends = OffsetBuffer::from_lengths(vec![DIM; ROWS]);
            Arc::new(LargeListArray::new(Arc::clone(child), ends, numbers(child), nulls))
        }
        other => panic!("{other}"),
    }
}

fn kinds() -> Vec<DataType> {
    let child = |number: &DataType| Arc::new(Field::new("element", number.clone(), true));
    let of = |number: DataType| {
        [
            DataType::List(child(&number)),
            DataType::LargeList(child(&number)),
            DataType::FixedSizeList(child(&number), i32::try_from(DIM).unwrap()),
        ]
    };
    [DataType::Float16, DataType::Float32, DataType::Float64].into_iter().flat_map(of).collect()
}

fn list() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)))
}

fn ids() -> ArrayRef {
    Arc::new((0..ROWS).map(|row| Some(format!("id {row}"))).collect::<StringArray>())
}

/// A table of two partitions with a batch each, which are pieces of larger arrays.
fn register(context: &SessionContext, vectors: ArrayRef, ids: ArrayRef) {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..i32::try_from(vectors.len()).unwrap()));
    let table = RecordBatch::try_from_iter([("n", numbers), ("id", ids), ("vector", vectors)]).unwrap();
    let middle = table.num_rows() / 3;
    let parts = vec![vec![table.slice(0, middle)], vec![table.slice(middle, table.num_rows() - middle)]];
    context.register_table("t", Arc::new(MemTable::try_new(table.schema(), parts).unwrap())).unwrap();
}

/// The result of a query, or what it says.
async fn run(context: &SessionContext, sql: &str) -> Result<ArrayRef, String> {
    let batches = match context.sql(sql).await {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    let batches = batches.map_err(|error| error.to_string())?;
    Ok(Arc::clone(concat_batches(&batches[0].schema(), &batches).unwrap().column(0)))
}

async fn protected(context: &SessionContext, spec: &str) -> Result<ArrayRef, String> {
    run(context, &format!("SELECT protect(vector, '{spec}', id) FROM t ORDER BY n")).await
}

/// The numbers of the rows that have a vector.
fn numbers(lists: &dyn Array) -> Vec<f32> {
    let of_row = |row: usize| {
        let row = match lists.data_type() {
            DataType::List(_) => lists.as_list::<i32>().value(row),
            DataType::LargeList(_) => lists.as_list::<i64>().value(row),
            _ => lists.as_fixed_size_list().value(row),
        };
        cast(&row, &DataType::Float32).unwrap().as_primitive::<Float32Type>().values().to_vec()
    };
    (0..lists.len()).filter(|&row| lists.is_valid(row)).flat_map(of_row).collect()
}

/// What embosk gives without DataFusion.
fn expected(spec: &str, ids: &[&[u8]], vectors: Array2<f32>) -> Array2<f32> {
    let stack: Stack = registry().parse(spec).unwrap();
    let mut rng = Rng::from_os().unwrap();
    if stack.uses_ids(Role::Document) {
        stack.protect_owned_with_ids(Role::Document, ids, vectors, &mut rng).unwrap()
    } else {
        stack.protect_owned(Role::Document, vectors, &mut rng).unwrap()
    }
}

fn expected_of_table(spec: &str) -> Vec<f32> {
    let rows: Vec<usize> = (0..ROWS).filter(|&row| has_vector(row)).collect();
    let ids: Vec<String> = rows.iter().map(|row| format!("id {row}")).collect();
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    expected(spec, &ids, clean().select(Axis(0), &rows)).into_raw_vec_and_offset().0
}

#[tokio::test]
async fn each_type_keeps_its_type_its_nulls_and_the_bytes() {
    for kind in kinds() {
        let context = context();
        register(&context, lists(&kind), ids());
        for spec in SPECS {
            let found = protected(&context, spec).await.unwrap();
            let wanted = match &kind {
                DataType::FixedSizeList(child, _) if spec.contains("dims=5") => {
                    DataType::FixedSizeList(Arc::clone(child), 5)
                }
                kind => kind.clone(),
            };
            assert_eq!(found.data_type(), &wanted, "{spec}");
            assert!((0..ROWS).all(|row| found.is_valid(row) == has_vector(row)), "{spec}");
            let narrow = |value: f32| {
                let value: ArrayRef = Arc::new(Float32Array::from(vec![value]));
                let (DataType::List(child) | DataType::LargeList(child) | DataType::FixedSizeList(child, _)) =
                    &kind
                else {
                    panic!("{kind}")
                };
                let stored = cast(&value, child.data_type()).unwrap();
                cast(&stored, &DataType::Float32).unwrap().as_primitive::<Float32Type>().value(0)
            };
            let expected: Vec<u32> =
                expected_of_table(spec).into_iter().map(|x| narrow(x).to_bits()).collect();
            let found: Vec<u32> = numbers(&found).into_iter().map(f32::to_bits).collect();
            assert_eq!(found, expected, "{spec} on {kind}");
        }
    }
}

#[tokio::test]
async fn ids_of_each_type_are_the_bytes_that_a_file_of_ids_has() {
    let vectors = clean().slice_move(embosk::ndarray::s![..3, ..]);
    let texts: [&[u8]; 3] = [b"7", b"12", b"30"];
    let table: [ArrayRef; 7] = [
        Arc::new(StringArray::from(vec!["7", "12", "30"])),
        Arc::new(StringViewArray::from(vec!["7", "12", "30"])),
        cast(&StringArray::from(vec!["7", "12", "30"]), &DataType::LargeUtf8).unwrap(),
        Arc::new(BinaryArray::from(texts.to_vec())),
        cast(&BinaryArray::from(texts.to_vec()), &DataType::LargeBinary).unwrap(),
        Arc::new(Int32Array::from(vec![7, 12, 30])),
        Arc::new(UInt64Array::from(vec![7, 12, 30])),
    ];
    let expected = expected(NOISE, &texts, vectors.clone());
    for ids in table {
        let kind = ids.data_type().clone();
        let context = context();
        register(&context, lists(&list()).slice(0, 3), ids);
        let found = protected(&context, NOISE).await.unwrap();
        assert_eq!(numbers(&found), expected.iter().copied().collect::<Vec<_>>(), "{kind}");
    }
    let wide: [&[u8]; 3] = [&[0, 255], &[1, 0], b"ab"];
    let context = context();
    register(
        &context,
        lists(&list()).slice(0, 3),
        Arc::new(FixedSizeBinaryArray::try_from_iter(wide.iter()).unwrap()),
    );
    let found = protected(&context, NOISE).await.unwrap();
    let expected = crate::expected(NOISE, &wide, vectors);
    assert_eq!(numbers(&found), expected.iter().copied().collect::<Vec<_>>());
}

#[tokio::test]
async fn one_function_protects_tables_of_several_dimensions() {
    let context = context();
    for dim in [4, 6] {
        let vectors = Array2::from_shape_fn((1, dim), |(_, at)| at as f32);
        let lists =
            ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vectors.iter().copied().map(Some))]);
        context.deregister_table("t").unwrap();
        register(&context, Arc::new(lists), Arc::new(StringArray::from(vec!["a"])));
        let found = protected(&context, NOISE).await.unwrap();
        assert_eq!(numbers(&found), expected(NOISE, &[b"a"], vectors).into_raw_vec_and_offset().0);
    }
}

#[tokio::test]
async fn a_column_without_vectors_stays_null() {
    let context = context();
    let kind = DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Float32, true)), 8);
    register(&context, datafusion::arrow::array::new_null_array(&kind, ROWS), ids());
    let found = protected(&context, "projection(key=env:K, dims=5)").await.unwrap();
    assert_eq!((found.null_count(), found.len()), (ROWS, ROWS));
    assert!(matches!(found.data_type(), DataType::FixedSizeList(_, 5)));
}

#[tokio::test]
async fn what_would_not_be_repeatable_is_refused_when_it_is_planned() {
    let context = context();
    register(&context, lists(&list()), ids());
    let table = [
        ("protect(vector, 'gaussian(sigma=0.05)', id)", "`gaussian(sigma=0.05)` draws fresh noise"),
        ("protect(vector, 'dcpe(key=env:K, beta=0.5)', id)", "draws fresh noise"),
        ("protect(vector, 'gaussian(sigma=0.05, key=env:K)')", "give the column of ids"),
        ("protect(vector, id)", "the spec is a constant"),
        ("protect(vector, NULL)", "the spec is a constant"),
        ("protect(vector)", "a vector, a spec and perhaps an id, not 1"),
        ("protect(n, 'none')", "vectors are List, LargeList or FixedSizeList"),
        ("protect(vector, 'gaussian(sigma=0.05, key=env:K)', vector)", "ids are strings, binary values"),
        ("protect(vector, 'rotate(key=env:K)')", "character 1: unknown defense"),
    ];
    for (call, message) in table {
        let error = context.sql(&format!("SELECT {call} FROM t")).await.unwrap_err().to_string();
        assert!(error.contains("protect: ") && error.contains(message), "{call}: {error}");
    }
}

#[tokio::test]
async fn a_key_in_a_spec_is_refused_and_not_repeated() {
    let context = context();
    register(&context, lists(&list()), ids());
    let digits = "5a".repeat(32);
    let sql = format!("SELECT protect(vector, 'rotation(key={digits})') FROM t");
    let error = context.sql(&sql).await.unwrap_err().to_string();
    assert!(error.contains("env:NAME") && !error.contains(&digits), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_row_or_a_key_is_said_without_its_numbers() {
    let number = |value: f32| Some(vec![Some(value), Some(0.5)]);
    let rows = |rows: Vec<Option<Vec<Option<f32>>>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    };
    let table = [
        (rows(vec![None, number(f32::NAN)]), NOISE, "row 1 of the batch (counted from 0) holds NaN"),
        (rows(vec![None, Some(vec![None, Some(0.5)])]), NOISE, "holds a null within its vector"),
        (rows(vec![None, Some(vec![])]), NOISE, "has a vector without numbers"),
        (
            rows(vec![None, number(0.25), Some(vec![Some(0.25)])]),
            NOISE,
            "row 1 of the batch (counted from 0) has 1 numbers, but row 0 has 2",
        ),
        (rows(vec![None, number(0.25)]), "rotation(key=env:EMBOSK_NO_SUCH_KEY)", "EMBOSK_NO_SUCH_KEY"),
        (rows(vec![None, number(0.25)]), "rotation(key=file:/no/such.key)", "/no/such.key"),
    ];
    for (vectors, spec, message) in table {
        let context = context();
        let ids: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..vectors.len()).map(|row| row.to_string())));
        register(&context, vectors, ids);
        let error = protected(&context, spec).await.unwrap_err();
        assert!(error.contains("protect: ") && error.contains(message), "{error}");
        assert!(!error.contains("0.25") && !error.contains("0.5"), "{error}");
    }
    let context = context();
    let ids: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]));
    register(&context, rows(vec![None, number(0.25), number(0.125)]), ids);
    let error = protected(&context, NOISE).await.unwrap_err();
    assert!(error.contains("row 1 of the batch (counted from 0) has no id"), "{error}");
}

#[tokio::test]
async fn other_norms_are_refused_or_scaled_in_every_batch() {
    let context = context();
    register(&context, lists(&list()), ids());
    let with = |other_norms| embosk_datafusion::protect_on_other_norms(registry(), other_norms);
    context.register_udf(with(OtherNorms::Normalize));
    let rows: Vec<usize> = (0..ROWS).filter(|&row| has_vector(row)).collect();
    let names: Vec<String> = rows.iter().map(|row| format!("id {row}")).collect();
    let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let mut scaled = clean().select(Axis(0), &rows);
    let stack = registry().parse(NOISE).unwrap();
    assert!(OtherNorms::Normalize.scale(&stack, Role::Document, scaled.view_mut()) > 0);
    let found = protected(&context, NOISE).await.unwrap();
    assert_eq!(numbers(&found), expected(NOISE, &names, scaled).into_raw_vec_and_offset().0);

    context.register_udf(with(OtherNorms::Refuse));
    let row = |x: f32, y: f32| Some(vec![Some(x), Some(y)]);
    let rows = vec![row(0.6, 0.8), row(0.8, 0.6), None, row(0.6, 0.8), None, row(3.0, 4.0)];
    let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
    context.deregister_table("t").unwrap();
    register(&context, Arc::new(vectors), ids().slice(0, 6));
    // the second batch begins at the third row
    let error = protected(&context, NOISE).await.unwrap_err();
    assert!(error.contains("protect: in its batch, row 3 (counted from 0) has norm 5.000"), "{error}");
    assert!(protected(&context, "rotation(key=env:K)").await.is_ok());
}

#[tokio::test]
async fn a_number_that_float16_cannot_hold_is_an_error() {
    let context = context();
    let large = Float32Array::from(vec![60_000.0; 8]);
    let child = Arc::new(Field::new_list_field(DataType::Float16, true));
    let numbers = cast(&large, &DataType::Float16).unwrap();
    let lists = FixedSizeListArray::new(child, 8, numbers, None);
    register(&context, Arc::new(lists), Arc::new(StringArray::from(vec!["a"])));
    let error = protected(&context, "rotation(key=env:K)").await.unwrap_err();
    assert!(error.contains("does not fit into float16"), "{error}");
}

#[tokio::test]
async fn keys_are_in_no_plan() {
    let context = context();
    register(&context, lists(&list()), ids());
    let frame =
        context.sql(&format!("EXPLAIN VERBOSE SELECT protect(vector, '{NOISE}', id) FROM t")).await.unwrap();
    let plan: String = frame
        .collect()
        .await
        .unwrap()
        .iter()
        .flat_map(|batch| {
            batch.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>().join("\n").into_bytes()
        })
        .map(char::from)
        .collect();
    let key = Key::from_bytes(std::array::from_fn(|at| at as u8)).to_text();
    assert!(plan.contains("key=env:K") && !plan.contains(key.as_str()), "{plan}");
    assert!(!plan.contains("0001020304"), "{plan}");
}

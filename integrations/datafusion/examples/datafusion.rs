//! Protects a table with SQL: `cargo run --example datafusion`

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch,
};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type};
use datafusion::prelude::SessionContext;
use embosk::ndarray::Array2;
use embosk::{BoxError, Defense, Key, Rng, Role, Stack};

const ROWS: usize = 1000;
const DIM: usize = 64;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // a key file, as `embosk keygen --output` writes it
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.key");
    let key = Key::generate()?;
    write_for_its_owner(&path, &key)?;

    let clean =
        Array2::from_shape_fn((ROWS, DIM), |(row, at)| ((row * 31 + at * 17) % 101) as f32 / 400.0 - 0.125);
    let context = SessionContext::new();
    context.register_udf(embosk_datafusion::protect());
    context.register_batch("texts", table(&clean)?)?;

    let key = format!("file:\"{}\"", path.display());
    let spec = format!("rotation(key={key}) | gaussian(sigma=0.01, key={key})");
    let sql = format!("SELECT id, protect(vector, '{spec}', id) AS vector FROM texts ORDER BY id");
    let protected = context.sql(&sql).await?.collect().await?;
    let found: Vec<f32> = protected.iter().flat_map(numbers).collect();
    println!("{} of {ROWS} rows are protected", found.len() / DIM);

    let stack: Stack = spec.parse()?;
    let ids: Vec<String> = (0..ROWS).map(|row| row.to_string()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let expected = stack.protect_owned_with_ids(Role::Document, &ids, clean, &mut Rng::from_os()?)?;
    assert_eq!(found, expected.into_raw_vec_and_offset().0);
    println!("they are the vectors that embosk gives without DataFusion");

    let refused = context.sql("SELECT protect(vector, 'gaussian(sigma=0.01)', id) FROM texts").await;
    let refused = refused.err().ok_or("fresh noise is refused")?.to_string();
    assert!(refused.contains("draws fresh noise"), "{refused}");
    println!("refused: {refused}");
    Ok(())
}

fn table(vectors: &Array2<f32>) -> Result<RecordBatch, BoxError> {
    let numbers = Arc::new(Float32Array::from_iter_values(vectors.iter().copied()));
    let child = Arc::new(Field::new_list_field(DataType::Float32, true));
    let lists: ArrayRef = Arc::new(FixedSizeListArray::try_new(child, i32::try_from(DIM)?, numbers, None)?);
    let ids: ArrayRef = Arc::new((0..i64::try_from(ROWS)?).collect::<Int64Array>());
    Ok(RecordBatch::try_from_iter([("id", ids), ("vector", lists)])?)
}

fn numbers(batch: &RecordBatch) -> Vec<f32> {
    let lists = batch.column(1).as_fixed_size_list();
    lists.values().slice(0, lists.len() * DIM).as_primitive::<Float32Type>().values().to_vec()
}

fn write_for_its_owner(path: &std::path::Path, key: &Key) -> Result<(), BoxError> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path)?.write_all(key.to_text().as_bytes())?)
}

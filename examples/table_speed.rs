//! How fast `embosk protect` goes through a Parquet file, against reading and writing the same file with the same
//! library, and how much memory it takes.
//!
//!     cargo run --release --features cli --example table_speed -- EMBOSK FOLDER [ROWS [GROUP [KIND [CODEC]]]]
//!
//! EMBOSK is the command, FOLDER a place for three files, which are removed; there are two of them at a time. By default
//! 200,000 rows of 384 dimensions in row groups of 100,000, in Snappy (`snappy`, or `none`), under a rotation of the kind
//! `hadamard`. The kind `sealed` is noise with sealed exact vectors. From 100,000 rows on, it fails if `protect` has less
//! than half the speed of the copy, or takes more than 256 MiB of memory. For `sealed`, it is a quarter of the speed, and 64
//! bytes more for each row, whose id is remembered.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::{FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use embosk::Rng;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

const DIM: usize = 384;
const LENGTH: i32 = 384;

// limits, from so many rows on
const ROWS: usize = 100_000;
const LEAST_SHARE: f64 = 0.5;
const LEAST_SHARE_SEALED: f64 = 0.25;
const MOST_KIB: usize = 256 << 10;
const MOST_BYTES_PER_ID: usize = 64;

type Any = Box<dyn Error>;

fn main() -> Result<(), Any> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [embosk, folder, more @ ..] = arguments.as_slice() else {
        return Err("name the command `embosk` and a folder".into());
    };
    let number = |place: usize, default: usize| more.get(place).map_or(Ok(default), |text| text.parse());
    let (rows, group) = (number(0, 200_000)?, number(1, 100_000)?);
    let kind = more.get(2).map_or("hadamard", String::as_str);
    let codec = match more.get(3).map_or("snappy", String::as_str) {
        "snappy" => Compression::SNAPPY,
        "none" => Compression::UNCOMPRESSED,
        other => return Err(format!("{other} is no codec; name snappy or none").into()),
    };
    let properties =
        WriterProperties::builder().set_compression(codec).set_max_row_group_row_count(Some(group)).build();
    let at = |name: &str| Path::new(folder).join(name);
    let (clean, copied, protected) = (at("clean.parquet"), at("copied.parquet"), at("protected.parquet"));
    write(&clean, rows, properties.clone())?;
    println!("{rows} rows, {} MB", fs::metadata(&clean)?.len() / 1_000_000);

    let begun = Instant::now();
    copy(&clean, &copied, properties)?;
    let copying = begun.elapsed();
    println!("read and written with the library: {:.1} s", copying.as_secs_f64());
    fs::remove_file(&copied)?;

    let key = at("table-speed-key");
    let _ = fs::remove_file(&key);
    Command::new(embosk).arg("keygen").arg("--output").arg(&key).output()?;
    let path = format!("{:?}", key.display().to_string());
    let is_sealed = kind == "sealed";
    let defense = if is_sealed {
        format!("gaussian(sigma=0.1) | rerank(candidates=200, key=file:{path})")
    } else {
        format!("rotation(key=file:{path}, kind={kind})")
    };
    let begun = Instant::now();
    let mut command = Command::new(embosk);
    command.args(["protect", "--defense", &defense, "--role", "document"]);
    if is_sealed {
        command.args(["--id-column", "id"]);
    }
    let peak = peak_kib(command.args([&clean, &protected]))?;
    let taken = begun.elapsed();
    let share = copying.as_secs_f64() / taken.as_secs_f64();
    let mib = peak >> 10;
    println!(
        "embosk protect ({kind}): {:.1} s, {share:.2} of the copy's speed, {mib} MiB",
        taken.as_secs_f64()
    );
    for file in [&clean, &protected, &key] {
        fs::remove_file(file)?;
    }
    if rows < ROWS {
        return Ok(());
    }
    let (least, ids) = if is_sealed { (LEAST_SHARE_SEALED, rows) } else { (LEAST_SHARE, 0) };
    if share < least {
        return Err(format!("it has less than {least} of the copy's speed").into());
    }
    let most = MOST_KIB + ids * MOST_BYTES_PER_ID / 1024;
    if peak > most { Err(format!("it takes more than {} MiB", most >> 10).into()) } else { Ok(()) }
}

/// Runs a command, and returns the most memory that it had.
fn peak_kib(command: &mut Command) -> Result<usize, Any> {
    let (mut child, mut peak) = (command.spawn()?, 0);
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(peak) } else { Err("embosk protect failed".into()) };
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Writes rows of norm 1 with an id each, without holding them all.
fn write(path: &Path, rows: usize, properties: WriterProperties) -> Result<(), Any> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let list = DataType::FixedSizeList(Arc::clone(&item), LENGTH);
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("embedding", list, true)];
    let schema = Arc::new(Schema::new(fields));
    let mut writer = ArrowWriter::try_new(File::create(path)?, Arc::clone(&schema), Some(properties))?;
    let mut rng = Rng::seeded(1);
    for first in (0..rows).step_by(5000) {
        let count = 5000.min(rows - first);
        let mut values = Vec::with_capacity(count * DIM);
        let mut normals = rng.standard_normals();
        values.extend((0..count * DIM).map(|_| normals.draw() as f32));
        for row in values.chunks_mut(DIM) {
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            for value in row {
                *value /= norm;
            }
        }
        let values = Arc::new(Float32Array::from(values));
        let vectors = FixedSizeListArray::try_new(Arc::clone(&item), LENGTH, values, None)?;
        let ids =
            Int64Array::from_iter_values((first..first + count).filter_map(|row| i64::try_from(row).ok()));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(vectors)])?)?;
    }
    writer.close()?;
    Ok(())
}

fn copy(from: &Path, to: &Path, properties: WriterProperties) -> Result<(), Any> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(from)?)?;
    let schema = Arc::clone(reader.schema());
    let mut writer = ArrowWriter::try_new(File::create(to)?, schema, Some(properties))?;
    for batch in reader.with_batch_size(5000).build()? {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

//! How fast `embosk protect` goes through a Parquet file, against reading and writing the same file with the same
//! library, and how much memory it takes. The copy is written twice: with the library's usual settings, and as `protect`
//! writes, without a dictionary and statistics. Both are synced to the disk, as what `protect` writes is.
//!
//!     cargo run --release --features cli --example table_speed -- EMBOSK FOLDER [ROWS [GROUP [KIND [CODEC]]]]
//!
//! EMBOSK is the command, FOLDER a place for a folder with three files, two of them at a time, which is removed. By default
//! 200,000 rows of 384 dimensions in row groups of 100,000, in Snappy (`snappy`, or `none`), under a rotation of the kind
//! `hadamard`. The kind `sealed` is noise with sealed exact vectors. From 100,000 rows on, it fails if `protect` has less
//! than half the speed of the faster copy, or takes more than 256 MiB of memory. For `sealed`, it is a quarter of the
//! speed, and 64 bytes more for each row, whose id is remembered.

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
use parquet::file::properties::{EnabledStatistics, WriterProperties};

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
        || WriterProperties::builder().set_compression(codec).set_max_row_group_row_count(Some(group));
    let usual = properties().build();
    let plain = properties().set_dictionary_enabled(false).set_statistics_enabled(EnabledStatistics::None);
    // removed with its files, also after an error
    let folder = tempfile::tempdir_in(folder)?;
    let at = |name: &str| folder.path().join(name);
    let (clean, copied, protected) = (at("clean.parquet"), at("copied.parquet"), at("protected.parquet"));
    write(&clean, rows, usual.clone())?;
    println!("{rows} rows, {} MB", fs::metadata(&clean)?.len() / 1_000_000);

    let mut copies = Vec::new();
    for (properties, how) in [(usual, "as usual"), (plain.build(), "without a dictionary and statistics")] {
        let begun = Instant::now();
        copy(&clean, &copied, properties)?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("read and written with the library, {how}: {seconds:.1} s");
        fs::remove_file(&copied)?;
        copies.push(seconds);
    }

    let key = at("key");
    if !Command::new(embosk).arg("keygen").arg("--output").arg(&key).status()?.success() {
        return Err("embosk keygen failed".into());
    }
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
    let taken = begun.elapsed().as_secs_f64();
    let shares: Vec<f64> = copies.iter().map(|copy| copy / taken).collect();
    let mib = peak >> 10;
    println!(
        "embosk protect ({kind}): {taken:.1} s, {:.2} and {:.2} of the copies' speed, {mib} MiB",
        shares[0], shares[1]
    );
    let share = shares[0].min(shares[1]);
    if rows < ROWS {
        return Ok(());
    }
    let (least, ids) = if is_sealed { (LEAST_SHARE_SEALED, rows) } else { (LEAST_SHARE, 0) };
    if share < least {
        return Err(format!("it has less than {least} of the faster copy's speed").into());
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
    Ok(writer.into_inner()?.sync_all()?)
}

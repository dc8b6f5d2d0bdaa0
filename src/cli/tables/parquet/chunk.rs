//! A column of a row group as it is written: values with the levels that say where rows begin and which are null.

use arrow_array::types::{Float16Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use bytes::Bytes;
use ndarray::{Array2, ArrayView2};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;

use super::RowGroup;
use crate::cli::tables::Changed;
use crate::cli::tables::column::{Number, VectorColumn};
use crate::defenses::Codes;

/// The column of vectors, or of codes or sealed vectors.
pub(super) struct Chunk<'a> {
    writer: SerializedColumnWriter<'a>,
    column: VectorColumn,
    /// The definition level of a value that is there; 0 is that of a null row.
    defined: i16,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(mut writer: SerializedColumnWriter<'a>, column: VectorColumn) -> Self {
        let descriptor = match writer.untyped() {
            ColumnWriter::FloatColumnWriter(it) => it.get_descriptor().clone(),
            ColumnWriter::DoubleColumnWriter(it) => it.get_descriptor().clone(),
            ColumnWriter::FixedLenByteArrayColumnWriter(it) => it.get_descriptor().clone(),
            _ => return Self { writer, column, defined: 0 },
        };
        Self { defined: descriptor.max_def_level(), writer, column }
    }

    /// Writes what the vectors of a batch became; rows that are null in `before` stay null.
    pub(super) fn write(&mut self, changed: &Changed, before: &ArrayRef) -> Result<(), String> {
        let done = match changed {
            Changed::Vectors(vectors) => {
                let levels = self.levels(before, vectors.ncols());
                self.write_vectors(vectors, &levels)?
            }
            Changed::Codes(codes) => self.write_bytes(codes.bytes(), before),
        };
        done.map_err(|error| error.to_string())
    }

    /// Writes one row of bytes for each row that is not null in `before`.
    pub(super) fn write_bytes(
        &mut self,
        rows: ArrayView2<'_, u8>,
        before: &ArrayRef,
    ) -> Result<(), ParquetError> {
        let definition = present(before).map(|is_there| if is_there { self.defined } else { 0 }).collect();
        let values = pieces(rows.iter().copied().collect(), rows.ncols());
        put_bytes(self.writer.untyped(), &values, &Levels { definition, repetition: None })
    }

    fn write_vectors(
        &mut self,
        vectors: &Array2<f32>,
        levels: &Levels,
    ) -> Result<Result<(), ParquetError>, String> {
        let (definition, repetition) = (Some(levels.definition.as_slice()), levels.repetition.as_deref());
        Ok(match (self.column.number, self.writer.untyped()) {
            (Number::F32, ColumnWriter::FloatColumnWriter(writer)) => {
                let values = vectors.as_standard_layout();
                let values = values.as_slice().unwrap_or_default();
                writer.write_batch(values, definition, repetition).map(drop)
            }
            (Number::F64, ColumnWriter::DoubleColumnWriter(writer)) => {
                let values = vectors.iter().map(|value| self.column.widen::<Float64Type>(*value));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                writer.write_batch(&values, definition, repetition).map(drop)
            }
            (Number::F16, writer) => {
                let values = vectors.iter().map(|value| self.column.widen::<Float16Type>(*value));
                let values =
                    values.map(|value| Ok(value?.to_le_bytes())).collect::<Result<Vec<_>, String>>()?;
                put_bytes(writer, &pieces(values.into_flattened(), 2), levels)
            }
            _ => return Err("the column stores its vectors in another type than its schema says".into()),
        })
    }

    /// The levels of vectors of `dim` dimensions.
    fn levels(&self, before: &ArrayRef, dim: usize) -> Levels {
        let numbers = before.len() * dim;
        let (mut definition, mut repetition) = (Vec::with_capacity(numbers), Vec::with_capacity(numbers));
        for is_there in present(before) {
            let (count, level) = if is_there { (dim, self.defined) } else { (1, 0) };
            definition.resize(definition.len() + count, level);
            repetition.push(0);
            repetition.resize(repetition.len() + count - 1, 1);
        }
        Levels { definition, repetition: Some(repetition) }
    }

    pub(super) fn close(self) -> Result<(), ParquetError> {
        self.writer.close()
    }
}

struct Levels {
    definition: Vec<i16>,
    /// Whether a value goes on with the row of the one before; `None` if rows are single values.
    repetition: Option<Vec<i16>>,
}

fn put_bytes(
    writer: &mut ColumnWriter<'_>,
    values: &[FixedLenByteArray],
    levels: &Levels,
) -> Result<(), ParquetError> {
    match writer {
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            writer.write_batch(values, Some(&levels.definition), levels.repetition.as_deref()).map(drop)
        }
        _ => Err(ParquetError::General("the column does not store bytes of fixed length".into())),
    }
}

/// Cuts bytes into values of equal length, which share their memory.
fn pieces(bytes: Vec<u8>, length: usize) -> Vec<FixedLenByteArray> {
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(length.max(1));
    starts.map(|start| ByteArray::from(bytes.slice(start..start + length)).into()).collect()
}

/// Which rows have a vector.
fn present(array: &ArrayRef) -> impl Iterator<Item = bool> {
    (0..array.len()).map(|row| array.is_valid(row))
}

/// The scale of each row, for rows whose codes have one.
pub(super) fn scales_of(codes: &Codes, before: &ArrayRef) -> Vec<Option<f32>> {
    let mut scales = codes.scales().iter();
    present(before).map(|is_there| if is_there { scales.next().copied() } else { None }).collect()
}

/// Writes the column of scales of a row group.
pub(super) fn write_scales(
    group: &mut RowGroup<'_, '_, '_>,
    scales: &[Option<f32>],
) -> Result<(), ParquetError> {
    let wrong = || ParquetError::General("there is no column for the scales".into());
    let mut writer = group.next_column()?.ok_or_else(wrong)?;
    let ColumnWriter::FloatColumnWriter(column) = writer.untyped() else { return Err(wrong()) };
    let values: Vec<f32> = scales.iter().filter_map(|scale| *scale).collect();
    let is_nullable = column.get_descriptor().max_def_level() > 0;
    let definition =
        is_nullable.then(|| scales.iter().map(|scale| i16::from(scale.is_some())).collect::<Vec<_>>());
    column.write_batch(&values, definition.as_deref(), None)?;
    writer.close()
}

/// Writes sealed texts; rows without one are null.
pub(super) fn write_texts(
    writer: &mut SerializedColumnWriter<'_>,
    sealed: Vec<Option<Vec<u8>>>,
) -> Result<(), ParquetError> {
    let ColumnWriter::ByteArrayColumnWriter(column) = writer.untyped() else {
        return Err(ParquetError::General("the column does not store bytes".into()));
    };
    let defined = column.get_descriptor().max_def_level();
    let definition: Vec<i16> = sealed.iter().map(|row| if row.is_some() { defined } else { 0 }).collect();
    let values: Vec<ByteArray> = sealed.into_iter().flatten().map(ByteArray::from).collect();
    column.write_batch(&values, Some(&definition), None).map(drop)
}

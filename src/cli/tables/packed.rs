//! Codes and sealed vectors as columns of a table.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, Float32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use ndarray::ArrayView2;

use super::column::VectorColumn;
use crate::defenses::Codes;

/// The name of the column of scales.
pub(super) fn scale_name(column: &VectorColumn) -> String {
    format!("{}_scale", column.name())
}

/// The name of the column of sealed vectors, beside the vectors of this name.
pub(super) fn sealed_name(vectors: &str) -> String {
    format!("{vectors}_sealed")
}

/// Returns the schema with codes of `bytes` bytes in place of the vectors, and after all columns one of scales, if each
/// vector has its own.
pub(super) fn schema(
    before: &Schema,
    column: &VectorColumn,
    bytes: usize,
    scales: bool,
) -> Result<Schema, String> {
    let mut fields: Vec<FieldRef> = before.fields().iter().map(Arc::clone).collect();
    fields[column.index] = Arc::new(column.field.as_ref().clone().with_data_type(binary(bytes)?));
    let codes = Schema::new_with_metadata(fields, before.metadata().clone());
    if !scales {
        return Ok(codes);
    }
    with_column(&codes, column, scale_name(column), DataType::Float32)
}

/// Returns the schema with sealed vectors of `bytes` bytes in a column after all others.
pub(super) fn with_sealed(before: &Schema, column: &VectorColumn, bytes: usize) -> Result<Schema, String> {
    with_column(before, column, sealed_name(column.name()), binary(bytes)?)
}

/// Returns the schema with a column after all others, which has nulls where the vectors have.
fn with_column(
    before: &Schema,
    column: &VectorColumn,
    name: String,
    kind: DataType,
) -> Result<Schema, String> {
    let mut fields: Vec<FieldRef> = before.fields().iter().map(Arc::clone).collect();
    if fields.iter().any(|field| *field.name() == name) {
        return Err(format!(
            "there is already a column \"{name}\", and one of this name is to be written; rename it"
        ));
    }
    fields.push(Arc::new(Field::new(name, kind, column.field.is_nullable())));
    Ok(Schema::new_with_metadata(fields, before.metadata().clone()))
}

fn binary(bytes: usize) -> Result<DataType, String> {
    i32::try_from(bytes).map(DataType::FixedSizeBinary).map_err(|error| error.to_string())
}

/// Returns rows of bytes as an array of this type; rows that are null in `before` stay null.
pub(super) fn bytes(
    rows: ArrayView2<'_, u8>,
    kind: &DataType,
    before: &dyn Array,
) -> Result<ArrayRef, String> {
    let DataType::FixedSizeBinary(width) = kind else {
        return Err("the schema has no column of bytes".into());
    };
    let width = usize::try_from(*width).unwrap_or_default();
    let mut bytes = vec![0; before.len() * width];
    for (at, row) in present(before).zip(rows.rows()) {
        bytes[at * width..][..width].iter_mut().zip(row).for_each(|(to, from)| *to = *from);
    }
    let array = FixedSizeBinaryArray::try_new(
        i32::try_from(width).unwrap_or(i32::MAX),
        bytes.into(),
        before.nulls().cloned(),
    );
    array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| error.to_string())
}

/// Returns the scales of codes as an array.
pub(super) fn scales(codes: &Codes, before: &dyn Array) -> ArrayRef {
    let mut scales = vec![0.0; before.len()];
    for (row, scale) in present(before).zip(codes.scales()) {
        scales[row] = *scale;
    }
    Arc::new(Float32Array::new(scales.into(), before.nulls().cloned()))
}

/// The rows that are not null.
fn present(array: &dyn Array) -> impl Iterator<Item = usize> {
    let nulls: Option<&NullBuffer> = array.nulls();
    (0..array.len()).filter(move |row| nulls.is_none_or(|nulls| nulls.is_valid(*row)))
}

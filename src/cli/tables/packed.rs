//! Codes as columns of a table.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, Float32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema};

use super::column::{VectorColumn, find};
use crate::defenses::Codes;

/// The name of the column of scales.
pub(super) fn scale_name(column: &VectorColumn) -> String {
    format!("{}_scale", column.name())
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
    let codes = DataType::FixedSizeBinary(i32::try_from(bytes).map_err(|error| error.to_string())?);
    fields[column.index] = Arc::new(column.field.as_ref().clone().with_data_type(codes));
    if scales {
        let name = scale_name(column);
        if find(before, &name).is_ok() {
            return Err(format!(
                "there is a column \"{name}\" already, where the scales of the codes go; rename it"
            ));
        }
        fields.push(Arc::new(Field::new(name, DataType::Float32, column.field.is_nullable())));
    }
    Ok(Schema::new_with_metadata(fields, before.metadata().clone()))
}

/// Returns codes of `width` bytes as an array; rows that are null in `before` stay null.
pub(super) fn codes(codes: &Codes, width: usize, before: &dyn Array) -> Result<ArrayRef, String> {
    let mut bytes = vec![0; before.len() * width];
    for (row, code) in present(before).zip(codes.bytes().rows()) {
        bytes[row * width..][..width].iter_mut().zip(code).for_each(|(to, from)| *to = *from);
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

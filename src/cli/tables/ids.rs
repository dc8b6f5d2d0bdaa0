//! A column of ids, as the bytes that keyed noise is drawn from.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, Schema};

use super::column;

/// Returns where the column of ids is, and refuses one of another type than text or whole numbers.
pub(super) fn find(schema: &Schema, name: &str) -> Result<usize, String> {
    let index = column::find(schema, name)?;
    let kind = schema.field(index).data_type();
    let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if is_text || kind.is_integer() {
        return Ok(index);
    }
    Err(format!("column \"{name}\" is {kind}, and ids are strings or integers"))
}

/// Returns the ids in these rows of the file, for a batch that begins with row `first`. A number is its decimal
/// digits, as in a file of ids.
pub(super) fn read(
    array: &dyn Array,
    name: &str,
    rows: &[usize],
    first: usize,
) -> Result<Vec<Vec<u8>>, String> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        let bad =
            |what: &str| Err(format!("row {row} (counted from 0), column \"{name}\": the id is {what}"));
        let at = row - first;
        if array.is_null(at) {
            return bad("null; give each row an id");
        }
        match id(array, at) {
            Some(id) if id.is_empty() => return bad("empty; give each row an id"),
            Some(id) => ids.push(id),
            None => return bad("neither a string nor an integer"),
        }
    }
    Ok(ids)
}

fn id(array: &dyn Array, row: usize) -> Option<Vec<u8>> {
    macro_rules! number {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row).to_string().into_bytes()
        };
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        _ => return None,
    })
}

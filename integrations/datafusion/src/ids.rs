//! The ids of rows, as the bytes that keyed noise is drawn from.

use datafusion_common::arrow::array::{Array, AsArray};
use datafusion_common::arrow::compute::cast;
use datafusion_common::arrow::datatypes::DataType;

/// Refuses a column of another type than ids have.
pub(crate) fn check(kind: &DataType) -> Result<(), String> {
    if is_text(kind) || is_binary(kind) || kind.is_integer() {
        return Ok(());
    }
    Err(format!("the ids are of type {kind}; ids are strings, binary values or whole numbers"))
}

/// Returns the ids of these rows. A text counts as its UTF-8, a number as its decimal digits.
pub(crate) fn read(array: &dyn Array, rows: &[usize]) -> Result<Vec<Vec<u8>>, String> {
    let as_bytes = if is_binary(array.data_type()) { DataType::BinaryView } else { DataType::Utf8View };
    let ids = cast(array, &as_bytes).map_err(|error| error.to_string())?;
    let of_row = |&row: &usize| {
        if ids.is_null(row) {
            return Err(format!("row {row} of the batch (counted from 0) has no id; give each row one"));
        }
        Ok(match ids.as_string_view_opt() {
            Some(ids) => ids.value(row).as_bytes().to_vec(),
            None => ids.as_binary_view().value(row).to_vec(),
        })
    };
    rows.iter().map(of_row).collect()
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    )
}

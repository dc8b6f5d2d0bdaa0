//! Columns of texts, sealed in their place.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, FieldRef, Schema};

use super::super::error::CliError;
use super::{Change, Seals, Settings, column, ids};

/// Returns where the columns of texts are that are sealed, and refuses those of another type.
pub(super) fn find(schema: &Schema, change: &mut dyn Change) -> Result<Vec<usize>, String> {
    let names = change.sealing().map(|sealing| sealing.columns().to_vec()).unwrap_or_default();
    let mut found = Vec::new();
    for name in names {
        let index = column::find(schema, &name)?;
        let kind = schema.field(index).data_type();
        if !matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            return Err(format!("column \"{name}\" is {kind}, and texts that are sealed are strings"));
        }
        found.push(index);
    }
    Ok(found)
}

/// Returns the schema with bytes in place of these texts.
pub(super) fn with_bytes(before: &Schema, texts: &[usize]) -> Schema {
    let mut fields: Vec<FieldRef> = before.fields().iter().map(Arc::clone).collect();
    for index in texts {
        fields[*index] = Arc::new(fields[*index].as_ref().clone().with_data_type(DataType::Binary));
    }
    Schema::new_with_metadata(fields, before.metadata().clone())
}

/// Seals the texts of a batch that begins with row `first` of the file; rows without a text have none.
pub(super) fn seal(
    settings: &Settings<'_>,
    (name, texts): (&str, &ArrayRef),
    ids: Option<&ArrayRef>,
    first: usize,
    sealing: &mut dyn Seals,
) -> Result<Vec<Option<Vec<u8>>>, CliError> {
    let seal = |at: usize| {
        let Some(text) = text(texts, at) else { return Ok(None) };
        let row = first + at;
        let id = match (ids, settings.id_column) {
            (Some(ids), Some(name)) => {
                ids::read(ids, name, &[row], first).map_err(|why| settings.bad(why))?.pop()
            }
            _ => None,
        };
        sealing.text(name, row, id, text).map(Some)
    };
    (0..texts.len()).map(seal).collect()
}

fn text(texts: &ArrayRef, at: usize) -> Option<&str> {
    if texts.is_null(at) {
        return None;
    }
    match texts.data_type() {
        DataType::Utf8 => Some(texts.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Some(texts.as_string::<i64>().value(at)),
        DataType::Utf8View => Some(texts.as_string_view().value(at)),
        _ => None,
    }
}

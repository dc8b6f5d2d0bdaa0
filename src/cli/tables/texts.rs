//! Columns of texts, sealed in their place.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, LargeBinaryArray};
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
        let kind = bytes_of(fields[*index].data_type());
        fields[*index] = Arc::new(fields[*index].as_ref().clone().with_data_type(kind));
    }
    Schema::new_with_metadata(fields, before.metadata().clone())
}

/// The type of sealed texts: with long offsets if a batch of the texts may have more than 2 GiB.
fn bytes_of(kind: &DataType) -> DataType {
    if *kind == DataType::Utf8 { DataType::Binary } else { DataType::LargeBinary }
}

/// Returns sealed texts, whose type was `kind` before, as a column of bytes.
pub(super) fn array(name: &str, kind: &DataType, sealed: Vec<Option<Vec<u8>>>) -> Result<ArrayRef, String> {
    if bytes_of(kind) == DataType::LargeBinary {
        return Ok(Arc::new(LargeBinaryArray::from_iter(sealed)));
    }
    check_length(name, sealed.iter().flatten().map(Vec::len).sum())?;
    Ok(Arc::new(BinaryArray::from_iter(sealed)))
}

/// Refuses more bytes than short offsets reach.
fn check_length(name: &str, bytes: usize) -> Result<(), String> {
    match i32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "column \"{name}\": the sealed texts of a record batch have {bytes} bytes, and its type Utf8 has room for 2 GiB; \
             write smaller record batches, or LargeUtf8"
        )),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sealed_texts_have_the_offsets_of_the_texts_and_fit_them() {
        let sealed = vec![Some(vec![1, 2]), None];
        for (before, after) in [
            (DataType::Utf8, DataType::Binary),
            (DataType::LargeUtf8, DataType::LargeBinary),
            (DataType::Utf8View, DataType::LargeBinary),
        ] {
            let array = array("text", &before, sealed.clone()).unwrap();
            assert_eq!((array.data_type(), array.null_count()), (&after, 1));
        }
        let most = i32::MAX as usize;
        check_length("text", most).unwrap();
        assert!(check_length("text", most + 1).unwrap_err().contains("write smaller record batches"));
    }
}

//! Schema, metadata and properties of the file that is written: those of the file that is read, as far as its vectors
//! stay lists of numbers.

use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::basic::{Compression, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{Type, TypePtr};

use super::Table;
use crate::cli::tables::codes::Beside;
use crate::cli::tables::{packed, texts};

pub(super) struct Footer {
    pub(super) schema: TypePtr,
    pub(super) properties: WriterProperties,
}

/// Returns the footer for vectors of `dim` dimensions, or for codes; and for sealed vectors of `sealed` bytes, if there are
/// any.
pub(super) fn of(
    table: &Table,
    dim: usize,
    beside: Option<&Beside>,
    sealed: Option<usize>,
) -> Result<Footer, String> {
    let file = table.metadata.metadata().file_metadata();
    let root = file.schema_descr().root_schema_ptr();
    let before = table.metadata.schema();
    let (mut schema, mut arrow) = match beside {
        None => {
            let mut fields: Vec<_> = before.fields().iter().map(Arc::clone).collect();
            fields[table.column.index] = Arc::new(table.column.changed_field(dim));
            (root, Schema::new_with_metadata(fields, before.metadata().clone()))
        }
        Some(beside) => {
            let arrow = packed::schema(before, &table.column, beside.bytes(), beside.has_scales())?;
            (with_codes(table, &root, beside).map_err(|error| error.to_string())?, arrow)
        }
    };
    if let Some(bytes) = sealed {
        arrow = packed::with_sealed(&texts::with_bytes(&arrow, &table.texts), &table.column, bytes)?;
        schema = with_sealed(table, &schema, bytes).map_err(|error| error.to_string())?;
    }
    let mut metadata = file.key_value_metadata().cloned().unwrap_or_default();
    if arrow.fields() != before.fields() {
        for entry in metadata.iter_mut().filter(|entry| entry.key == ARROW_SCHEMA_META_KEY) {
            *entry = KeyValue::new(entry.key.clone(), encode_arrow_schema(&arrow));
        }
    }
    let groups = table.metadata.metadata().row_groups();
    let first = groups.first();
    let same_order = groups.windows(2).all(|two| two[0].sorting_columns() == two[1].sorting_columns());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("embosk version ", env!("CARGO_PKG_VERSION")).to_owned())
        // protected coordinates do not repeat, and their extremes help no query
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata((!metadata.is_empty()).then_some(metadata));
    for index in &table.texts {
        let name = before.field(*index).name().clone();
        properties = properties.set_column_compression(name.into(), Compression::UNCOMPRESSED);
    }
    let is_sealed = |leaf: i32| {
        let leaf = usize::try_from(leaf).unwrap_or_default();
        table.texts.contains(&file.schema_descr().get_column_root_idx(leaf))
    };
    if let Some(group) = first {
        let sorting = group
            .sorting_columns()
            .filter(|sorting| same_order && !sorting.iter().any(|column| is_sealed(column.column_idx)));
        properties = properties
            .set_compression(group.column(table.leaf).compression())
            // what is sealed looks random
            .set_column_compression(
                packed::sealed_name(table.column.name()).into(),
                Compression::UNCOMPRESSED,
            )
            .set_sorting_columns(sorting.cloned());
    }
    Ok(Footer { schema, properties: properties.build() })
}

/// Returns the schema with codes in place of the vectors, and a column of scales after all others.
fn with_codes(table: &Table, root: &TypePtr, beside: &Beside) -> Result<TypePtr, ParquetError> {
    let info = root.get_fields()[table.column.index].get_basic_info();
    let repetition = repetition(table, root);
    let mut fields = root.get_fields().to_vec();
    let codes = Type::primitive_type_builder(info.name(), Physical::FIXED_LEN_BYTE_ARRAY)
        .with_length(i32::try_from(beside.bytes()).unwrap_or(i32::MAX))
        .with_repetition(repetition)
        .with_id(info.has_id().then(|| info.id()))
        .build()?;
    fields[table.column.index] = Arc::new(codes);
    if beside.has_scales() {
        let name = packed::scale_name(&table.column);
        let scales = Type::primitive_type_builder(&name, Physical::FLOAT);
        fields.push(Arc::new(scales.with_repetition(repetition).build()?));
    }
    Ok(Arc::new(Type::group_type_builder(root.name()).with_fields(fields).build()?))
}

/// Returns the schema with bytes in place of sealed texts, and a column of sealed vectors after all others.
fn with_sealed(table: &Table, root: &TypePtr, bytes: usize) -> Result<TypePtr, ParquetError> {
    let name = packed::sealed_name(table.column.name());
    let sealed = Type::primitive_type_builder(&name, Physical::FIXED_LEN_BYTE_ARRAY)
        .with_length(i32::try_from(bytes).unwrap_or(i32::MAX))
        .with_repetition(repetition(table, root))
        .build()?;
    let mut fields = root.get_fields().to_vec();
    for index in &table.texts {
        let info = fields[*index].get_basic_info();
        let bytes = Type::primitive_type_builder(info.name(), Physical::BYTE_ARRAY)
            .with_repetition(info.repetition())
            .with_id(info.has_id().then(|| info.id()));
        fields[*index] = Arc::new(bytes.build()?);
    }
    fields.push(Arc::new(sealed));
    Ok(Arc::new(Type::group_type_builder(root.name()).with_fields(fields).build()?))
}

/// Whether rows may lack what is beside a vector: as they may lack the vector.
fn repetition(table: &Table, root: &TypePtr) -> Repetition {
    if root.get_fields()[table.column.index].is_optional() {
        Repetition::OPTIONAL
    } else {
        Repetition::REQUIRED
    }
}

//! Parquet files. Only the column of vectors is decoded; the others are copied byte for byte, so that their encodings,
//! statistics and types stay what they are.
//!
//! Pages of vectors are written as they come, so that a row group of any size passes through in the memory of a batch.

mod chunk;
mod footer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::super::error::CliError;
use super::super::files::unreadable;
use super::codes::Beside;
use super::column::VectorColumn;
use super::damage::{Surviving, survive};
use super::output::{self, Sink};
use super::{Batch, Change, Changed, Seals, Settings, ids, packed, texts};
use chunk::Chunk;

/// Numbers that are read and changed together: 8 MiB.
const NUMBERS: usize = 1 << 21;

/// Texts that are read and sealed together.
const TEXTS: usize = 1024;

pub(super) fn change(
    settings: &Settings<'_>,
    output: &Path,
    change: &mut dyn Change,
) -> Result<(), CliError> {
    let mut table = Table::open(settings, change)?;
    let dim = table.first_dim(settings)?;
    let beside = match change.packing() {
        Some(_) => Some(Beside::of(output, change, dim).map_err(|why| settings.bad(why))?),
        None => None,
    };
    output::write(output, |sink| {
        table.change(settings, dim, beside.as_ref(), sink, change)?;
        beside.as_ref().map_or(Ok(()), Beside::replace)
    })?;
    beside
        .map_or(Ok(()), |beside| beside.write_table(&packed::scale_name(&table.column), change.fingerprint()))
}

/// Says why a file's end, which holds its schema, cannot be read.
fn unread(error: &str) -> String {
    if error.contains("EOF") {
        "it is not a Parquet file, or it is cut off; write it again".into()
    } else {
        format!("it is not a Parquet file that can be read: {error}")
    }
}

type Writer<'a, 'b> = SerializedFileWriter<&'a mut Sink<'b>>;
type RowGroup<'a, 'b, 'c> = SerializedRowGroupWriter<'a, &'b mut Sink<'c>>;

/// A Parquet file whose vectors are changed.
struct Table {
    file: File,
    metadata: ArrowReaderMetadata,
    column: VectorColumn,
    /// The column of the vectors among all leaves of the schema.
    leaf: usize,
    ids: Option<usize>,
    /// The columns of texts that are sealed.
    texts: Vec<usize>,
}

impl Table {
    fn open(settings: &Settings<'_>, change: &mut dyn Change) -> Result<Self, CliError> {
        let file = File::open(settings.input).map_err(|error| unreadable(settings.input, &error))?;
        if !file.metadata().is_ok_and(|it| it.is_file()) {
            return Err(settings
                .bad("it is not a regular file, and Parquet is not read from its beginning to its end"));
        }
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = survive(|| Ok(ArrowReaderMetadata::load(&file, options)?))
            .map_err(|error| settings.bad(unread(&error.to_string())))?;
        let column =
            VectorColumn::find(metadata.schema(), settings.column).map_err(|why| settings.bad(why))?;
        let ids = settings.id_column.map(|name| ids::find(metadata.schema(), name)).transpose();
        let ids = ids.map_err(|why| settings.bad(why))?;
        let texts = texts::find(metadata.schema(), change).map_err(|why| settings.bad(why))?;
        let schema = metadata.parquet_schema();
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == column.index);
        let leaf = leaf.ok_or_else(|| settings.bad("the vectors have no column of numbers"))?;
        Ok(Self { file, metadata, column, leaf, ids, texts })
    }

    fn rows(&self) -> usize {
        usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or_default()
    }

    /// Returns the dimension of the first vector.
    fn first_dim(&mut self, settings: &Settings<'_>) -> Result<usize, CliError> {
        let none = || {
            settings.bad(format!("column \"{}\" has no vectors; there is nothing to change", settings.column))
        };
        let (mut probe, mut first) = (self.column.clone(), 0);
        for group in 0..self.metadata.metadata().num_row_groups() {
            for arrays in self.read(group, 16)? {
                let arrays = arrays.map_err(|error| damaged(settings, settings.column, &error))?;
                let (vectors, _) = self.columns(&arrays);
                let batch = probe.read(&vectors, first).map_err(|why| settings.bad(why))?;
                first += vectors.len();
                if !batch.rows.is_empty() {
                    return probe.dim().ok_or_else(none);
                }
            }
        }
        Err(none())
    }

    /// Reads vectors and ids of a row group, this many rows at a time.
    fn read(&self, group: usize, rows: usize) -> Result<Surviving<ParquetRecordBatchReader>, CliError> {
        self.read_columns(group, std::iter::once(self.column.index).chain(self.ids), rows)
    }

    fn read_columns(
        &self,
        group: usize,
        roots: impl Iterator<Item = usize>,
        rows: usize,
    ) -> Result<Surviving<ParquetRecordBatchReader>, CliError> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone());
        let builder = builder.with_projection(mask).with_row_groups(vec![group]).with_batch_size(rows);
        Ok(Surviving::new(survive(|| Ok(builder.build()?))?))
    }

    /// Returns the vectors and the ids of what was read.
    fn columns(&self, batch: &arrow_array::RecordBatch) -> (ArrayRef, Option<ArrayRef>) {
        let place =
            |index: usize, other: Option<usize>| usize::from(other.is_some_and(|other| other < index));
        let vectors = batch.column(place(self.column.index, self.ids));
        let ids = self.ids.map(|ids| Arc::clone(batch.column(place(ids, Some(self.column.index)))));
        (Arc::clone(vectors), ids)
    }

    fn change(
        &mut self,
        settings: &Settings<'_>,
        dim: usize,
        beside: Option<&Beside>,
        sink: &mut Sink<'_>,
        change: &mut dyn Change,
    ) -> Result<(), CliError> {
        let bad = |why: String| settings.bad(why);
        let after = change.dimension(dim).map_err(bad)?;
        let sealed = change.sealing().map(|sealing| sealing.vector_bytes(dim));
        let footer = footer::of(self, after, beside, sealed).map_err(bad)?;
        let mut writer: Writer<'_, '_> =
            SerializedFileWriter::new(sink, footer.schema, Arc::new(footer.properties))?;
        let mut first = 0;
        for group in 0..self.metadata.metadata().num_row_groups() {
            let mut open = writer.next_row_group()?;
            let scales = self.copy_group(settings, group, first, &mut open, (dim, change))?;
            if beside.is_some_and(Beside::has_scales) {
                chunk::write_scales(&mut open, &scales)?;
            }
            if let Some(sealing) = change.sealing() {
                self.seal_vectors(settings, group, first, &mut open, (dim, sealing))?;
            }
            open.close()?;
            first +=
                usize::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or_default();
        }
        change.finish(first)?;
        writer.close()?;
        Ok(())
    }

    /// Copies a row group with its vectors changed, and returns the scales of its codes, if there are any.
    fn copy_group(
        &mut self,
        settings: &Settings<'_>,
        group: usize,
        first: usize,
        open: &mut RowGroup<'_, '_, '_>,
        (dim, change): (usize, &mut dyn Change),
    ) -> Result<Vec<Option<f32>>, CliError> {
        let mut scales = Vec::new();
        for leaf in 0..self.metadata.parquet_schema().num_columns() {
            let root = self.metadata.parquet_schema().get_column_root_idx(leaf);
            if let (true, Some(sealing)) = (self.texts.contains(&root), change.sealing()) {
                self.seal_texts(settings, (group, root), first, open, sealing)?;
                continue;
            }
            if leaf != self.leaf {
                survive(|| Ok(self.copy(group, leaf, open)?))?;
                continue;
            }
            let column =
                open.next_column()?.ok_or_else(|| settings.bad("the row group has too few columns"))?;
            let mut chunk = Chunk::new(column, self.column.clone());
            let total = self.rows();
            self.each(settings, group, first, dim, |read, vectors| {
                let changed = change.change(read)?;
                if let Changed::Codes(codes) = &changed {
                    scales.extend(chunk::scales_of(codes, vectors));
                }
                chunk.write(&changed, vectors).map_err(|why| settings.bad(why))?;
                settings.progress.add(vectors.len(), Some(total));
                Ok(())
            })?;
            chunk.close()?;
        }
        Ok(scales)
    }

    /// Writes the sealed vectors of a row group. The vectors are read again, because those of a large row group would not
    /// fit in memory.
    fn seal_vectors(
        &mut self,
        settings: &Settings<'_>,
        group: usize,
        first: usize,
        open: &mut RowGroup<'_, '_, '_>,
        (dim, sealing): (usize, &mut dyn Seals),
    ) -> Result<(), CliError> {
        let column =
            open.next_column()?.ok_or_else(|| settings.bad("there is no column for sealed vectors"))?;
        let mut chunk = Chunk::new(column, self.column.clone());
        self.each(settings, group, first, dim, |read, vectors| {
            Ok(chunk.write_bytes(sealing.vectors(&read)?.view(), vectors)?)
        })?;
        Ok(chunk.close()?)
    }

    /// Writes the sealed texts of a column of a row group.
    fn seal_texts(
        &self,
        settings: &Settings<'_>,
        (group, index): (usize, usize),
        mut first: usize,
        open: &mut RowGroup<'_, '_, '_>,
        sealing: &mut dyn Seals,
    ) -> Result<(), CliError> {
        let mut writer =
            open.next_column()?.ok_or_else(|| settings.bad("the row group has too few columns"))?;
        let name = self.metadata.schema().field(index).name();
        for batch in self.read_columns(group, std::iter::once(index).chain(self.ids), TEXTS)? {
            let batch = batch.map_err(|error| damaged(settings, name, &error))?;
            let column = |name: &str| batch.column_by_name(name);
            let read = column(name).ok_or_else(|| settings.bad(format!("column \"{name}\" is missing")))?;
            let sealed =
                texts::seal(settings, (name, read), settings.id_column.and_then(column), first, sealing)?;
            chunk::write_texts(&mut writer, sealed)?;
            first += batch.num_rows();
        }
        Ok(writer.close()?)
    }

    /// Reads the vectors of a row group whose first row is row `first` of the file, batch by batch, also as they are stored.
    fn each(
        &mut self,
        settings: &Settings<'_>,
        group: usize,
        mut first: usize,
        dim: usize,
        mut act: impl FnMut(Batch, &ArrayRef) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        for batch in self.read(group, (NUMBERS / dim).clamp(16, 1 << 16))? {
            let batch = batch.map_err(|error| damaged(settings, settings.column, &error))?;
            let (vectors, ids) = self.columns(&batch);
            act(self.batch(settings, &vectors, ids, first).map_err(|why| settings.bad(why))?, &vectors)?;
            first += batch.num_rows();
        }
        Ok(())
    }

    fn batch(
        &mut self,
        settings: &Settings<'_>,
        vectors: &ArrayRef,
        ids: Option<ArrayRef>,
        first: usize,
    ) -> Result<Batch, String> {
        let mut batch = self.column.read(vectors, first)?;
        if let (Some(ids), Some(name)) = (ids, settings.id_column) {
            batch.ids = Some(ids::read(&ids, name, &batch.rows, first)?);
        }
        Ok(batch)
    }

    /// Copies a column of a row group as it is.
    fn copy(&self, group: usize, leaf: usize, open: &mut RowGroup<'_, '_, '_>) -> Result<(), ParquetError> {
        let metadata = self.metadata.metadata();
        let (rows, column) = (metadata.row_group(group).num_rows(), metadata.row_group(group).column(leaf));
        let pages = metadata.page_index();
        let close = ColumnCloseResult {
            bytes_written: column.compressed_size().unsigned_abs(),
            rows_written: rows.unsigned_abs(),
            metadata: column.clone(),
            bloom_filter: Sbbf::read_from_column_chunk(column, &self.file)?,
            column_index: pages.and_then(|pages| pages.column_index(group, leaf)).cloned(),
            offset_index: pages.and_then(|pages| pages.offset_index(group, leaf)).cloned(),
        };
        open.append_column(&self.file, close)
    }
}

/// An error about a column that cannot be decoded.
fn damaged(settings: &Settings<'_>, column: &str, error: &arrow_schema::ArrowError) -> CliError {
    settings.bad(format!("column \"{column}\" cannot be read: {error}"))
}

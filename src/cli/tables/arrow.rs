//! Arrow IPC files and streams, record batch by record batch.

mod compression;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use ndarray::Array2;

use super::super::error::CliError;
use super::super::files::unreadable;
use super::codes::Beside;
use super::column::VectorColumn;
use super::damage::{Surviving, survive};
use super::format::is_standard;
use super::output::{self, Sink};
use super::{Change, Changed, Seals, Settings, ids, packed, texts};

/// How a file in the IPC file format begins and ends.
const MAGIC: &[u8] = b"ARROW1";

/// Changes the vectors of a file. It comes out in the form that it has, file or stream; stdout gets a stream.
pub(super) fn change(
    settings: &Settings<'_>,
    output: &Path,
    change: &mut dyn Change,
) -> Result<(), CliError> {
    let (batches, form) = open(settings)?;
    let form = if is_standard(output) { Form::Stream } else { form };
    let mut table = Table::new(settings, batches.schema(), change)?;
    let mut beside = None;
    output::write(output, |sink| {
        beside = table.change(settings, batches, form, sink, output, change)?;
        beside.as_ref().map_or(Ok(()), Beside::replace)
    })?;
    beside
        .map_or(Ok(()), |beside| beside.write_table(&packed::scale_name(&table.column), change.fingerprint()))
}

/// How record batches are written.
enum Form {
    Stream,
    File { options: IpcWriteOptions, metadata: Vec<(String, String)> },
}

/// The record batches of a file or stream.
trait Batches: Iterator<Item = Result<RecordBatch, ArrowError>> {
    fn schema(&self) -> SchemaRef;
}

impl<R: Read + io::Seek> Batches for FileReader<R> {
    fn schema(&self) -> SchemaRef {
        FileReader::schema(self)
    }
}

impl<R: Read> Batches for StreamReader<R> {
    fn schema(&self) -> SchemaRef {
        StreamReader::schema(self)
    }
}

/// Opens the input, and says in which form it is.
fn open(settings: &Settings<'_>) -> Result<(Box<dyn Batches>, Form), CliError> {
    let bad = |error: ArrowError| {
        settings.bad(format!("it is not an Arrow file or stream that can be read: {error}"))
    };
    let stream = |reader: Box<dyn Read>| {
        let batches = survive(|| StreamReader::try_new(reader, None)).map_err(bad)?;
        Ok((Box::new(batches) as Box<dyn Batches>, Form::Stream))
    };
    if is_standard(settings.input) {
        return stream(Box::new(BufReader::new(io::stdin())));
    }
    let broken = |error: io::Error| unreadable(settings.input, &error);
    let mut file = File::open(settings.input).map_err(broken)?;
    if !file.metadata().map_err(broken)?.is_file() {
        return stream(Box::new(BufReader::new(file)));
    }
    let mut head = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head).map_err(broken)?;
    io::Seek::rewind(&mut file).map_err(broken)?;
    if head != MAGIC {
        compression::check_stream(&mut file).map_err(broken)?;
        return stream(Box::new(BufReader::new(file)));
    }
    let compression = compression::of(&mut file).map_err(broken)?;
    let options = IpcWriteOptions::default().try_with_compression(compression).map_err(bad)?;
    let batches = survive(|| FileReader::try_new(BufReader::new(file), None)).map_err(bad)?;
    let metadata = batches.custom_metadata();
    let metadata = metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok((Box::new(batches), Form::File { options, metadata }))
}

/// The writer of a form.
enum Writer<'a, 'b> {
    Stream(StreamWriter<&'a mut Sink<'b>>),
    File(FileWriter<&'a mut Sink<'b>>),
}

impl<'a, 'b> Writer<'a, 'b> {
    fn new(form: Form, sink: &'a mut Sink<'b>, schema: &Schema) -> Result<Self, ArrowError> {
        Ok(match form {
            Form::Stream => Self::Stream(StreamWriter::try_new(sink, schema)?),
            Form::File { options, metadata } => {
                let mut writer = FileWriter::try_new_with_options(sink, schema, options)?;
                for (key, value) in metadata {
                    writer.write_metadata(key, value);
                }
                Self::File(writer)
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Stream(writer) => writer.write(batch),
            Self::File(writer) => writer.write(batch),
        }
    }

    fn finish(&mut self) -> Result<(), ArrowError> {
        match self {
            Self::Stream(writer) => writer.finish(),
            Self::File(writer) => writer.finish(),
        }
    }
}

/// A table whose vectors are changed.
struct Table {
    schema: SchemaRef,
    column: VectorColumn,
    ids: Option<usize>,
    /// The columns of texts that are sealed.
    texts: Vec<usize>,
    rows: usize,
}

impl Table {
    fn new(settings: &Settings<'_>, schema: SchemaRef, change: &mut dyn Change) -> Result<Self, CliError> {
        let column = VectorColumn::find(&schema, settings.column).map_err(|error| settings.bad(error))?;
        let ids = settings.id_column.map(|name| ids::find(&schema, name)).transpose();
        let ids = ids.map_err(|error| settings.bad(error))?;
        let texts = texts::find(&schema, change).map_err(|error| settings.bad(error))?;
        Ok(Self { schema, column, ids, texts, rows: 0 })
    }

    /// Copies the table, with its vectors changed, and returns what lies beside codes. Batches before the first vector wait until its dimension is known.
    fn change(
        &mut self,
        settings: &Settings<'_>,
        batches: Box<dyn Batches>,
        form: Form,
        sink: &mut Sink<'_>,
        output: &Path,
        change: &mut dyn Change,
    ) -> Result<Option<Beside>, CliError> {
        let bad = |error: String| settings.bad(error);
        let (mut form, mut sink) = (Some(form), Some(sink));
        let mut waiting = Vec::new();
        let mut open: Option<(Writer<'_, '_>, SchemaRef, Option<Beside>)> = None;
        for batch in Surviving::new(batches) {
            let batch = batch.map_err(|error| bad(format!("it is damaged: {error}")))?;
            let first = self.rows;
            let read = self.read(settings, &batch).map_err(bad)?;
            waiting.push((batch, read, first));
            if let (None, Some(dim)) = (&open, self.column.dim())
                && let (Some(form), Some(sink)) = (form.take(), sink.take())
            {
                let (schema, beside) = self.changed_schema(dim, output, change).map_err(bad)?;
                let writer = Writer::new(form, sink, &schema)?;
                open = Some((writer, schema, beside));
            }
            let Some((writer, schema, _)) = &mut open else { continue };
            for (batch, read, first) in waiting.drain(..) {
                let rows = batch.num_rows();
                let (columns, sealed) = match change.sealing() {
                    Some(sealing) => {
                        let (columns, sealed) = self.seal(settings, &batch, &read, first, sealing)?;
                        (columns, Some(sealed))
                    }
                    None => (batch.columns().to_vec(), None),
                };
                let changed = change.change(read)?;
                writer.write(&self.replaced(columns, schema, changed, sealed).map_err(bad)?)?;
                settings.progress.add(rows, None);
            }
        }
        let Some((mut writer, _, beside)) = open else {
            return Err(bad(format!(
                "column \"{}\" has no vectors; there is nothing to change",
                settings.column
            )));
        };
        change.finish(self.rows)?;
        writer.finish()?;
        Ok(beside)
    }

    /// Reads the vectors and ids of a batch.
    fn read(&mut self, settings: &Settings<'_>, batch: &RecordBatch) -> Result<super::Batch, String> {
        let mut read = self.column.read(batch.column(self.column.index), self.rows)?;
        if let (Some(index), Some(name)) = (self.ids, settings.id_column) {
            read.ids = Some(ids::read(batch.column(index), name, &read.rows, self.rows)?);
        }
        self.rows += batch.num_rows();
        Ok(read)
    }

    /// Returns the schema of what comes out for vectors of `dim` dimensions, and what lies beside it.
    fn changed_schema(
        &self,
        dim: usize,
        output: &Path,
        change: &mut dyn Change,
    ) -> Result<(SchemaRef, Option<Beside>), String> {
        let (mut schema, beside) = if change.packing().is_some() {
            let beside = Beside::of(output, change, dim)?;
            let schema = packed::schema(&self.schema, &self.column, beside.bytes(), beside.has_scales())?;
            (schema, Some(beside))
        } else {
            let mut fields: Vec<_> = self.schema.fields().iter().map(Arc::clone).collect();
            fields[self.column.index] = Arc::new(self.column.changed_field(change.dimension(dim)?));
            (Schema::new_with_metadata(fields, self.schema.metadata().clone()), None)
        };
        if let Some(sealing) = change.sealing() {
            let bytes = sealing.vector_bytes(dim);
            schema = packed::with_sealed(&texts::with_bytes(&schema, &self.texts), &self.column, bytes)?;
        }
        Ok((Arc::new(schema), beside))
    }

    /// Returns the columns of a batch that begins with row `first`, with sealed texts, and its sealed vectors.
    fn seal(
        &self,
        settings: &Settings<'_>,
        batch: &RecordBatch,
        read: &super::Batch,
        first: usize,
        sealing: &mut dyn Seals,
    ) -> Result<(Vec<ArrayRef>, Array2<u8>), CliError> {
        let sealed = sealing.vectors(read)?;
        let mut columns = batch.columns().to_vec();
        for index in &self.texts {
            let (name, ids) = (self.schema.field(*index).name(), self.ids.map(|ids| batch.column(ids)));
            let column = batch.column(*index);
            let sealed = texts::seal(settings, (name, column), ids, first, sealing)?;
            columns[*index] =
                texts::array(name, column.data_type(), sealed).map_err(|why| settings.bad(why))?;
        }
        Ok((columns, sealed))
    }

    /// Returns the batch of these columns with the vectors replaced, and with those that were sealed.
    fn replaced(
        &self,
        mut columns: Vec<ArrayRef>,
        schema: &SchemaRef,
        changed: Changed,
        sealed: Option<Array2<u8>>,
    ) -> Result<RecordBatch, String> {
        let before = Arc::clone(&columns[self.column.index]);
        match changed {
            Changed::Vectors(vectors) => columns[self.column.index] = self.column.write(&vectors, &before)?,
            Changed::Codes(codes) => {
                let kind = schema.field(self.column.index).data_type();
                columns[self.column.index] = packed::bytes(codes.bytes(), kind, &before)?;
                if columns.len() < schema.fields().len() {
                    columns.push(packed::scales(&codes, &before));
                }
            }
        }
        if let Some(sealed) = sealed {
            let kind = schema.field(columns.len()).data_type();
            columns.push(packed::bytes(sealed.view(), kind, &before)?);
        }
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
    }
}

//! JSON lines: one object per line, one field of which is an array of numbers. Everything else stays byte for byte.

use std::io;
use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::Array2;
use serde_json::{Value, json};

use super::super::error::CliError;
use super::format::is_standard;
use super::json::{self, Field};
use super::output::{self, Sink};
use super::{Batch, Change, Changed, Settings, packed};
use crate::lines;

/// Lines that are changed together.
const LINES: usize = 1024;

pub(super) fn change(
    settings: &Settings<'_>,
    output: &Path,
    change: &mut dyn Change,
) -> Result<(), CliError> {
    let lines = if is_standard(settings.input) {
        lines::lines_of(io::stdin(), Path::new("stdin"))?
    } else {
        lines::lines(settings.input)?
    };
    output::write(output, |sink| {
        let sealed = packed::sealed_name(settings.column);
        let mut waiting =
            Waiting { settings, change, sink, sealed, dim: None, lines: Vec::new(), batch: empty(), rows: 0 };
        for line in lines {
            waiting.add(line?)?;
        }
        waiting.end()
    })
}

fn empty() -> Read {
    Read { values: Vec::new(), rows: Vec::new(), ids: Vec::new() }
}

/// A value of a line that is replaced: by a text, or by what the vector becomes.
struct Edit {
    place: Range<usize>,
    text: Option<String>,
}

/// A text of a line that is sealed, and where it is.
struct Text {
    column: String,
    place: Range<usize>,
    content: String,
    id: Option<Vec<u8>>,
}

/// What was read of the waiting lines.
struct Read {
    values: Vec<f32>,
    rows: Vec<usize>,
    ids: Vec<Vec<u8>>,
}

/// Lines that wait to be changed together and written.
struct Waiting<'a, 'b> {
    settings: &'a Settings<'a>,
    change: &'a mut dyn Change,
    sink: &'a mut Sink<'b>,
    /// The field of sealed vectors.
    sealed: String,
    dim: Option<usize>,
    /// Each line, and what is changed in it.
    lines: Vec<(String, Vec<Edit>)>,
    batch: Read,
    rows: usize,
}

impl Waiting<'_, '_> {
    fn add(&mut self, line: String) -> Result<(), CliError> {
        self.rows += 1;
        let (vector, texts) = self
            .read(&line)
            .map_err(|message| self.settings.bad(format!("line {}: {message}", self.rows)))?;
        let mut edits: Vec<Edit> = vector.map(|place| Edit { place, text: None }).into_iter().collect();
        for Text { column, place, content, id } in texts {
            let Some(sealing) = self.change.sealing() else { continue };
            let sealed = sealing.text(&column, self.rows - 1, id, &content)?;
            edits.push(Edit { place, text: Some(STANDARD.encode(sealed)) });
        }
        edits.sort_by_key(|edit| edit.place.start);
        self.lines.push((line, edits));
        if self.lines.len() < LINES { Ok(()) } else { self.flush() }
    }

    /// Reads vector and id of a line, and returns where the vector is, and the texts that are sealed.
    fn read(&mut self, line: &str) -> Result<(Option<Range<usize>>, Vec<Text>), String> {
        let fields = json::fields(line)?;
        let Some(vector) = find(&fields, self.settings.column)? else {
            let (column, count) = (self.settings.column, fields.len());
            return Err(format!(
                "there is no field \"{column}\" among its {count}; --column names the vectors' field"
            ));
        };
        let id = || match self.settings.id_column {
            None => Ok(None),
            Some(name) => {
                let id = find(&fields, name)?.map(|field| &line[field.value.clone()]);
                id_of(id).map(Some).map_err(|why| format!("field \"{name}\": {why}"))
            }
        };
        let texts = match self.change.sealing() {
            None => Vec::new(),
            Some(_) if fields.iter().any(|field| field.name == self.sealed) => {
                let name = &self.sealed;
                return Err(format!(
                    "there is already a field \"{name}\", and one of this name is to be written; rename it"
                ));
            }
            Some(sealing) => texts(line, &fields, sealing.columns(), id)?,
        };
        let place = vector.value.clone();
        if &line[place.clone()] == "null" {
            return Ok((None, texts));
        }
        let vector = numbers(&line[place.clone()])
            .map_err(|why| format!("field \"{}\": {why}", self.settings.column))?;
        match (vector.len(), *self.dim.get_or_insert(vector.len())) {
            (0, _) => {
                return Err(format!("field \"{}\": its vector has no coordinates", self.settings.column));
            }
            (found, dim) if found != dim => {
                let column = self.settings.column;
                return Err(format!(
                    "field \"{column}\": its vector has {found} coordinates, those before it have {dim}"
                ));
            }
            _ => {}
        }
        self.batch.ids.extend(id()?);
        self.batch.values.extend(vector);
        self.batch.rows.push(self.rows - 1);
        Ok((Some(place), texts))
    }

    /// Changes the waiting lines, and writes them.
    fn flush(&mut self) -> Result<(), CliError> {
        let Read { values, rows, ids } = std::mem::replace(&mut self.batch, empty());
        let vectors = Array2::from_shape_vec((rows.len(), self.dim.unwrap_or_default()), values)?;
        let ids = self.settings.id_column.map(|_| ids);
        let batch = Batch { vectors, rows, ids };
        let sealed = self.change.sealing().map(|sealing| sealing.vectors(&batch)).transpose()?;
        let changed = self.change.change(batch)?;
        let Changed::Vectors(vectors) = changed else {
            return Err(self.settings.bad("codes cannot be written as JSON lines"));
        };
        let mut vectors = vectors.rows().into_iter();
        let mut sealed = sealed.iter().flat_map(|rows| rows.rows());
        let done = self.lines.len();
        for (line, edits) in self.lines.drain(..) {
            let mut from = 0;
            for Edit { place, text } in edits {
                self.sink.write_all(&line.as_bytes()[from..place.start])?;
                from = place.end;
                if let Some(text) = text {
                    write!(self.sink, "\"{text}\"")?;
                    continue;
                }
                let vector = vectors.next().ok_or_else(|| CliError::new("a vector is missing"))?;
                serde_json::to_writer(&mut *self.sink, &vector.to_vec())?;
                if let Some(sealed) = sealed.next() {
                    let (name, sealed) = (json!(self.sealed), STANDARD.encode(sealed.to_vec()));
                    write!(self.sink, ", {name}: \"{sealed}\"")?;
                }
            }
            self.sink.write_all(&line.as_bytes()[from..])?;
            self.sink.write_all(b"\n")?;
        }
        self.settings.progress.add(done, None);
        Ok(())
    }

    fn end(mut self) -> Result<(), CliError> {
        if self.dim.is_none() {
            let why =
                format!("field \"{}\" has no vectors; there is nothing to change", self.settings.column);
            return Err(self.settings.bad(why));
        }
        self.flush()?;
        self.change.finish(self.rows)
    }
}

fn find<'a, 'b>(fields: &'a [Field<'b>], name: &str) -> Result<Option<&'a Field<'b>>, String> {
    let mut named = fields.iter().filter(|field| field.name == name);
    match (named.next(), named.next()) {
        (_, Some(_)) => Err(format!("the field \"{name}\" is there twice; remove one of the two")),
        (field, None) => Ok(field),
    }
}

/// Returns the texts of these fields, which are there in each line and may be null.
fn texts(
    line: &str,
    fields: &[Field<'_>],
    columns: &[String],
    id: impl Fn() -> Result<Option<Vec<u8>>, String>,
) -> Result<Vec<Text>, String> {
    let mut found = Vec::new();
    for column in columns {
        let field = find(fields, column)?
            .ok_or_else(|| format!("there is no field \"{column}\", whose text is to be sealed"))?;
        let (place, literal) = (field.value.clone(), &line[field.value.clone()]);
        if literal == "null" {
            continue;
        }
        let content = json::decoded(literal).into_owned();
        if !literal.starts_with('"') || (content.is_empty() && literal != "\"\"") {
            return Err(format!("field \"{column}\": it is not a string of whole characters"));
        }
        found.push(Text { column: column.clone(), place, content, id: id()? });
    }
    Ok(found)
}

/// Reads a vector.
fn numbers(text: &str) -> Result<Vec<f32>, String> {
    let Ok(vector) = serde_json::from_str::<Vec<f32>>(text) else { return Err(fault(text)) };
    match vector.iter().position(|value| !value.is_finite()) {
        None => Ok(vector),
        Some(place) => Err(format!("coordinate {place} is too large for float32")),
    }
}

/// What is wrong with a text that is not a vector.
fn fault(text: &str) -> String {
    let values = match serde_json::from_str::<Vec<Value>>(&lines::without_nan(text)) {
        Ok(values) => values,
        Err(error) if error.to_string().contains("out of range") => {
            return "a coordinate is too large for float32".into();
        }
        Err(_) => Vec::new(),
    };
    match values.iter().position(|value| !value.is_number()) {
        Some(place) if values[place].is_null() => {
            format!("coordinate {place} is null; give each vector all its coordinates, or none at all")
        }
        Some(place) if values[place].is_object() => format!("coordinate {place} is NaN or an infinity"),
        Some(place) => format!("coordinate {place} is not a number"),
        None => match values
            .iter()
            .position(|value| value.as_f64().is_some_and(|it| it.abs() > f64::from(f32::MAX)))
        {
            Some(place) => format!("coordinate {place} is too large for float32"),
            None => "it is not an array of numbers".into(),
        },
    }
}

/// Returns the id that a field holds: a string, or an integer as its digits.
fn id_of(text: Option<&str>) -> Result<Vec<u8>, String> {
    let text = text.ok_or("there is no such field; give each line an id")?;
    if text.starts_with('"') {
        return match json::decoded(text).into_owned() {
            id if id.is_empty() => {
                Err("the id is empty, or no text of whole characters; give each line an id".into())
            }
            id => Ok(id.into()),
        };
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string().into()),
        Ok(Value::Null) => Err("the id is null; give each line an id".into()),
        _ => Err("an id is a string, or an integer of at most 64 bits".into()),
    }
}

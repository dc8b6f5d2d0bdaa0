//! Folders in the layout of BEIR.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Corpus, Dangling, file_name};
use crate::Error;
use crate::evaluate::retrieval::{Judged, Judgements};
use crate::lines::{Field, Record, bad_line, lines, read_texts, records};

pub(super) fn read(folder: &Path, split: &str) -> Result<Corpus, Error> {
    if !split.chars().all(|symbol| symbol.is_ascii_alphanumeric() || "-_".contains(symbol)) {
        return Err(Error::Setting(
            "a split is the name of a file in qrels, such as test, dev or train".into(),
        ));
    }
    // before the first of them, which may be large, is read
    let [documents, queries, grades] =
        ["corpus.jsonl".into(), "queries.jsonl".into(), format!("qrels/{split}.tsv")]
            .map(|name| find(folder, &name));
    let (documents, queries, grades) = (documents?, queries?, grades?);
    let documents = Entries::read(&documents)?;
    let queries = Entries::read(&queries)?;
    let grades = read_grades(&grades, &documents, &queries)?;
    let name = if split == "test" { file_name(folder) } else { format!("{}:{split}", file_name(folder)) };
    let corpus = Corpus { ids: documents.ids, ..Corpus::passages(&name, documents.texts) };
    asked(corpus, queries, grades)
}

/// Adds queries and judgements by the lines of their files.
pub(super) fn judge(corpus: Corpus, queries: &Path, grades: &Path) -> Result<Corpus, Error> {
    let documents = Entries::numbered(corpus.texts().to_vec());
    let queries = Entries::numbered(read_texts(queries)?);
    let grades = read_grades(grades, &documents, &queries)?;
    asked(Corpus { ids: documents.ids, ..corpus }, queries, grades)
}

/// The corpus with the queries that have a judgement.
fn asked(corpus: Corpus, queries: Entries, Grades { by_query, dangling }: Grades) -> Result<Corpus, Error> {
    let (mut query_ids, mut texts, mut judgements, mut rows) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let all = by_query.len();
    let entries = queries.ids.into_iter().zip(queries.texts).zip(by_query);
    for (row, ((id, text), OfQuery { known, absent })) in entries.enumerate() {
        if !(known.is_empty() && absent.is_empty()) {
            query_ids.push(id);
            texts.push(text);
            judgements.push(known.into_iter().collect::<Judged>().with_absent(absent.into_values()));
            rows.push(row);
        }
    }
    let corpus = corpus.questions(texts, Judgements(judgements))?;
    Ok(Corpus { query_ids, query_rows: (rows, all), dangling, ..corpus })
}

/// The file with this name, or its compressed form.
fn find(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let forms = ["", ".gz", ".zst"].map(|end| folder.join(format!("{name}{end}")));
    let file = folder.join(name);
    forms.into_iter().find(|form| form.exists()).ok_or_else(|| {
        let splits = splits(folder);
        let message = match name.strip_prefix("qrels/") {
            Some(_) if !splits.is_empty() => {
                format!(
                    "there is no such file; the folder has judgements for the split {}",
                    splits.join(" or ")
                )
            }
            _ => "there is no such file; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/test.tsv"
                .into(),
        };
        Error::file(file, message)
    })
}

/// The splits that there are judgements for, sorted.
fn splits(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("qrels")) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let split = |name: String| {
        let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
        name.strip_suffix(".tsv").map(str::to_owned)
    };
    let mut splits: Vec<String> = names.filter_map(split).collect();
    splits.sort();
    splits
}

/// The documents or the queries, in the order of their file.
struct Entries {
    ids: Vec<String>,
    texts: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    title: Option<String>,
    text: String,
}

impl Record for Entry {
    const FIELDS: &'static [Field] =
        &[Field::text("_id"), Field::text("text"), Field::text("title").optional()];
}

impl Entries {
    fn read(path: &Path) -> Result<Self, Error> {
        let mut entries = Self { ids: Vec::new(), texts: Vec::new() };
        let mut seen = HashSet::new();
        for (line, entry) in (1..).zip(records::<Entry>(path)?) {
            let entry = entry?;
            if !seen.insert(entry.id.clone()) {
                return Err(bad_line(path, line, "its _id is there twice; remove one of the two lines"));
            }
            entries.texts.push(entry.joined());
            entries.ids.push(entry.id);
        }
        if entries.ids.is_empty() { Err(Error::file(path, "it is empty")) } else { Ok(entries) }
    }

    /// Texts that are identified by their lines, from 1.
    fn numbered(texts: Vec<String>) -> Self {
        Self { ids: (1..=texts.len()).map(|line| line.to_string()).collect(), texts }
    }

    fn positions(&self) -> HashMap<&str, usize> {
        self.ids.iter().enumerate().map(|(position, id)| (id.as_str(), position)).collect()
    }
}

impl Entry {
    fn joined(&self) -> String {
        match self.title.as_deref().map(str::trim) {
            None | Some("") => self.text.clone(),
            Some(title) => format!("{title} {}", self.text),
        }
    }
}

struct Grades {
    /// In the order of the queries' file.
    by_query: Vec<OfQuery>,
    dangling: Dangling,
}

/// The grades for one query.
#[derive(Default, Clone)]
struct OfQuery {
    /// By the documents' positions.
    known: HashMap<usize, i32>,
    /// The grades of documents that the corpus does not hold, by their ids.
    absent: HashMap<String, i32>,
}

impl OfQuery {
    /// Returns `false` if the document is already judged.
    fn insert(&mut self, document: &str, position: Option<usize>, grade: i32) -> bool {
        match position {
            Some(position) => self.known.insert(position, grade).is_none(),
            None => self.absent.insert(document.to_owned(), grade).is_none(),
        }
    }
}

fn read_grades(path: &Path, documents: &Entries, queries: &Entries) -> Result<Grades, Error> {
    let (documents, queries) = (documents.positions(), queries.positions());
    let mut grades =
        Grades { by_query: vec![OfQuery::default(); queries.len()], dangling: Dangling::default() };
    let (mut count, mut is_quoted) = (0, false);
    for (line, text) in (1..).zip(lines(path)?) {
        let text = text?;
        if line == 1 && is_header(&text) {
            continue;
        }
        let bad = |message: &str| bad_line(path, line, message);
        let [query, document, grade] = fields(&text).ok_or_else(|| bad(&no_judgement(&text)))?;
        let grade = grade.parse().map_err(|_| bad(&no_grade(line)))?;
        count += 1;
        is_quoted |= query.len() > 1 && query.starts_with('"') && query.ends_with('"');
        let Some(&query) = queries.get(query) else {
            grades.dangling.queries += 1;
            continue;
        };
        let position = documents.get(document).copied();
        grades.dangling.documents += usize::from(position.is_none());
        if !grades.by_query[query].insert(document, position, grade) {
            return Err(bad("it judges a document for a query a second time; remove one of the two lines"));
        }
    }
    if grades.by_query.iter().all(|query| query.known.is_empty()) {
        let message = if count == 0 {
            "it holds no judgement"
        } else if is_quoted {
            "none of its judgements is of a query of queries.jsonl; quotes around ids are read as part of them, so remove \
             them"
        } else {
            "none of its judgements is of a query of queries.jsonl and a document of corpus.jsonl; are the three files \
             of one collection?"
        };
        return Err(Error::file(path, message));
    }
    Ok(grades)
}

fn is_header(line: &str) -> bool {
    line.starts_with("query-id\t")
}

fn fields(line: &str) -> Option<[&str; 3]> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    fields.try_into().ok()
}

/// Describes a line that does not have the three fields.
fn no_judgement(line: &str) -> String {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let reason = match fields.as_slice() {
        [] => "it is empty; remove it",
        [first, ..] if first.starts_with('{') => "it is JSON",
        [_, _, _, grade] if grade.parse::<i32>().is_ok() => {
            "it has the four columns of TREC; `awk -v OFS='\\t' '{print $1, $3, $4}'` writes BEIR's three"
        }
        [_, "Q0", _, _, _, _] => "it is of a TREC run, which is what a search found, not what is relevant",
        [_, _, grade] if grade.parse::<i32>().is_ok() && line.contains('\t') => {
            "its tabs are not between the fields"
        }
        [_, _, grade] if grade.parse::<i32>().is_ok() => "its fields are separated by spaces",
        [query, document, score] if [query, document, score] == [&"query-id", &"corpus-id", &"score"] => {
            "its fields are separated by spaces"
        }
        [first, ..] if first.starts_with('<') => "it is HTML or XML; a download may have failed",
        [one] if one.split(',').count() >= 3 => "its fields are separated by commas",
        _ => "it has other fields",
    };
    format!("it is not a query id, a document id and a grade, separated by tabs: {reason}")
}

fn no_grade(line: usize) -> String {
    let header =
        if line == 1 { "; a header must be query-id, corpus-id and score, separated by tabs" } else { "" };
    format!("its grade is not a whole number{header}")
}

#[cfg(test)]
mod tests;

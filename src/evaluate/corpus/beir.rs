//! Folders in the layout of BEIR.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Corpus, bad_line, file_name, lines};
use crate::Error;
use crate::evaluate::retrieval::Judgements;

pub(super) fn read(folder: &Path) -> Result<Corpus, Error> {
    for file in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"].map(|name| folder.join(name)) {
        if !file.exists() {
            let message =
                "there is no such file; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/test.tsv";
            return Err(Error::file(file, message));
        }
    }
    let documents = Entries::read(folder.join("corpus.jsonl"))?;
    let queries = Entries::read(folder.join("queries.jsonl"))?;
    let grades = read_grades(&folder.join("qrels").join("test.tsv"), &documents, &queries)?;
    let (mut query_ids, mut texts, mut judgements) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, text), judged) in queries.ids.into_iter().zip(queries.texts).zip(grades) {
        if !judged.is_empty() {
            query_ids.push(id);
            texts.push(text);
            judgements.push(judged.into_iter().collect());
        }
    }
    let ids = documents.ids;
    let corpus = Corpus { ids, ..Corpus::passages(&file_name(folder), documents.texts) };
    Ok(Corpus { query_ids, ..corpus.questions(texts, Judgements(judgements))? })
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

impl Entries {
    fn read(path: PathBuf) -> Result<Self, Error> {
        let mut entries = Self { ids: Vec::new(), texts: Vec::new() };
        let mut seen = HashSet::new();
        for (line, text) in (1..).zip(lines(&path)?) {
            let entry = object(&text?).ok_or_else(|| {
                bad_line(&path, line, r#"it is not a JSON object with the strings "_id" and "text""#)
            })?;
            if !seen.insert(entry.id.clone()) {
                return Err(bad_line(&path, line, "its _id is there twice"));
            }
            entries.texts.push(entry.joined());
            entries.ids.push(entry.id);
        }
        if entries.ids.is_empty() { Err(Error::file(path, "it is empty")) } else { Ok(entries) }
    }

    fn positions(&self) -> HashMap<&str, usize> {
        self.ids.iter().enumerate().map(|(position, id)| (id.as_str(), position)).collect()
    }
}

/// Not an array of the fields' values, which serde would take as well; nor its own message, which may quote
/// the text.
fn object(line: &str) -> Option<Entry> {
    if line.trim_start().starts_with('{') { serde_json::from_str(line).ok() } else { None }
}

impl Entry {
    fn joined(&self) -> String {
        match self.title.as_deref().map(str::trim) {
            None | Some("") => self.text.clone(),
            Some(title) => format!("{title} {}", self.text),
        }
    }
}

/// The grades of the judged documents, for every query of the file.
fn read_grades(
    path: &Path,
    documents: &Entries,
    queries: &Entries,
) -> Result<Vec<HashMap<usize, i32>>, Error> {
    let (documents, queries) = (documents.positions(), queries.positions());
    let mut grades = vec![HashMap::new(); queries.len()];
    for (line, text) in (1..).zip(lines(path)?) {
        let text = text?;
        if line == 1 && is_header(&text) {
            continue;
        }
        let bad = |message| bad_line(path, line, message);
        let [query, document, grade] = fields(&text)
            .ok_or_else(|| bad("it is not a query id, a document id and a grade, separated by tabs"))?;
        let query = *queries.get(query).ok_or_else(|| bad("its query id is not in queries.jsonl"))?;
        let document =
            *documents.get(document).ok_or_else(|| bad("its document id is not in corpus.jsonl"))?;
        let grade = grade.parse().map_err(|_| bad("its grade is not a whole number"))?;
        if grades[query].insert(document, grade).is_some() {
            return Err(bad("it judges a document for a query a second time"));
        }
    }
    if grades.iter().all(HashMap::is_empty) {
        return Err(Error::file(path, "it holds no judgement"));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    const DOCUMENTS: &str = r#"{"_id": "d1", "title": "Rome", "text": "Ann lives there."}
{"_id": "d2", "title": "", "text": "Bob left.", "metadata": {}}
{"_id": "d3", "text": "Cy stays."}
"#;
    const QUERIES: &str =
        "{\"_id\": \"q1\", \"text\": \"who left?\"}\n{\"_id\": \"q2\", \"text\": \"why?\"}\n";
    const GRADES: &str = "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td1\t0\n";

    fn with(documents: &str, queries: &str, grades: &str) -> Result<Corpus, Error> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("qrels")).unwrap();
        fs::write(folder.path().join("corpus.jsonl"), documents).unwrap();
        fs::write(folder.path().join("queries.jsonl"), queries).unwrap();
        fs::write(folder.path().join("qrels/test.tsv"), grades).unwrap();
        Corpus::beir(folder.path())
    }

    #[test]
    fn documents_are_title_and_text_and_only_judged_queries_stay() {
        let corpus = with(DOCUMENTS, QUERIES, GRADES).unwrap();
        assert_eq!(corpus.ids(), ["d1", "d2", "d3"]);
        assert_eq!(corpus.texts(), ["Rome Ann lives there.", "Bob left.", "Cy stays."]);
        assert_eq!(
            (corpus.queries(), corpus.query_ids()),
            (["who left?".into()].as_slice(), ["q1".into()].as_slice())
        );
        assert_eq!(corpus.judgements().0, [[(1, 2), (0, 0)].into()]);
    }

    #[test]
    fn every_bad_line_is_named() {
        let twice = format!("{DOCUMENTS}{DOCUMENTS}");
        let cases = [
            (with("{\"_id\": 1}\n", QUERIES, GRADES), "corpus.jsonl, line 1: it is not a JSON object"),
            (
                with("[\"d1\", null, \"Ann\"]\n", QUERIES, GRADES),
                "corpus.jsonl, line 1: it is not a JSON object",
            ),
            (with(&twice, QUERIES, GRADES), "corpus.jsonl, line 4: its _id is there twice"),
            (with("", QUERIES, GRADES), "corpus.jsonl: it is empty"),
            (
                with(DOCUMENTS, &format!("{QUERIES}\n"), GRADES),
                "queries.jsonl, line 3: it is not a JSON object",
            ),
            (with(DOCUMENTS, QUERIES, "q1\td2\n"), "test.tsv, line 1: it is not a query id"),
            (with(DOCUMENTS, QUERIES, "q1\td2\tyes\n"), "test.tsv, line 1: its grade"),
            (with(DOCUMENTS, QUERIES, "q9\td2\t1\n"), "test.tsv, line 1: its query id"),
            (with(DOCUMENTS, QUERIES, &format!("{GRADES}q1\td9\t1\n")), "test.tsv, line 4: its document id"),
            (with(DOCUMENTS, QUERIES, &format!("{GRADES}q1\td1\t1\n")), "test.tsv, line 4: it judges"),
            (with(DOCUMENTS, QUERIES, "query-id\tcorpus-id\tscore\n"), "test.tsv: it holds no judgement"),
        ];
        for (result, part) in cases {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(part), "{message} has no {part}");
        }
    }

    #[test]
    fn a_message_holds_nothing_of_the_text() {
        let message = with("{\"_id\": \"d1\", \"text\": [\"Ann owes $5\"]}\n", QUERIES, GRADES)
            .unwrap_err()
            .to_string();
        assert!(!message.contains("Ann"), "{message}");
    }
}

//! What an evaluation runs on: documents to attack, and queries with judgements to retrieve by.

mod beir;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::records::{self, Split};
use super::retrieval::{Judged, Judgements};
use crate::Error;
use crate::digest::Digest;

/// How many held-out records the built-in corpus has where nothing else is said.
pub const RECORDS: usize = 2_000;

/// How many questions the built-in corpus asks at most.
const QUERIES: usize = 150;

/// Documents, and where retrieval can be scored, queries with their relevance judgements.
#[derive(Debug, Clone)]
pub struct Corpus {
    name: String,
    ids: Vec<String>,
    texts: Vec<String>,
    /// What each document holds that is personal; empty where nothing is labelled.
    entities: Vec<Vec<String>>,
    query_ids: Vec<String>,
    queries: Vec<String>,
    judgements: Judgements,
    is_records: bool,
}

impl Corpus {
    /// The corpus that a specification names: `records` or `records:N` (built in, drawn from `seed`), a
    /// BEIR folder, or a text file of one passage a line.
    ///
    /// # Errors
    /// When the number cannot be read, or the folder or file is missing or has a bad line.
    pub fn load(spec: &str, seed: u64) -> Result<Self, Error> {
        match spec.split_once(':') {
            _ if spec == "records" => Ok(Self::records(RECORDS, seed)),
            Some(("records", n)) => match n.parse() {
                Ok(n) if n > 0 => Ok(Self::records(n, seed)),
                _ => Err(Error::Setting("records:N takes a number of records, 1 or more".into())),
            },
            _ if Path::new(spec).is_dir() => Self::beir(spec),
            _ if !Path::new(spec).exists() => Err(Error::file(
                spec,
                "there is no such file; a corpus is `records`, `records:N`, a BEIR folder, or a text file of one passage \
                 a line",
            )),
            _ => Self::text_file(spec),
        }
    }

    /// `n` held-out records of the built-in corpus ([`records`]), with up to 150 questions for them.
    pub fn records(n: usize, seed: u64) -> Self {
        let records: Vec<_> = records::generate(Split::HeldOut, seed).take(n).collect();
        let asked = records::queries(&records, QUERIES, seed);
        let judged = |relevant: &[usize]| relevant.iter().map(|&document| (document, 1)).collect();
        let span =
            |record: &records::Record, entity: &records::Entity| record.text[entity.span.clone()].to_owned();
        Self {
            query_ids: numbered(asked.len()),
            entities: records.iter().map(|r| r.entities.iter().map(|e| span(r, e)).collect()).collect(),
            judgements: Judgements(asked.iter().map(|query| judged(&query.relevant)).collect()),
            queries: asked.into_iter().map(|query| query.text).collect(),
            is_records: true,
            ..Self::passages("records", records.into_iter().map(|record| record.text).collect())
        }
    }

    /// A folder in the layout of BEIR (Thakur et al. 2021, arXiv 2104.08663): `corpus.jsonl`,
    /// `queries.jsonl` and `qrels/test.tsv`. A document is its title, a space and its text; only queries
    /// with a judgement are kept.
    ///
    /// # Errors
    /// When a file is missing, a line cannot be read, an id is there twice, or a judgement names an
    /// unknown query or document: each with the file and the line.
    pub fn beir(folder: impl AsRef<Path>) -> Result<Self, Error> {
        beir::read(folder.as_ref())
    }

    /// A text file of one passage a line. It can be attacked, but has no queries to retrieve by.
    ///
    /// # Errors
    /// When the file cannot be read, is empty or is not UTF-8.
    pub fn text_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let texts = read_texts(path)?;
        if texts.is_empty() {
            return Err(Error::file(path, "it is empty; a corpus has one passage a line"));
        }
        Ok(Self::passages(&file_name(path), texts))
    }

    /// Passages of your own, to attack; add [`Corpus::questions`] to score retrieval.
    pub fn passages(name: &str, texts: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            ids: numbered(texts.len()),
            entities: vec![Vec::new(); texts.len()],
            texts,
            query_ids: Vec::new(),
            queries: Vec::new(),
            judgements: Judgements::default(),
            is_records: false,
        }
    }

    /// The same corpus with queries, and for each the grades of the documents by their position.
    ///
    /// # Errors
    /// When there are not grades for each query, or a grade is of no document.
    pub fn questions(self, queries: Vec<String>, judgements: Judgements) -> Result<Self, Error> {
        if queries.len() != judgements.0.len() {
            return Err(Error::Setting("a corpus takes one set of grades for each query".into()));
        }
        let mut judged = judgements.0.iter().flat_map(Judged::grades);
        if judged.any(|&(document, _)| document >= self.texts.len()) {
            return Err(Error::Setting("a grade is of a document that the corpus does not hold".into()));
        }
        Ok(Self { query_ids: numbered(queries.len()), queries, judgements, ..self })
    }

    /// What the corpus is called in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The documents' ids, by which ties in a ranking are broken.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The documents.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// What each document holds that is personal: names, dates, amounts. Empty where none is labelled.
    pub fn entities(&self) -> &[Vec<String>] {
        &self.entities
    }

    /// The queries; none where retrieval cannot be scored.
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// The queries' ids: those of a BEIR folder, otherwise their numbers.
    pub fn query_ids(&self) -> &[String] {
        &self.query_ids
    }

    /// The relevance judgements, in the order of the queries.
    pub fn judgements(&self) -> &Judgements {
        &self.judgements
    }

    /// Whether it is made of the built-in records, of which there is no end.
    pub(super) fn is_records(&self) -> bool {
        self.is_records
    }

    /// The SHA-256, in hexadecimal, of everything that a score depends on.
    pub fn hash(&self) -> String {
        let list = |digest: Digest, texts: &Vec<String>| {
            texts.iter().fold(digest.part((texts.len() as u64).to_le_bytes()), Digest::part)
        };
        let lists = [&self.ids, &self.texts, &self.queries].into_iter().chain(&self.entities);
        let texts = lists.fold(Digest::default(), list);
        let grades = self.judgements.0.iter().map(|judged| format!("{:?}", judged.grades()));
        grades.fold(texts, Digest::part).hex()
    }
}

/// The texts of a file that holds one text a line. An empty line is an empty text.
///
/// # Errors
/// When the file cannot be read, or a line is not UTF-8: the error names the line.
pub fn read_texts(path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
    lines(path.as_ref())?.collect()
}

/// The lines of a file one after the other, without their ends; the file is never whole in memory.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String, Error>>, Error> {
    let file = File::open(path).map_err(|error| Error::unreadable(path, &error, ""))?;
    let mut reader = BufReader::new(file);
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(text(line).ok_or_else(|| bad_line(path, number, "it is not UTF-8"))),
            Err(error) => Some(Err(Error::file(path, error))),
        }
    }))
}

fn text(mut line: Vec<u8>) -> Option<String> {
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    }
    String::from_utf8(line).ok()
}

fn numbered(n: usize) -> Vec<String> {
    (0..n).map(|index| index.to_string()).collect()
}

fn bad_line(path: &Path, line: usize, message: &str) -> Error {
    Error::File { path: path.to_owned(), line: Some(line), message: message.to_owned() }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_records_are_labelled_and_asked_for() {
        let corpus = Corpus::load("records", 4).unwrap();
        assert_eq!((corpus.texts().len(), corpus.ids().len(), corpus.entities().len()), (2000, 2000, 2000));
        assert!(corpus.queries().len() >= 100, "{}", corpus.queries().len());
        assert_eq!(corpus.queries().len(), corpus.judgements().0.len());
        for (text, entities) in corpus.texts().iter().zip(corpus.entities()) {
            assert!(!entities.is_empty() && entities.iter().all(|entity| text.contains(entity)));
        }
    }

    #[test]
    fn the_hash_tells_corpora_apart() {
        let hashes = [Corpus::records(9, 1), Corpus::records(9, 2), Corpus::records(8, 1)].map(|c| c.hash());
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
        assert_eq!(hashes[0], Corpus::load("records:9", 1).unwrap().hash());
        let split =
            |texts: &[&str]| Corpus::passages("p", texts.iter().map(ToString::to_string).collect()).hash();
        assert_ne!(split(&["a", "bc"]), split(&["ab", "c"]));
    }

    #[test]
    fn a_specification_is_read_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passages.txt");
        fs::write(&file, "one\n\nthree\r\n").unwrap();
        let corpus = Corpus::load(file.to_str().unwrap(), 0).unwrap();
        assert_eq!(
            (corpus.name(), corpus.texts()),
            ("passages.txt", ["one", "", "three"].map(String::from).as_slice())
        );
        for (spec, part) in [
            ("records:0", "1 or more"),
            ("records:x", "1 or more"),
            ("no such file", "no such file: there is no such file; a corpus is `records`"),
        ] {
            assert!(Corpus::load(spec, 0).unwrap_err().to_string().contains(part), "{spec}");
        }
        fs::write(&file, b"one\ntwo\nthr\xff").unwrap();
        assert!(
            read_texts(&file).unwrap_err().to_string().ends_with("passages.txt, line 3: it is not UTF-8")
        );
        fs::write(&file, "").unwrap();
        assert!(Corpus::text_file(&file).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn questions_fit_the_documents() {
        let corpus = || Corpus::passages("mine", vec!["a".into(), "b".into()]);
        let ask = |judged: &[usize], queries: usize| {
            let judgements = Judgements(vec![judged.iter().map(|&document| (document, 1)).collect()]);
            corpus().questions(vec!["which?".into(); queries], judgements)
        };
        assert!(ask(&[0, 1], 1).is_ok());
        assert!(ask(&[0, 2], 1).is_err());
        assert!(ask(&[0], 2).is_err());
    }
}

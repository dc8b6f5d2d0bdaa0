//! What an evaluation runs on: documents to attack, and queries with judgements for retrieval.

mod beir;

use std::fmt;
use std::path::Path;

use super::facts::{self, Fact};
use super::records::{self, Split};
use super::retrieval::{Judged, Judgements};
use crate::Error;
use crate::digest::Digest;
pub use crate::lines::read_texts;

/// How many held-out records the built-in corpus has by default.
pub const RECORDS: usize = 2_000;

/// The most questions that the built-in corpus asks.
const QUERIES: usize = 150;

/// Documents and, if retrieval can be scored, queries with their relevance judgements.
#[derive(Debug, Clone)]
pub struct Corpus {
    name: String,
    ids: Vec<String>,
    texts: Vec<String>,
    /// What is personal in each document; empty if nothing is labelled.
    entities: Vec<Vec<String>>,
    /// The same with places and kinds, if the corpus is labelled.
    facts: Option<Vec<Vec<Fact>>>,
    query_ids: Vec<String>,
    queries: Vec<String>,
    /// Which lines of the queries' file these are, from 0, and how many it has.
    query_rows: (Vec<usize>, usize),
    judgements: Judgements,
    dangling: Dangling,
    is_records: bool,
}

/// Counts the judgements of a BEIR folder that name something that the folder does not hold. Some published
/// collections have such judgements. They are treated as trec_eval and BEIR treat them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dangling {
    /// Judgements of documents that are not in `corpus.jsonl`. They count as not found.
    pub documents: usize,
    /// Judgements for queries that are not in `queries.jsonl`. They are left out.
    pub queries: usize,
}

impl Dangling {
    /// Returns whether every judgement names a document and a query of the folder.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.documents, "name a document that is not in corpus.jsonl, and count as not found"),
            (self.queries, "name a query that is not in queries.jsonl, and are left out"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> =
            told.map(|(count, what)| format!("judgements that {what}: {count}")).collect();
        f.write_str(&told.join("; "))
    }
}

impl Corpus {
    /// Loads the corpus that a specification names: `records` or `records:N` (built in, drawn from `seed`), a BEIR
    /// folder, or a text file with one passage per line.
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
            _ if !Path::new(spec).exists() => Err(Self::missing(spec)),
            _ => Self::text_file(spec),
        }
    }

    /// The error about a corpus that does not exist.
    pub(crate) fn missing(spec: &str) -> Error {
        Error::file(
            spec,
            "there is no such file; a corpus is `records`, `records:N`, a BEIR folder, or a text file of one passage a line",
        )
    }

    /// Creates a corpus of `n` held-out records ([`records`]), with up to 150 questions for them.
    pub fn records(n: usize, seed: u64) -> Self {
        let records: Vec<_> = records::generate(Split::HeldOut, seed).take(n).collect();
        let asked = records::queries(&records, QUERIES, seed);
        let judged = |relevant: &[usize]| relevant.iter().map(|&document| (document, 1)).collect();
        let span =
            |record: &records::Record, entity: &records::Entity| record.text[entity.span.clone()].to_owned();
        Self {
            query_ids: numbered(asked.len()),
            query_rows: ((0..asked.len()).collect(), asked.len()),
            entities: records.iter().map(|r| r.entities.iter().map(|e| span(r, e)).collect()).collect(),
            facts: Some(records.iter().map(records::Record::labels).collect()),
            judgements: Judgements(asked.iter().map(|query| judged(&query.relevant)).collect()),
            queries: asked.into_iter().map(|query| query.text).collect(),
            is_records: true,
            ..Self::passages("records", records.into_iter().map(|record| record.text).collect())
        }
    }

    /// Reads a folder in the layout of BEIR (Thakur et al. 2021, arXiv 2104.08663): `corpus.jsonl`,
    /// `queries.jsonl` and `qrels/test.tsv`, each also compressed as `.gz` or `.zst`.
    ///
    /// A document is its title, a space and its text. Only queries with a judgement are kept. A judged document
    /// that the folder does not hold counts as not found; judgements for a query that it does not hold are left
    /// out. [`Corpus::dangling`] counts both.
    ///
    /// # Errors
    /// When a file is missing, a line cannot be read, an id occurs twice, or no judgement is of a query and a
    /// document of the folder: each with the file and the line.
    pub fn beir(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::beir_split(folder, "test")
    }

    /// Reads a BEIR folder as [`Corpus::beir`] does, with the judgements of `qrels/<split>.tsv`: `dev`, `train`.
    /// The corpus is called `folder:split`, unless the split is `test`.
    ///
    /// # Errors
    /// As [`Corpus::beir`].
    pub fn beir_split(folder: impl AsRef<Path>, split: &str) -> Result<Self, Error> {
        beir::read(folder.as_ref(), split)
    }

    /// Reads a text file with one passage per line. It can be attacked, but has no queries for retrieval.
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

    /// Creates a corpus of your own passages, to attack; add [`Corpus::questions`] to score retrieval.
    pub fn passages(name: &str, texts: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            ids: numbered(texts.len()),
            entities: vec![Vec::new(); texts.len()],
            facts: None,
            texts,
            query_ids: Vec::new(),
            queries: Vec::new(),
            query_rows: (Vec::new(), 0),
            judgements: Judgements::default(),
            dangling: Dangling::default(),
            is_records: false,
        }
    }

    /// Returns the corpus with queries, and for each the grades of the documents by their position.
    ///
    /// # Errors
    /// When a query has no grades, or a grade names no document.
    pub fn questions(self, queries: Vec<String>, judgements: Judgements) -> Result<Self, Error> {
        if queries.len() != judgements.0.len() {
            return Err(Error::Setting("a corpus takes one set of grades for each query".into()));
        }
        let mut judged = judgements.0.iter().flat_map(Judged::grades);
        if judged.any(|&(document, _)| document >= self.texts.len()) {
            return Err(Error::Setting("a grade is of a document that the corpus does not hold".into()));
        }
        let query_rows = ((0..queries.len()).collect(), queries.len());
        Ok(Self { query_ids: numbered(queries.len()), queries, query_rows, judgements, ..self })
    }

    /// Returns the corpus with queries from a text file with one per line, and judgements from a file like BEIR's:
    /// the line of a query, the line of a document, both counted from 1, and a grade, separated by tabs. Queries
    /// without a judgement are left out.
    ///
    /// # Errors
    /// As [`Corpus::beir`].
    pub fn with_judged_queries(
        self,
        queries: impl AsRef<Path>,
        judgements: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        beir::judge(self, queries.as_ref(), judgements.as_ref())
    }

    /// The same corpus to attack, without its queries.
    pub(super) fn without_queries(self) -> Self {
        let (query_ids, queries, judgements) = (Vec::new(), Vec::new(), Judgements::default());
        Self { query_ids, queries, query_rows: (Vec::new(), 0), judgements, ..self }
    }

    /// Returns the corpus with facts from a file of offsets: `{"_id": "7", "start": 0, "end": 3, "kind": "person"}`,
    /// one per line. Offsets count characters from 0, and the end is not included. In place of `_id`, `"line": 7`
    /// names the seventh document. A BEIR document is its title, a space and its text. The facts replace those of the
    /// corpus.
    ///
    /// # Errors
    /// When the file cannot be read or is empty, a document does not exist, or a span is empty or ends beyond its
    /// text: each with the line.
    pub fn with_entities(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let facts = facts::read(path.as_ref(), &self.ids, &self.texts)?;
        let stretch = |text: &str, fact: &Fact| text[fact.span.clone()].to_owned();
        let of_text =
            |(text, facts): (&String, &Vec<Fact>)| facts.iter().map(|fact| stretch(text, fact)).collect();
        let entities = self.texts.iter().zip(&facts).map(of_text).collect();
        Ok(Self { entities, facts: Some(facts), is_records: false, ..self })
    }

    /// Returns the name of the corpus in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the documents' ids, by which ties in a ranking are broken.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Returns the documents.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Returns what is personal in each document: names, dates, amounts. Empty if none is labelled.
    pub fn entities(&self) -> &[Vec<String>] {
        &self.entities
    }

    /// Returns the labelled facts of each document, in the order of its text. `None` if none is labelled.
    pub fn facts(&self) -> Option<&[Vec<Fact>]> {
        self.facts.as_deref()
    }

    /// Returns the queries; empty if retrieval cannot be scored.
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// Returns the queries' ids: those of a BEIR folder, otherwise their numbers.
    pub fn query_ids(&self) -> &[String] {
        &self.query_ids
    }

    /// Returns which lines of the queries' file the queries are, from 0: those without a judgement are left out.
    pub fn query_rows(&self) -> &[usize] {
        &self.query_rows.0
    }

    /// Returns how many queries the file has, including those that are left out.
    pub fn queries_in_file(&self) -> usize {
        self.query_rows.1
    }

    /// Returns the relevance judgements, in the order of the queries.
    pub fn judgements(&self) -> &Judgements {
        &self.judgements
    }

    /// Counts the judgements that name a document or a query that the collection does not hold.
    pub fn dangling(&self) -> Dangling {
        self.dangling
    }

    /// Whether it is made of the built-in records, which never run out.
    pub(super) fn is_records(&self) -> bool {
        self.is_records
    }

    /// Returns the SHA-256, in hexadecimal, of everything that a score depends on.
    pub fn hash(&self) -> String {
        let list = |digest: Digest, texts: &Vec<String>| {
            texts.iter().fold(digest.part((texts.len() as u64).to_le_bytes()), Digest::part)
        };
        let lists = [&self.ids, &self.texts, &self.queries].into_iter().chain(&self.entities);
        let texts = lists.fold(Digest::default(), list);
        // those of records follow from their texts
        let read = self.facts.as_ref().filter(|_| !self.is_records).into_iter().flatten().flatten();
        let texts = read.fold(texts, |digest, fact| digest.part(format!("{} {:?}", fact.kind, fact.span)));
        let judged = |digest: Digest, judged: &Judged| {
            let digest = digest.part(format!("{:?}", judged.grades()));
            if judged.absent().is_empty() {
                digest
            } else {
                digest.part(format!("absent {:?}", judged.absent()))
            }
        };
        self.judgements.0.iter().fold(texts, judged).hex()
    }
}

fn numbered(n: usize) -> Vec<String> {
    (0..n).map(|index| index.to_string()).collect()
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

//! Vectors that exist already, as arguments and budget files name them.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde::Deserialize;

use crate::cli::error::CliError;
use crate::cli::files;
use crate::evaluate::Corpus;

const HEADING: &str = "Vectors that exist already";

/// The default corpus.
const RECORDS: &str = "records";

/// Files of vectors, and of their texts.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExistingVectors {
    /// The vectors of the corpus's documents, in its order: a matrix of float32. Without --embedder, options that
    /// need one are refused by name; with --attack none, retrieval and the adversaries that need no embedder are
    /// measured.
    #[arg(long, help_heading = HEADING, value_name = "V.npy")]
    vectors: Option<PathBuf>,
    /// The vectors of the queries, a row for each line of queries.jsonl or of --query-texts.
    #[arg(long, help_heading = HEADING, requires = "vectors", value_name = "Q.npy")]
    query_vectors: Option<PathBuf>,
    /// The documents, one per line, in place of --corpus.
    #[arg(long, help_heading = HEADING, conflicts_with = "corpus", value_name = "T.txt")]
    pub(crate) texts: Option<String>,
    /// The queries for a text file of documents, one per line.
    #[arg(long, help_heading = HEADING, requires = "qrels", value_name = "Q.txt")]
    query_texts: Option<PathBuf>,
    /// The judgments for them: the line of a query, the line of a document, both counted from 1, and a grade,
    /// separated by tabs.
    #[arg(long, help_heading = HEADING, requires = "query_texts", value_name = "QRELS.tsv")]
    qrels: Option<PathBuf>,
}

/// The vectors of a corpus.
pub(crate) struct Vectors {
    pub(crate) documents: Array2<f32>,
    pub(crate) queries: Option<Array2<f32>>,
}

impl ExistingVectors {
    /// Whether there are vectors of the documents.
    pub(crate) fn is_there(&self) -> bool {
        self.vectors.is_some()
    }

    /// Refuses settings that contradict each other, in a budget file as among arguments.
    pub(crate) fn check(&self, corpus: &str) -> Result<(), CliError> {
        let refuse = |what: &str| Err(CliError::new(what));
        if self.texts.is_some() && corpus != RECORDS {
            return refuse("texts and a corpus are named; name one of the two");
        }
        if self.query_vectors.is_some() && self.vectors.is_none() {
            return refuse("vectors of queries are named, but none of documents; name these too (--vectors)");
        }
        if self.query_texts.is_some() != self.qrels.is_some() {
            return refuse(
                "queries need judgements, and judgements queries; name both (--query-texts and --qrels)",
            );
        }
        let name = self.texts.as_deref().unwrap_or(corpus);
        if self.query_texts.is_some() && !Path::new(name).is_file() {
            return refuse(
                "queries of their own are for a text file of documents (--texts); this corpus has its own",
            );
        }
        if self.vectors.is_some() && name == RECORDS {
            return refuse(
                "vectors are named, but not whose; name the texts (--texts T.txt) or a BEIR folder (--corpus)",
            );
        }
        Ok(())
    }

    /// The corpus with queries and judgements, if they are named.
    pub(crate) fn judged(&self, corpus: Corpus) -> Result<Corpus, CliError> {
        match (&self.query_texts, &self.qrels) {
            (Some(queries), Some(judgements)) => Ok(corpus.with_judged_queries(queries, judgements)?),
            _ => Ok(corpus),
        }
    }

    /// Reads the vectors, if there are any.
    pub(crate) fn read(&self) -> Result<Option<Vectors>, CliError> {
        let Some(documents) = &self.vectors else { return Ok(None) };
        let queries = self.query_vectors.as_deref().map(files::read_npy).transpose()?;
        let documents = files::read_npy(documents)?;
        if let Some(queries) = queries.as_ref().filter(|queries| queries.ncols() != documents.ncols()) {
            return Err(CliError::new(format!(
                "the vectors of documents have {} dimensions, and those of queries {}",
                documents.ncols(),
                queries.ncols()
            )));
        }
        Ok(Some(Vectors { documents, queries }))
    }

    /// The same files, found by `find`: those of a budget are relative to its folder.
    pub(crate) fn found(self, find: impl Fn(&str) -> PathBuf) -> Self {
        let path = |path: Option<PathBuf>| path.map(|path| find(&path.to_string_lossy()));
        Self {
            vectors: path(self.vectors),
            query_vectors: path(self.query_vectors),
            texts: self.texts.map(|texts| find(&texts).display().to_string()),
            query_texts: path(self.query_texts),
            qrels: path(self.qrels),
        }
    }
}

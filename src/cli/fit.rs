use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ndarray::{Array2, ArrayView2, Axis};

use super::error::CliError;
use super::files::{self, Readers};
use super::loaded::Loaded;
use super::models::{self, Cache, Opening};
use super::protect::{keep_files_of, same_file};
use super::rehearsal;
use super::service::ServiceOptions;
use super::session::Session;
use super::terminal::Terminal;
use crate::defenses::check_finite;
use crate::evaluate::Corpus;
use crate::evaluate::records::{Split, generate};
use crate::{
    Defense as _, Error, Microaggregation, ProductQuantization, ProjectionFit, Quantization, Rng, Role, Stack,
};

/// How many records are taken if their number is not given, from a seed that evaluations do not use.
const RECORDS: usize = 10_000;
const SEED: u64 = 11;

/// Fit a defense to an embedder's vectors of a corpus, and write the file that a spec names.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Principal components, for `projection(fit=file:FILE)`.
    Projection(Projection),
    /// Centroids of subspaces, for `product_quantization(codebook=file:FILE)`.
    Codebook(Codebook),
    /// Groups of documents that share a vector, for `microaggregation(groups=file:FILE)`.
    Groups(Groups),
    /// A scale for each dimension, for `quantization(bits=B, scale=file:FILE)`.
    Scales(Scales),
}

/// Which vectors to fit on, and where the fit goes.
#[derive(Debug, clap::Args)]
struct Sample {
    /// The embedder: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face hub
    /// (owner/model), or an address (http(s)://host[:port]/v1#model).
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// The texts: `records` or `records:N` (built in, of the training split), a BEIR folder, or a text file with one
    /// passage per line. Use texts that may be known: a fit holds averages of their vectors.
    #[arg(long, default_value = "records", value_name = "C")]
    corpus: String,
    /// Vectors that exist already, in place of an embedder and texts: a .npy matrix of float32 with one vector per row.
    #[arg(long, conflicts_with_all = ["embedder", "corpus"], value_name = "VECTORS.npy")]
    from: Option<PathBuf>,
    /// A defense that comes before this one in the stack: the vectors go through it first.
    #[arg(long, value_name = "SPEC")]
    defense: Option<String>,
    /// Where the fit goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    address: ServiceOptions,
}

#[derive(Debug, clap::Args)]
struct Projection {
    #[command(flatten)]
    sample: Sample,
    /// How many components to keep: a spec may take fewer of them.
    #[arg(long, value_name = "N")]
    dims: usize,
    /// Divide each coordinate by its standard deviation, so that noise covers all of them equally.
    #[arg(long)]
    whiten: bool,
    /// The weight of the corpus's queries in the covariance, from 0 to 1. Default: documents only.
    #[arg(long, value_name = "W")]
    query_weight: Option<f64>,
}

#[derive(Debug, clap::Args)]
struct Codebook {
    #[command(flatten)]
    sample: Sample,
    /// How many subspaces a vector is cut into: a divisor of its dimension.
    #[arg(long, value_name = "N")]
    subspaces: usize,
    /// How many centroids each subspace has, from 1 to 256.
    #[arg(long, default_value_t = 256, value_name = "N")]
    centroids: usize,
    /// The seed from which the first centroids are drawn.
    #[arg(long, default_value_t = SEED, value_name = "S")]
    seed: u64,
}

#[derive(Debug, clap::Args)]
struct Scales {
    #[command(flatten)]
    sample: Sample,
    /// How many bits each coordinate is rounded to: 8, 4 or 1.
    #[arg(long, value_name = "B")]
    bits: u32,
    /// The share of a dimension's coordinates that its scale covers, above 0 and at most 1.
    #[arg(long, default_value_t = 0.999, value_name = "Q")]
    quantile: f64,
}

#[derive(Debug, clap::Args)]
struct Groups {
    #[command(flatten)]
    sample: Sample,
    /// How many documents a group has at least. --corpus or --from must be what is stored: its documents form the groups.
    #[arg(long, default_value_t = 4, value_name = "N")]
    k: usize,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    match &args.what {
        What::Projection(args) => args.fit(session)?,
        What::Codebook(args) => args.fit(session)?,
        What::Groups(args) => args.fit(session)?,
        What::Scales(args) => args.fit(session)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Projection {
    fn fit(&self, session: &Session) -> Result<(), CliError> {
        let Some(vectors) = self.sample.vectors(session, self.query_weight.is_some())? else { return Ok(()) };
        let mut fit = ProjectionFit::new(self.dims).whiten(self.whiten);
        if let (Some(weight), Some(queries)) = (self.query_weight, &vectors.queries) {
            fit = fit.queries(queries.view(), weight);
        }
        let fitted = fit.fit(vectors.documents.view())?;
        let kept: f32 = fitted.variances().unwrap_or_default().iter().sum();
        let share = f64::from(kept) / total_variance(vectors.documents.view());
        let bytes = fitted.to_bytes().ok_or_else(|| CliError::new("nothing was fitted"))?;
        let what = format!("{} components with {:.1} % of the variance", self.dims, 100.0 * share);
        self.sample.write(&bytes, &what, vectors.documents.nrows(), session.terminal)
    }
}

impl Codebook {
    fn fit(&self, session: &Session) -> Result<(), CliError> {
        let Some(Vectors { documents: vectors, .. }) = self.sample.vectors(session, false)? else {
            return Ok(());
        };
        let fitted = ProductQuantization::fit(vectors.view(), self.subspaces, self.centroids, self.seed)?;
        let what = format!("{} centroids for each of {} subspaces", self.centroids, self.subspaces);
        self.sample.write(&fitted.to_bytes(), &what, vectors.nrows(), session.terminal)
    }
}

impl Groups {
    fn fit(&self, session: &Session) -> Result<(), CliError> {
        let Some(Vectors { documents: vectors, .. }) = self.sample.vectors(session, false)? else {
            return Ok(());
        };
        let fitted = Microaggregation::fit(vectors.view(), self.k)?;
        let what = format!("{} groups of at least {} documents", fitted.size().1, self.k);
        self.sample.write(&fitted.to_bytes(), &what, vectors.nrows(), session.terminal)
    }
}

impl Scales {
    fn fit(&self, session: &Session) -> Result<(), CliError> {
        let Some(Vectors { documents: vectors, .. }) = self.sample.vectors(session, false)? else {
            return Ok(());
        };
        let fitted = Quantization::fit(self.bits, vectors.view(), self.quantile)?;
        let bytes = fitted.to_bytes().ok_or_else(|| CliError::new("nothing was fitted"))?;
        let what = format!("scales of {} dimensions for {} bits", vectors.ncols(), self.bits);
        self.sample.write(&bytes, &what, vectors.nrows(), session.terminal)
    }
}

/// The vectors of a corpus.
struct Vectors {
    documents: Array2<f32>,
    /// The queries' vectors, if they were asked for.
    queries: Option<Array2<f32>>,
}

impl Sample {
    /// Embeds the corpus, or reads vectors that exist; `None` in a dry run, which only says what would be sent.
    fn vectors(&self, session: &Session, with_queries: bool) -> Result<Option<Vectors>, CliError> {
        files::check_output(&self.output)?;
        if let Some(defense) = &self.defense {
            keep_files_of(defense, std::iter::once(&self.output), session)?;
        }
        let stack = self.defense.as_deref().map(|spec| session.names.stack(spec)).transpose()?;
        if let Some(from) = &self.from {
            return self.existing(from, stack.as_ref(), with_queries).map(Some);
        }
        let Texts { documents, queries } = self.texts()?;
        if with_queries && queries.is_empty() {
            return Err(CliError::new(format!(
                "{}: it has no queries to weight components by; name a BEIR folder, or leave out --query-weight",
                self.corpus
            )));
        }
        self.address.check(&[&self.embedder])?;
        let opening = Opening { services: &self.address, cache: &self.cache, terminal: session.terminal };
        let embedder = opening.embedder(&self.embedder)?;
        let embed = |role, texts: &[String]| -> Result<Array2<f32>, CliError> {
            let vectors = self.embed(&embedder, role, texts, session.terminal)?;
            match &stack {
                None => Ok(vectors),
                // made-up vectors, which no fitted or keyed part takes
                Some(_) if self.address.is_rehearsal() => Ok(vectors),
                Some(stack) => protect(stack, role, vectors),
            }
        };
        let documents = embed(Role::Document, &documents)?;
        let queries = with_queries.then(|| embed(Role::Query, &queries)).transpose()?;
        if self.address.is_rehearsal() {
            rehearsal::tell(&embedder)?;
            return Ok(None);
        }
        Ok(Some(Vectors { documents, queries }))
    }

    /// The vectors of a file, none of which is sent or embedded.
    fn existing(&self, from: &Path, stack: Option<&Stack>, with_queries: bool) -> Result<Vectors, CliError> {
        if with_queries {
            return Err(CliError::new(
                "--query-weight needs the queries of a corpus, and --from has documents alone; name a BEIR folder with \
                 --corpus, or leave out --query-weight",
            ));
        }
        if same_file(from, &self.output) {
            return Err(files::bad(&self.output, "the vectors would be overwritten; name another file"));
        }
        self.address.check(&[])?;
        let vectors = files::read_npy(from)?;
        check_finite(&vectors).map_err(|error| files::bad(from, error))?;
        let documents = match stack {
            Some(stack) => protect(stack, Role::Document, vectors)?,
            None => vectors,
        };
        Ok(Vectors { documents, queries: None })
    }

    fn texts(&self) -> Result<Texts, CliError> {
        if models::records(&self.corpus)?.is_some() {
            let count = self.corpus.strip_prefix("records:").and_then(|count| count.parse().ok());
            let records = generate(Split::Train, SEED).take(count.unwrap_or(RECORDS));
            return Ok(Texts { documents: records.map(|record| record.text).collect(), queries: Vec::new() });
        }
        let corpus = Corpus::load(&self.corpus, SEED)?;
        Ok(Texts { documents: corpus.texts().to_vec(), queries: corpus.queries().to_vec() })
    }

    fn embed(
        &self,
        embedder: &Loaded,
        role: Role,
        texts: &[String],
        terminal: Terminal,
    ) -> Result<Array2<f32>, CliError> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let bar = terminal.bar("embedding", texts.len());
        let vectors =
            self.cache.embeddings()?.embed(embedder, role, &texts, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(vectors)
    }

    fn write(&self, bytes: &[u8], what: &str, vectors: usize, terminal: Terminal) -> Result<(), CliError> {
        files::write_atomically(&self.output, Readers::Usual, |file| file.write_all(bytes))?;
        terminal.remark(&format!("{}: {what}, fitted on {vectors} vectors", self.output.display()));
        Ok(())
    }
}

struct Texts {
    documents: Vec<String>,
    queries: Vec<String>,
}

fn protect(stack: &Stack, role: Role, vectors: Array2<f32>) -> Result<Array2<f32>, CliError> {
    Ok(stack.protect_owned(role, vectors, &mut Rng::from_os()?).map_err(Error::from)?)
}

fn total_variance(vectors: ArrayView2<'_, f32>) -> f64 {
    vectors.axis_iter(Axis(1)).map(|column| f64::from(column.var(0.0))).sum()
}

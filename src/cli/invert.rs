use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use ndarray::{Array2, Axis};
use serde_json::json;

use super::error::CliError;
use super::loaded::Loaded;
use super::models::{self, Cache, Opening, Search};
use super::service::ServiceOptions;
use super::session::Session;
use super::settings::{NamedAttack, own_texts};
use super::terminal::{Terminal, print, warn};
use super::{embed, files, rehearsal};
use crate::Role;
use crate::attacks::guided::{LANGUAGE_TEXTS, OWN_TEXTS, QUERIES};
use crate::attacks::vec2text::Vec2Text;
use crate::attacks::{self, Attack, Inversion, OwnTexts, Resources};
use crate::embedder::{OracleOf, Volume};
use crate::evaluate::corpus::read_texts;
use crate::evaluate::english;
use crate::models::linear::Precision;
use crate::models::threads::threads;

/// How many vectors are attacked together, and then printed.
const BATCH: usize = 64;
/// The same for guided search, which takes seconds for each.
const GUIDED_BATCH: usize = 16;
/// The limit of `--batch-size auto`, in mebibytes.
const BOUND: usize = 1024;

/// Turn vectors back into text, with vec2text or guided search.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Args {
    /// An inverter's folder, its name on the hub (owner/model), or the name of a shipped attack: reference or minilm.
    /// Default: the shipped attack that was trained on the embedder, or otherwise minilm.
    #[arg(long, value_name = "DIR")]
    inverter: Option<String>,
    /// A corrector's folder, its name on the hub, or the name of a shipped one. A shipped inverter brings its own.
    #[arg(long, requires = "inverter", value_name = "DIR")]
    corrector: Option<String>,
    /// The attack, in place of an inverter and a corrector: guided (no trained model), auto (the shipped attack for the
    /// embedder if there is one, and guided search after it), a folder, the name of a shipped attack, or auto:FOLDER
    /// (the attack in the folder, and guided search after it).
    #[arg(long, conflicts_with_all = ["inverter", "corrector", "paper"], value_name = "A")]
    attack: Option<String>,
    /// The attacker's own texts, from which guided search learns words and language: a text file with one per line, a
    /// BEIR folder or `records[:N]`. Default: built-in English sentences.
    #[arg(long, requires = "attack", value_name = "C")]
    attacker_corpus: Option<String>,
    #[command(flatten)]
    cache: Cache,
    /// The embedder that the vectors are from: a sentence-transformers folder, its name on the hub, the shipped
    /// embedder, or an address (http(s)://host[:port]/v1#model).
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// Texts to embed and recover, one per line.
    #[arg(long, group = "source", value_name = "TEXTS.txt")]
    input: Option<PathBuf>,
    /// Vectors to recover texts from: a matrix of float32, one vector per row. If the embedder's vectors have norm 1,
    /// only directions count; a row of zeros has none, and is refused.
    #[arg(long, group = "source", value_name = "FILE.npy")]
    vectors: Option<PathBuf>,
    #[command(flatten)]
    search: Search,
    /// Run the paper's loop: every step is run, the last one counts, and there is no local search. The embedder reads
    /// as many tokens of a text as the inverter's `max_seq_length` says.
    #[arg(long)]
    paper: bool,
    /// How many hypotheses each thread decodes together. auto:MIB takes as many as fit into this much memory beside
    /// the weights; auto is short for auto:1024.
    #[arg(long, value_name = "N|auto[:MIB]", default_value = "16", value_parser = batch_size)]
    batch_size: BatchSize,
    /// How the models' weights are held: f32, bf16 (half the memory) or q8 (a quarter; 8 bits, with a scale for every
    /// 32 values).
    #[arg(long, default_value = "f32", value_name = "f32|bf16|q8")]
    weights: Precision,
    /// One JSON object per text, or only the recovered texts.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    #[command(flatten)]
    address: ServiceOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchSize {
    Hypotheses(usize),
    Mebibytes(usize),
}

fn batch_size(text: &str) -> Result<BatchSize, &'static str> {
    let number = |text: &str| text.parse().ok().filter(|number| (1..=1 << 20).contains(number));
    let size = match (text, text.strip_prefix("auto:")) {
        ("auto", _) => Some(BatchSize::Mebibytes(BOUND)),
        (_, Some(size)) => number(size).map(BatchSize::Mebibytes),
        _ => number(text).map(BatchSize::Hypotheses),
    };
    size.ok_or("a batch size is a whole number above 0, auto, or auto:MIB, such as auto:2000")
}

/// Sets the batch size that fits into `mebibytes`. Warns if none does.
fn within(attack: Vec2Text, mebibytes: usize) -> Vec2Text {
    let least = (attack.batch_memory() * threads()).div_ceil(1 << 20);
    if least > mebibytes {
        warn(&format!(
            "warning: even batches of one hypothesis may take {least} MiB on all threads, more than the \
             {mebibytes} MiB of --batch-size; a narrower --beam-width takes less"
        ));
    }
    attack.batch_size_within(mebibytes << 20)
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let terminal = session.terminal;
    let texts = args.input.as_ref().map(read_texts).transpose()?;
    if let (Some(path), Some([])) = (&args.input, texts.as_deref()) {
        return Err(files::bad(path, "it is empty; there is nothing to invert"));
    }
    let vectors = args.vectors.as_deref().map(files::read_npy).transpose()?;
    if let (Some(path), Some(0)) = (&args.vectors, vectors.as_ref().map(Array2::nrows)) {
        return Err(files::bad(path, "it has no rows; there is nothing to invert"));
    }
    if let (Some(path), Some(vectors)) = (&args.vectors, &vectors) {
        check(vectors).map_err(|error| files::bad(path, error))?;
    }
    let named =
        args.inverter.as_deref().map(|inverter| models::pair(inverter, args.corrector.as_deref(), terminal));
    let named = named.transpose()?;
    args.address.check(&[&args.embedder])?;
    let opening = Opening { services: &args.address, cache: &args.cache, terminal };
    let embedder = opening.embedder(&args.embedder)?;
    let stages = args.named_attack().stages(embedder.hash(), false);
    args.search.warn_of_idle(stages);
    let (vec2text, guides) = (vec2text(args, named, &embedder, terminal)?, stages.guided);
    let embedder = match &vec2text {
        Some(attack) if args.paper => embedder.max_length(attack.max_length())?,
        _ => embedder,
    };
    let vectors = match (vectors, &texts) {
        (Some(vectors), _) if embedder.is_normalized() => scaled(vectors, terminal),
        (Some(vectors), _) => vectors,
        (None, texts) => {
            embed::embed(&embedder, Role::Document, texts.as_deref().unwrap_or_default(), terminal)?
        }
    };
    let own = guides.then(|| own(args, &embedder, terminal)).transpose()?;
    if args.address.is_rehearsal() {
        rehearsal::tell(&embedder)?;
        let known = Volume::of(texts.as_deref().unwrap_or_default().iter().map(String::as_str), "");
        let most = (vectors.nrows(), args.named_attack().most_queries(stages), stages.most_words());
        rehearsal::tell_attack(&embedder, known, most)?;
        return Ok(ExitCode::SUCCESS);
    }
    let attack = models::searching(vec2text, guides, &args.search);
    let oracle = OracleOf(&embedder);
    let resources = own.iter().try_fold(Resources::new(&oracle), |resources, own| own.added_to(resources))?;
    let batch = if guides { GUIDED_BATCH } else { BATCH };
    invert(args.format, attack.as_ref(), &resources, texts.as_deref(), (&vectors, batch), terminal)
}

/// The trained models, if the named attack has any.
fn vec2text(
    args: &Args,
    named: Option<Vec2Text>,
    embedder: &Loaded,
    terminal: Terminal,
) -> Result<Option<Vec2Text>, CliError> {
    let attack = match (args.attack.as_deref(), named) {
        (Some(name), _) => match models::trained(name, embedder, terminal)? {
            Some((_, attack)) => attack,
            None => return Ok(None),
        },
        (None, Some(attack)) => attack,
        (None, None) => models::attack(models::usual_attack(embedder), terminal)?,
    };
    let attack = args.search.apply(attack).paper(args.paper).precision(args.weights)?;
    let attack = match args.batch_size {
        BatchSize::Hypotheses(count) => attack.batch_size(count),
        BatchSize::Mebibytes(size) => within(attack, size),
    };
    models::fit(&attack, embedder)?;
    Ok(Some(attack))
}

impl Args {
    /// The attack as evaluations name it; without a name, only trained models. It searches longer.
    fn named_attack(&self) -> NamedAttack {
        let model = self.attack.clone().or_else(|| Some("trained".into()));
        let queries = self.search.queries.or(Some(QUERIES));
        NamedAttack { model, search: Search { queries, ..self.search } }
    }
}

/// What the attacker learns from.
pub(crate) struct Own {
    pub(crate) texts: Vec<String>,
    /// Those of `texts`, row by row.
    pub(crate) vectors: Array2<f32>,
    /// Texts that are not embedded.
    pub(crate) language: Vec<String>,
}

impl Own {
    pub(crate) fn added_to<'a>(&'a self, resources: Resources<'a>) -> Result<Resources<'a>, attacks::Error> {
        let own = OwnTexts::new(&self.texts, self.vectors.view())?;
        Ok(resources.own_texts(own).language(&self.language))
    }
}

/// Leaves as many texts as guided search embeds, and returns those that teach it language alone.
pub(crate) fn split_language(texts: &mut Vec<String>) -> Vec<String> {
    let mut language = texts.split_off(OWN_TEXTS.min(texts.len()));
    language.truncate(LANGUAGE_TEXTS);
    language
}

/// Reads the attacker's own texts, and embeds as many as guided search asks for.
fn own(args: &Args, embedder: &Loaded, terminal: Terminal) -> Result<Own, CliError> {
    let mut texts = match &args.attacker_corpus {
        Some(name) => own_texts(name, 0)?.1,
        None => english(),
    };
    let language = split_language(&mut texts);
    let bar = terminal.bar("embedding the attacker's texts", texts.len());
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = args
        .cache
        .embeddings()?
        .embed(embedder, Role::Document, &all, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(Own { texts, vectors, language })
}

/// Refuses vectors that no text can have.
pub(crate) fn check(vectors: &Array2<f32>) -> Result<(), String> {
    crate::defenses::check_finite(vectors).map_err(|error| error.to_string())?;
    match vectors.rows().into_iter().position(|row| row.iter().all(|&value| value == 0.0)) {
        Some(row) => {
            Err(format!("row {row} is zero, so it has no direction to find a text by; leave the row out"))
        }
        None => Ok(()),
    }
}

/// Scales vectors to norm 1, like the embedder's: at another length, the models would read them as another direction.
/// Rows that have norm 1 up to rounding stay the same, bit for bit.
pub(crate) fn scaled(mut vectors: Array2<f32>, terminal: Terminal) -> Array2<f32> {
    let mut count = 0;
    for mut row in vectors.rows_mut() {
        let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if (norm - 1.0).abs() > 1e-5 {
            row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
            count += 1;
        }
    }
    if count > 0 {
        let rows = vectors.nrows();
        terminal.remark(&format!(
            "{count} of {rows} vectors were scaled to norm 1, which the embedder's vectors have"
        ));
    }
    vectors
}

/// Prints batch by batch, and ends early if nobody reads the output any longer.
fn invert(
    format: Format,
    attack: &dyn Attack,
    resources: &Resources<'_>,
    texts: Option<&[String]>,
    (vectors, batch): (&Array2<f32>, usize),
    terminal: Terminal,
) -> Result<ExitCode, CliError> {
    let bar = terminal.bar("inverting", vectors.nrows());
    let (mut helped, mut gain) = (0, 0.0);
    for (index, part) in vectors.axis_chunks_iter(Axis(0), batch).enumerate() {
        let inversions = attack.invert(part, resources)?;
        let text = |row: usize| texts.map(|texts| texts[index * batch + row].as_str());
        let lines: String =
            inversions.iter().enumerate().map(|(row, found)| line(format, text(row), found)).collect();
        helped += inversions.iter().filter(|found| found.local_gain > 0.0).count();
        gain += inversions.iter().map(|found| found.local_gain).sum::<f32>();
        bar.inc(inversions.len() as u64);
        if !bar.suspend(|| print(&lines))? {
            break;
        }
    }
    bar.finish_and_clear();
    if helped > 0 {
        let mean = gain / vectors.nrows() as f32;
        let texts = vectors.nrows();
        terminal.remark(&format!(
            "the local search brought {helped} of {texts} texts nearer; mean gain in cosine {mean:.4}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(format: Format, input: Option<&str>, found: &Inversion) -> String {
    let Inversion { steps, output, cosine, queries, local_gain } = found;
    match format {
        Format::Jsonl => {
            let object = json!({
                "input": input, "steps": steps, "output": output, "cosine": cosine, "queries": queries,
                "local_gain": local_gain,
            });
            format!("{object}\n")
        }
        Format::Text => format!("{}\n", output.replace(['\n', '\r'], " ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_direction_is_the_same_at_any_length() {
        let unit = array![[0.6_f32, -0.8, 0.0], [0.36, 0.48, 0.8]];
        assert_eq!(scaled(unit.clone(), Terminal::Quiet), unit, "bit for bit");
        for length in [1e-37_f32, 0.1, 2.0, 127.0, 3e38] {
            let far = scaled(&unit * length, Terminal::Quiet) - &unit;
            assert!(far.iter().all(|far| far.abs() < 2e-7), "{length}: {far}");
        }
    }

    #[test]
    fn rows_that_no_text_has_are_named() {
        assert!(check(&array![[1.0, 0.0], [-0.0, 0.0]]).unwrap_err().starts_with("row 1 is zero"));
        assert!(check(&array![[1.0, 0.0], [f32::NAN, 0.0]]).unwrap_err().contains("row 1"));
        check(&array![[1e-40, 0.0]]).unwrap();
    }
}

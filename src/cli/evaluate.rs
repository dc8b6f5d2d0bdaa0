use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use embosk::attacks::vec2text::Vec2Text;
use embosk::embedder::SentenceTransformer;
use embosk::evaluate::{Adversary, Corpus, Evaluation, Report};
use embosk::{GaussianNoise, Key, Quantization, Rng, Rotation, Stack};
use rand_chacha::rand_core::Rng as _;

use super::models::{self, Search};
use super::{CliError, files, print, progress, remark, table};

/// Measure what defenses do to the attack and to retrieval.
///
/// Exits with 3 where the attack does not work on undefended vectors, so that nothing can be concluded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A sentence-transformers folder.
    #[arg(long, default_value = "reference", value_name = "E")]
    embedder: String,
    /// The attack: a folder with an inverter and a corrector, the name of a shipped pair, or `none` to
    /// measure retrieval alone.
    #[arg(long, default_value = "minilm", value_name = "DIR")]
    attack: String,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file of one passage a
    /// line (attack only).
    #[arg(long, default_value = "records", value_name = "C")]
    corpus: String,
    /// A defense, such as "gaussian(sigma=0.01) | quantization(bits=8)"; may be given again. Without
    /// any: none, quantization, three levels of noise, and a rotation by a key drawn from the seed.
    #[arg(long, value_name = "SPEC")]
    defense: Vec<String>,
    /// What the attacker has: `naive`, `leaked(K)` (K real pairs), or `informed(N)` (the defense without
    /// its key, and N pairs that he makes himself); may be given again. Without any: naive, and
    /// leaked with twice as many pairs as dimensions.
    #[arg(long, value_name = "A")]
    adversary: Vec<Adversary>,
    /// How many documents are attacked.
    #[arg(long, default_value_t = 200, value_name = "N")]
    samples: usize,
    #[command(flatten)]
    search: Search,
    /// What records, samples, noise and intervals are drawn from.
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// A folder for run files of trec_eval: what each defense leaves to be found, 100 documents a query.
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the report goes instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Markdown,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stacks: Vec<Stack> = args.defense.iter().map(|spec| spec.parse()).collect::<Result<_, _>>()?;
    args.output.as_deref().map_or(Ok(()), files::check_output)?;
    let corpus = Corpus::load(&args.corpus, args.seed)?;
    let embedder = models::embedder(&args.embedder)?;
    let stacks = if stacks.is_empty() { default_stacks(args.seed, embedder.dimension())? } else { stacks };
    let attack = match args.attack.as_str() {
        "none" => None,
        name => Some(args.search.apply(models::attack(name)?)),
    };
    if let Some(attack) = &attack {
        models::fit(attack, &embedder)?;
    }
    let report = evaluate(args, corpus, embedder, attack, stacks)?;
    let text = render(&report, args.format)?;
    files::write_text(args.output.as_deref(), &text).inspect_err(|_| {
        // a quarter of an hour of work: better in the wrong place than nowhere
        if args.output.is_some() {
            let _ = print(&text);
        }
    })?;
    Ok(verdict(&report, args))
}

fn evaluate(
    args: &Args,
    corpus: Corpus,
    embedder: SentenceTransformer,
    attack: Option<Vec2Text>,
    stacks: Vec<Stack>,
) -> Result<Report, CliError> {
    let embedder = Arc::new(embedder);
    let normalizing = Arc::clone(&embedder);
    let spinner = progress::spinner();
    let shown = spinner.clone();
    let mut evaluation = Evaluation::new(Arc::clone(&embedder))
        .corpus(corpus)
        .samples(args.samples)
        .seed(args.seed)
        .normalizer(&embedder.normalizer_name(), move |text| normalizing.normalize(text))
        .note("embedder", embedder.to_string())
        .note("embedder_sha256", embedder.hash())
        .progress(move |message| shown.set_message(message.to_owned()));
    if let Some(folder) = &args.runs {
        evaluation = evaluation.runs(folder);
    }
    for stack in stacks {
        evaluation = evaluation.defense(stack);
    }
    for &adversary in &args.adversary {
        evaluation = evaluation.adversary(adversary);
    }
    if let Some(attack) = attack {
        evaluation = evaluation
            .note("attack_name", args.attack.as_str())
            .note("attack_sha256", attack.hash())
            .note("steps", args.search.steps)
            .note("beam_width", args.search.beam_width.get())
            .attack(attack);
    }
    let report = evaluation.run();
    spinner.finish_and_clear();
    Ok(report?)
}

/// What is measured where no defense is named. The rotation's key is for this evaluation only: anyone
/// can draw it from the seed again, so no vector under it is kept.
fn default_stacks(seed: u64, dimension: usize) -> Result<Vec<Stack>, CliError> {
    let mut key = [0; 32];
    Rng::seeded(seed).fill_bytes(&mut key);
    let mut stacks = vec![Stack::new(), Stack::new().with(Quantization::new(8)?)];
    for sigma in [0.01, 0.03, 0.1] {
        stacks.push(Stack::new().with(GaussianNoise::new(sigma)?));
    }
    stacks.push(Stack::new().with(Rotation::new(&Key::from_bytes(key), dimension)?));
    Ok(stacks)
}

fn render(report: &Report, format: Format) -> Result<String, CliError> {
    Ok(match format {
        Format::Table => table::terminal(report),
        Format::Json => report.to_json()? + "\n",
        Format::Csv => table::csv(report),
        Format::Markdown => table::markdown(report),
    })
}

/// The reason is in tables already; where it would be overlooked, it goes to stderr.
fn verdict(report: &Report, args: &Args) -> ExitCode {
    let Some(reason) = &report.reason else { return ExitCode::SUCCESS };
    if args.output.is_some() || matches!(args.format, Format::Json | Format::Csv) {
        remark(&format!("inconclusive: {reason}"));
    }
    ExitCode::from(3)
}

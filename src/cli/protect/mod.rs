use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use ndarray::Array2;

use super::error::CliError;
use super::files;
use super::session::Session;
use super::terminal::warn;
use crate::defenses::spec::Part;
use crate::partial::folder_of;
use crate::{Defense, Rng, Sealer, Stack};

/// A mean norm that is further from 1 than this counts as another unit.
const FAR: f32 = 0.1;

/// Protect a file of vectors with a defense.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The defense, such as "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)".
    #[arg(long, value_name = "SPEC")]
    defense: String,
    /// Whether the vectors are of documents, which are searched, or of queries.
    #[arg(long, value_enum)]
    role: RoleName,
    /// A file with the id of each vector, one per line. Keyed noise then depends on the id and not on the vector, so
    /// each id must belong to one text and version.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Where the sealed exact vectors go, for a defense that ends in `rerank`: a matrix of bytes, one row per vector,
    /// each sealed for its id (--ids).
    #[arg(long, value_name = "SEALED.npy")]
    sealed: Option<PathBuf>,
    /// The vectors: a matrix of float32, one vector per row.
    #[arg(value_name = "IN.npy")]
    input: PathBuf,
    /// Where the protected vectors go; not the input file.
    #[arg(value_name = "OUT.npy")]
    output: PathBuf,
}

/// The role of vectors, as it is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    Document,
    Query,
}

impl From<RoleName> for crate::Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Document => Self::Document,
            RoleName::Query => Self::Query,
        }
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stack = session.names.stack(&args.defense)?;
    check_files(args)?;
    let sealing = Sealing::of(args, &stack)?;
    for file in std::iter::once(&args.output).chain(&args.sealed) {
        files::check_output(file)?;
    }
    let spinner = session.terminal.spinner();
    let done = protect(args, (&stack, sealing.as_ref()), &|what| spinner.set_message(what));
    spinner.finish_and_clear();
    done.map(|()| ExitCode::SUCCESS)
}

/// Protects the vectors. Gigabytes take as long to read and write as to protect.
fn protect(
    args: &Args,
    (stack, sealing): (&Stack, Option<&Sealing<'_>>),
    say: &dyn Fn(&'static str),
) -> Result<(), CliError> {
    say("reading");
    let vectors = files::read_npy(&args.input)?;
    if vectors.is_empty() {
        return Err(files::bad(&args.input, "it has no rows; there is nothing to protect"));
    }
    let ids = args.ids.as_deref().map(|path| Ids::read(path, &args.input, vectors.nrows())).transpose()?;
    let role = args.role.into();
    if let Some(ids) = ids.as_ref().filter(|_| sealing.is_none()) {
        ids.warn_of(stack, role);
    }
    warn_of_norms(stack, &vectors);
    let sealed = match (sealing, &ids) {
        (Some(sealing), Some(ids)) => Some((sealing.file, sealing.seal(ids, &vectors)?)),
        _ => None,
    };
    say("protecting");
    let mut rng = Rng::from_os()?;
    let protected = match &ids {
        Some(ids) => stack.protect_owned_with_ids(role, &ids.lines(), vectors, &mut rng),
        None => stack.protect_owned(role, vectors, &mut rng),
    };
    let protected = protected.map_err(|error| files::bad(&args.input, error))?;
    say("writing");
    if let Some((file, sealed)) = sealed {
        files::write_bytes_npy(file, &sealed)?;
    }
    files::write_npy(&args.output, &protected)
}

/// Where the exact vectors of documents go, sealed beside the coarse ones.
struct Sealing<'a> {
    file: &'a Path,
    sealer: Sealer,
}

impl<'a> Sealing<'a> {
    /// `None` if nothing is to be sealed: the defense does not re-rank, or the vectors are queries, whose exact form
    /// stays with the application.
    fn of(args: &'a Args, stack: &Stack) -> Result<Option<Self>, CliError> {
        let missing = |what: &str| Err(CliError::new(format!("the defense ends in `rerank`, so {what}")));
        let seals = stack.reranking().is_some() && matches!(args.role, RoleName::Document);
        let sealer = stack.reranking().and_then(|rerank| rerank.sealer(stack));
        match (&args.sealed, &args.ids, sealer) {
            (Some(_), ..) if !seals => Err(CliError::new(
                "--sealed is for documents under a defense that ends in `rerank`; leave it out, or add \
                 `| rerank(candidates=200, key=file:KEY)` to the defense",
            )),
            _ if !seals => Ok(None),
            (None, ..) => missing("exact vectors are sealed: name a file for them with --sealed SEALED.npy"),
            (_, None, _) => missing("each exact vector is sealed for its id: give the ids with --ids FILE"),
            (.., None) => {
                missing("exact vectors are sealed: give it a key, `rerank(candidates=200, key=file:KEY)`")
            }
            (Some(file), Some(_), Some(sealer)) => Ok(Some(Self { file, sealer })),
        }
    }

    /// Seals the vectors, `[rows, bytes]`: sealed vectors of one dimension have one length.
    fn seal(&self, ids: &Ids<'_>, vectors: &Array2<f32>) -> Result<Array2<u8>, CliError> {
        ids.refuse_repeats()?;
        let rows = self.sealer.seal_vectors(&ids.lines(), vectors.view())?;
        let shape = (rows.len(), rows.first().map_or(0, Vec::len));
        Ok(Array2::from_shape_vec(shape, rows.concat())?)
    }
}

/// Warns if noise has another unit than the vectors: its strength is meant for rows of norm 1.
fn warn_of_norms(stack: &Stack, vectors: &Array2<f32>) {
    let spec = stack.spec();
    let noisy = |part: &&Part| ["gaussian", "dcpe"].contains(&part.name());
    let Some(part) = spec.parts().iter().find(noisy) else { return };
    let norms = vectors.rows().into_iter().map(|row| row.dot(&row).sqrt());
    let mean = norms.sum::<f32>() / vectors.nrows() as f32;
    if (mean - 1.0).abs() > FAR {
        warn(&format!(
            "warning: the vectors have a mean norm of {mean:.3}, and the strength of `{}` is meant for vectors of norm \
             1: it hides more of shorter vectors and less of longer ones; scale the vectors to norm 1, or the strength \
             by the norm",
            part.name()
        ));
    }
}

/// The ids of a file: one per line, none of them empty, and one for each vector.
struct Ids<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> Ids<'a> {
    fn read(path: &'a Path, vectors: &Path, rows: usize) -> Result<Self, CliError> {
        let bytes = fs::read(path).map_err(|error| files::unreadable(path, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let mut lines = error.as_bytes().split(|byte| *byte == b'\n');
            let at = lines.position(|line| str::from_utf8(line).is_err()).unwrap_or_default();
            files::bad(path, format!("line {} is not UTF-8", at + 1))
        })?;
        if let Some(at) = text.lines().position(str::is_empty) {
            return Err(files::bad(path, format!("line {} is empty; give each vector an id", at + 1)));
        }
        match text.lines().count() {
            count if count == rows => Ok(Self { path, text }),
            count => {
                let vectors = vectors.display();
                Err(files::bad(path, format!("it has {count} ids, but {vectors} has {rows} vectors")))
            }
        }
    }

    fn lines(&self) -> Vec<&[u8]> {
        self.text.lines().map(str::as_bytes).collect()
    }

    /// Refuses repeated ids: rows that are sealed for the same id could be swapped.
    fn refuse_repeats(&self) -> Result<(), CliError> {
        match self.repeated() {
            None => Ok(()),
            Some(at) => {
                let why =
                    format!("line {} repeats an id; sealed vectors need an id of their own each", at + 1);
                Err(files::bad(self.path, why))
            }
        }
    }

    /// The first line that repeats an id, counted from 0.
    fn repeated(&self) -> Option<usize> {
        let mut seen = HashSet::new();
        self.text.lines().position(|id| !seen.insert(id))
    }

    /// Warns if ids make no difference, or give two vectors the same noise.
    fn warn_of(&self, stack: &Stack, role: crate::Role) {
        if !stack.uses_ids(role) {
            let why = "no part of the defense has keyed noise on vectors of this role";
            return warn(&format!("warning: --ids makes no difference: {why}"));
        }
        if let Some(at) = self.repeated() {
            warn(&format!(
                "warning: {}: line {} repeats an id; vectors with one id get the same noise, so their difference is \
                 that of the clean vectors",
                self.path.display(),
                at + 1
            ));
        }
    }
}

/// Refuses to overwrite what is read, or what was just written.
fn check_files(args: &Args) -> Result<(), CliError> {
    let outputs = || std::iter::once(&args.output).chain(&args.sealed);
    for file in outputs() {
        if same_file(&args.input, file) {
            return Err(files::bad(file, "the clean vectors would be overwritten; name another file"));
        }
        if args.ids.iter().any(|ids| same_file(ids, file)) {
            return Err(files::bad(file, "the ids would be overwritten; name another file"));
        }
    }
    match &args.sealed {
        Some(sealed) if same_file(&args.output, sealed) => Err(files::bad(
            sealed,
            "the protected vectors and the sealed ones would be one file; name another for one of them",
        )),
        _ => Ok(()),
    }
}

/// Whether two paths lead to one file, which need not exist yet.
fn same_file(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let new = || Some(fs::canonicalize(folder_of(path)).ok()?.join(path.file_name()?));
        fs::canonicalize(path).ok().or_else(new)
    };
    matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

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
use crate::{Defense, Rng, Stack};

/// A mean norm that is further from 1 than this is another unit.
const FAR: f32 = 0.1;

/// Put a file of vectors through a defense.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The defense, such as "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)".
    #[arg(long, value_name = "SPEC")]
    defense: String,
    /// Whether the vectors are stored and searched, or search.
    #[arg(long, value_enum)]
    role: RoleName,
    /// A file with the id of each vector, one a line. Keyed noise then depends on the id and not on the vector, so
    /// that an id stands for one text and version.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// The vectors: a matrix of float32, one a row.
    #[arg(value_name = "IN.npy")]
    input: PathBuf,
    /// Where the protected vectors go; not where they come from.
    #[arg(value_name = "OUT.npy")]
    output: PathBuf,
}

/// What vectors are for, as it is written.
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
    if same_file(&args.input, &args.output) {
        return Err(files::bad(&args.output, "the clean vectors would be overwritten; name another file"));
    }
    files::check_output(&args.output)?;
    let spinner = session.terminal.spinner();
    let done = protect(args, &stack, &|what| spinner.set_message(what));
    spinner.finish_and_clear();
    done.map(|()| ExitCode::SUCCESS)
}

/// Gigabytes take as long to read and to write as to protect.
fn protect(args: &Args, stack: &Stack, say: &dyn Fn(&'static str)) -> Result<(), CliError> {
    say("reading");
    let mut vectors = files::read_npy(&args.input)?;
    if vectors.is_empty() {
        return Err(files::bad(&args.input, "it has no rows; there is nothing to protect"));
    }
    let ids = args.ids.as_deref().map(|path| Ids::read(path, &args.input, vectors.nrows())).transpose()?;
    let role = args.role.into();
    if let Some(ids) = &ids {
        ids.warn_of(stack, role);
    }
    warn_of_norms(stack, &vectors);
    say("protecting");
    let mut rng = Rng::from_os()?;
    let protected = match &ids {
        Some(ids) => stack.protect_with_ids(role, &ids.lines(), vectors.view_mut(), &mut rng),
        None => stack.protect(role, vectors.view_mut(), &mut rng),
    };
    protected.map_err(|error| files::bad(&args.input, error))?;
    say("writing");
    files::write_npy(&args.output, &vectors)
}

/// Says where noise is measured in another unit than the vectors: its strength is meant for rows of norm 1.
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

/// The ids of a file: one a line, none of them empty, as many as there are vectors.
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

    /// Says where ids make no difference, and where they give two vectors the same noise.
    fn warn_of(&self, stack: &Stack, role: crate::Role) {
        if !stack.uses_ids(role) {
            let why = "no part of the defense has keyed noise on vectors of this role";
            return warn(&format!("warning: --ids makes no difference: {why}"));
        }
        let mut seen = HashSet::new();
        if let Some(at) = self.text.lines().position(|id| !seen.insert(id)) {
            warn(&format!(
                "warning: {}: line {} repeats an id; vectors with one id get the same noise, so their difference is \
                 that of the clean vectors",
                self.path.display(),
                at + 1
            ));
        }
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

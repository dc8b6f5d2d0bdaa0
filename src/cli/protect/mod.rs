mod ids;
mod protecting;
mod sealing;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use self::ids::{Ids, Source};
use self::protecting::Protecting;
pub(super) use self::protecting::at_row;
use self::sealing::Sealing;
use super::error::CliError;
use super::files;
use super::session::Session;
use super::tables::{CodesKind, Table, is_standard, paths_beside};
use crate::defenses::OtherNorms;
use crate::partial::folder_of;

/// Protect a file of vectors with a defense: a .npy matrix, or a column of a table (.parquet, .arrow, .jsonl).
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
    #[arg(long, value_name = "FILE", conflicts_with = "id_column")]
    ids: Option<PathBuf>,
    /// The column or field of a table that holds the id of each vector, a string or an integer, as --ids otherwise.
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Where the sealed exact vectors of a .npy file go, for a defense that ends in `rerank`: a matrix of bytes, one row
    /// per vector, each sealed for its id (--ids). A table gets a column of them.
    #[arg(long, value_name = "SEALED.npy")]
    sealed: Option<PathBuf>,
    /// A column or field of texts of a table, to be sealed in its place, under its name and for the id of each row. For a
    /// defense that ends in `rerank`. It may be given several times.
    #[arg(long, value_name = "NAME")]
    seal_text: Vec<String>,
    /// Write packed codes in place of vectors, and OUT.json beside them, which says how to read them. The defense ends
    /// in the quantization that makes them.
    #[arg(long, value_enum, value_name = "KIND")]
    codes: Option<CodesKind>,
    /// What is done with vectors whose norm is not 1, if the strength of the defense is meant for norm 1, as that of noise
    /// is [default: warn].
    #[arg(long, value_enum)]
    norms: Option<NormsName>,
    #[command(flatten)]
    table: Table,
}

/// What is done with vectors of another norm than 1, as it is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum NormsName {
    /// Protect them as they are, and say at the end which norms there were.
    #[default]
    Warn,
    /// Refuse the file, with the first row of another norm.
    Refuse,
    /// Scale them to norm 1 before they are protected, and say how many.
    Normalize,
}

impl From<NormsName> for OtherNorms {
    fn from(norms: NormsName) -> Self {
        match norms {
            NormsName::Warn => Self::Accept,
            NormsName::Refuse => Self::Refuse,
            NormsName::Normalize => Self::Normalize,
        }
    }
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
    check_files(args, session)?;
    args.table.check(args.id_column.as_deref(), args.codes.is_some())?;
    if let Some(codes) = args.codes {
        codes.check(&stack)?;
    }
    if let Some(sealed) = &args.sealed {
        files::check_output(sealed)?;
    }
    let ids = args.ids.as_deref().map(Ids::read).transpose()?;
    let source = Source { input: &args.table.input, file: ids.as_ref(), column: args.id_column.as_deref() };
    let sealing = Sealing::of(args, &stack, source)?;
    let mut protecting = Protecting::new(args, &stack, sealing, source, session.terminal)?;
    args.table.change(args.id_column.as_deref(), args.sealed.as_deref(), &mut protecting, session)?;
    session.terminal.remark(&format!("fingerprint: {}", stack.fingerprint()));
    Ok(ExitCode::SUCCESS)
}

/// Refuses to overwrite what is read, or what was just written.
fn check_files(args: &Args, session: &Session) -> Result<(), CliError> {
    let (input, output) = (&args.table.input, &args.table.output);
    let beside: Vec<PathBuf> = args.codes.iter().flat_map(|_| paths_beside(output)).collect();
    let written = std::iter::once(output).chain(&args.sealed).chain(&beside);
    keep_files_of(&args.defense, written, session)?;
    for file in std::iter::once(output).chain(&args.sealed).chain(&beside) {
        if same_file(input, file) {
            return Err(files::bad(file, "the clean vectors would be overwritten; name another file"));
        }
        if args.ids.iter().any(|ids| same_file(ids, file)) {
            return Err(files::bad(file, "the ids would be overwritten; name another file"));
        }
    }
    match &args.sealed {
        Some(sealed) if std::iter::once(output).chain(&beside).any(|file| same_file(file, sealed)) => {
            Err(files::bad(
                sealed,
                "the protected vectors and the sealed ones would be one file; name another for one of them",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses to overwrite a key or a fit that a defense names: what is protected under a lost key is lost.
pub(super) fn keep_files_of<'a>(
    defense: &str,
    written: impl Iterator<Item = &'a PathBuf>,
    session: &Session,
) -> Result<(), CliError> {
    let spec = session.names.defenses.spec(defense)?;
    // a path that cannot be read is refused when the defense is built
    let named: Vec<_> = spec.values().filter_map(|value| value.path().ok().flatten()).collect();
    for file in written {
        if named.iter().any(|named| same_file(named, file)) {
            let why = "a key or a fit that the defense names would be overwritten; name another file";
            return Err(files::bad(file, why));
        }
    }
    Ok(())
}

/// Whether two paths lead to one file, which need not exist yet.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    if is_standard(a) || is_standard(b) {
        return false;
    }
    let place = |path: &Path| {
        let new = || Some(fs::canonicalize(folder_of(path)).ok()?.join(path.file_name()?));
        fs::canonicalize(path).ok().or_else(new)
    };
    matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

use std::path::Path;
use std::process::ExitCode;

use ndarray::Array2;

use super::error::CliError;
use super::files;
use super::protect::{at_row, keep_files_of, same_file};
use super::session::Session;
use super::tables::{Batch, Change, Changed, Seals, Table, bad};
use crate::defenses::Packing;
use crate::{Defense, Stack};

/// Undo rotations, permutations and scalings in a file of vectors, under their key.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The defense that protected the vectors, such as "rotation(key=env:EMBOSK_KEY)". Noise, quantization,
    /// projections and microaggregation cannot be undone.
    #[arg(long, value_name = "SPEC")]
    defense: String,
    #[command(flatten)]
    table: Table,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stack = session.names.stack(&args.defense)?;
    // no rows show whether there is an inverse
    stack.unprotect(Array2::zeros((0, 0)).view_mut())?;
    if same_file(&args.table.input, &args.table.output) {
        let why = "the protected vectors would be overwritten; name another file";
        return Err(files::bad(&args.table.output, why));
    }
    keep_files_of(&args.defense, std::iter::once(&args.table.output), session)?;
    args.table.check(None, false)?;
    args.table.change(None, None, &mut Unprotecting { input: &args.table.input, stack: &stack }, session)?;
    Ok(ExitCode::SUCCESS)
}

/// Undoes a defense in the vectors of a file.
struct Unprotecting<'a> {
    input: &'a Path,
    stack: &'a Stack,
}

impl Change for Unprotecting<'_> {
    fn change(&mut self, batch: Batch) -> Result<Changed, CliError> {
        let Batch { mut vectors, rows, .. } = batch;
        let done = self.stack.unprotect(vectors.view_mut());
        done.map(|()| Changed::Vectors(vectors)).map_err(|error| bad(self.input, at_row(error, &rows)))
    }

    fn finish(&mut self, _: usize) -> Result<(), CliError> {
        Ok(())
    }

    fn dimension(&self, input: usize) -> Result<usize, String> {
        Ok(input)
    }

    fn packing(&self) -> Option<Packing<'_>> {
        None
    }

    fn sealing(&mut self) -> Option<&mut dyn Seals> {
        None
    }

    fn fingerprint(&self) -> String {
        self.stack.fingerprint()
    }
}

//! What every verb works with besides its arguments.

use std::path::PathBuf;

use super::names::Names;
use super::terminal::Terminal;

/// One call of the command.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) names: Names,
    pub(crate) terminal: Terminal,
    /// The arguments as they were written, without the name of the program.
    pub(crate) words: Vec<String>,
    /// The file that holds the code, if it is not the executable.
    pub(crate) code: Option<PathBuf>,
}

//! What every verb works with besides its arguments.

use super::names::Names;
use super::terminal::Terminal;

/// One call of the command.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) names: Names,
    pub(crate) terminal: Terminal,
    /// The arguments as they were written, without the name of the program.
    pub(crate) words: Vec<String>,
}

//! Annotations, with which GitHub shows findings beside the limit in the budget file.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::budget_file::BudgetFile;
use crate::evaluate::{Outcome, Verdict};

/// A workflow command for each finding that does not pass. They go to stderr, which GitHub reads as well,
/// so that stdout stays what --format says.
pub(super) fn lines(verdict: &Verdict, file: &BudgetFile, path: &Path) -> String {
    let mut text = String::new();
    let path = property(&in_repository(path));
    if let Some(reason) = &verdict.reason {
        let _ = writeln!(text, "::error file={path},line=1,title=embosk gate::{}", data(reason));
    }
    for finding in verdict.open() {
        let line = file.line_of(finding);
        let title = match finding.outcome {
            Outcome::Inconclusive => "embosk gate%3A inconclusive",
            _ => "embosk gate%3A a limit is broken",
        };
        let _ =
            writeln!(text, "::error file={path},line={line},title={title}::{}", data(&finding.to_string()));
    }
    text
}

/// Returns the path from the repository's root, as GitHub requires.
fn in_repository(path: &Path) -> String {
    let root = env::var_os("GITHUB_WORKSPACE").and_then(|root| fs::canonicalize(root).ok());
    let whole = fs::canonicalize(path).ok();
    let inside = root.zip(whole).and_then(|(root, path)| path.strip_prefix(root).ok().map(Path::to_owned));
    inside.as_deref().unwrap_or(path).display().to_string()
}

/// Escapes text after the second `::`, as the runner unescapes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes text before it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_command_early() {
        assert_eq!(data("100 %\nnext: a, b"), "100 %25%0Anext: a, b");
        assert_eq!(property("a:b,c%"), "a%3Ab%2Cc%25");
    }
}

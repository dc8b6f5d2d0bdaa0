//! The pages of the manual, and what they are made of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page by its path from the root.
pub(crate) fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README and manual, with their paths from the root.
pub(crate) fn manual() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::from([(PathBuf::from("README.md"), page("README.md"))]);
    let mut folders = vec![root().join("docs"), root().join("src/manual")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root()).unwrap().to_owned(), text);
            }
        }
    }
    assert!(found.len() > 20, "{} pages", found.len());
    found
}

/// Also the pages for those who work on the project.
pub(crate) fn all() -> BTreeMap<PathBuf, String> {
    let mut found = manual();
    for name in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "SPEC.md"] {
        found.insert(PathBuf::from(name), page(name));
    }
    found
}

/// The blocks of code in a language, such as `sh` or `rust,no_run`.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(&format!("{language}\n"))).map(str::to_owned).collect()
}

/// The languages of a page's blocks.
pub(crate) fn languages(text: &str) -> Vec<&str> {
    text.split("```").skip(1).step_by(2).map(|block| block.lines().next().unwrap_or_default()).collect()
}

/// The text outside of code blocks and code spans.
fn prose(text: &str) -> String {
    let outside = text.split("```").step_by(2).collect::<String>();
    outside.split('`').step_by(2).collect()
}

/// What the links of a page name: `](TARGET)`.
pub(crate) fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The rows of all tables on a page below a heading that has these first columns.
pub(crate) fn rows(text: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let head = format!("| {} |", columns.join(" | "));
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let mut rows = Vec::new();
    for line in lines.by_ref().take_while(|line| line.starts_with('|')) {
        let cells = line.trim_matches('|').split(" | ");
        rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
    }
    assert!(!rows.is_empty(), "there is no table {head}");
    rows
}

/// The names in code spans.
pub(crate) fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

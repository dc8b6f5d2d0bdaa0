//! Links lead somewhere, every chapter is listed, and commands name verbs and options that exist.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::pages::{all, blocks, links, manual, page, root};

/// The README is read in a minute.
const LONGEST_README: usize = 9 * 1024;

/// The name of a heading in links, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(text: &str, name: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).any(|heading| heading == name)
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for (page, text) in &all() {
        for target in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, name) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let path = root().join(path);
            assert!(path.exists(), "{}: {target}", page.display());
            if !name.is_empty() {
                let linked = fs::read_to_string(&path).unwrap();
                assert!(has_anchor(&linked, name), "{}: {target}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked} links");
}

#[test]
fn every_chapter_is_listed() {
    let listed = links(&page("docs/SUMMARY.md"));
    let listed: Vec<PathBuf> =
        listed.iter().map(|link| fs::canonicalize(root().join("docs").join(link)).unwrap()).collect();
    for chapter in manual().into_keys().filter(|path| !path.ends_with("SUMMARY.md")) {
        assert!(listed.contains(&fs::canonicalize(root().join(&chapter)).unwrap()), "{}", chapter.display());
    }
}

#[test]
fn the_readme_is_short() {
    let length = page("README.md").len();
    assert!(length <= LONGEST_README, "{length} bytes");
}

/// The commands in the code blocks of a page, each on one line.
fn commands(text: &str) -> Vec<String> {
    let lines: Vec<String> = blocks(text, "sh").into_iter().map(|block| block.replace("\\\n", " ")).collect();
    let lines = lines.iter().flat_map(|block| block.lines());
    let commands =
        lines.filter_map(|line| line.strip_prefix("cargo ").unwrap_or(line).strip_prefix("embosk "));
    commands.map(str::to_owned).collect()
}

fn help(verb: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_embosk")).args(verb).arg("--help").output().unwrap();
    assert!(output.status.success(), "{verb:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Also in blocks that are not run.
#[test]
fn every_command_names_what_there_is() {
    let mut checked = 0;
    for (page, text) in all() {
        for command in commands(&text) {
            let mut words = command.split_whitespace();
            let verb = words.next().unwrap();
            let mut verbs = vec![verb];
            verbs.extend(
                words.next().filter(|word| ["train", "fit"].contains(&verb) && !word.starts_with('-')),
            );
            let help = help(&verbs);
            for option in command.split_whitespace().filter(|word| word.starts_with("--")) {
                let named = help.split(|c: char| c.is_whitespace() || c == ',' || c == '[' || c == ']');
                assert!(
                    named.into_iter().any(|word| word == option),
                    "{}: {command}: {option}",
                    page.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked} commands");
}

/// What a promise is tested by is there.
#[test]
fn files_that_are_named_exist() {
    for page in ["SECURITY.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let spans = text.split("```").step_by(2).flat_map(|part| part.split('`').skip(1).step_by(2));
        let is_path = |span: &&str| {
            let first = span.split('/').next().unwrap_or_default();
            let is_ours = [
                "scripts", "tests", "fuzz", ".ci", "src", "defenses", "models", "attacks", "examples", "docs",
            ];
            span.contains('/') && !span.contains(['<', ' ', '*', '{']) && is_ours.contains(&first)
        };
        // the folder of a model that is fetched
        let is_fetched = |path: &&str| path.starts_with("models/all-MiniLM-L6-v2");
        let is_missing = |path: &&str| !is_fetched(path) && !root().join(path).exists();
        let missing: Vec<&str> = spans.filter(is_path).filter(is_missing).collect();
        assert!(missing.is_empty(), "{page} names {missing:?}");
    }
}

//! README and manual: links lead somewhere, every chapter is listed, and commands name verbs and options that exist.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The README is read in a minute.
const LONGEST_README: usize = 9 * 1024;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, with their text.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("docs"), root().join("src/manual")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SPEC.md"] {
        found.insert(root().join(name), fs::read_to_string(root().join(name)).unwrap());
    }
    assert!(found.len() > 20, "{} pages", found.len());
    found
}

/// The text outside of code blocks and code spans.
fn prose(text: &str) -> String {
    let outside = text.split("```").step_by(2).collect::<String>();
    outside.split('`').step_by(2).collect()
}

/// What the links of a page name: `](TARGET)`.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

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
    let pages = pages();
    let mut checked = 0;
    for (page, text) in &pages {
        for target in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, name) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target}", page.display());
            if !name.is_empty() {
                let linked = fs::read_to_string(&path).unwrap();
                assert!(has_anchor(&linked, name), "{}: {target}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked} links");
}

#[test]
fn every_chapter_is_listed() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).iter().map(|link| root().join("docs").join(link)).collect();
    let chapters = pages().into_keys().filter(|path| path.starts_with(root().join("docs")));
    for chapter in chapters.filter(|path| !path.parent().unwrap().ends_with("decisions")) {
        assert!(chapter.ends_with("SUMMARY.md") || listed.contains(&chapter), "{}", chapter.display());
    }
}

#[test]
fn the_readme_is_short() {
    let length = fs::read(root().join("README.md")).unwrap().len();
    assert!(length <= LONGEST_README, "{length} bytes");
}

/// The commands in the code blocks of a page, each on one line.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
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

#[test]
fn every_command_names_what_there_is() {
    let mut checked = 0;
    for (page, text) in pages() {
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

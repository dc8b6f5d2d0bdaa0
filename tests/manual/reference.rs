//! The reference pages list what the code has, with its defaults.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use embosk::evaluate::{CONFIDENCE, GUESS_CANDIDATES, SAMPLES, TOLERANCES};
use embosk::{Key, Registry};
use serde_json::Value;
use tempfile::TempDir;

use super::pages::{blocks, page, root, rows, spans};

fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.key("K", &Key::from_bytes([7; 32]));
    registry
}

/// The names that an error lists: `known are a, b (of …)`, or serde's "expected one of `a`, `b`".
fn listed(message: &str) -> BTreeSet<String> {
    match message.split_once("known are ") {
        Some((_, rest)) => rest.split(" (of").next().unwrap().split(", ").map(str::to_owned).collect(),
        None => spans(message.split_once("expected").unwrap_or_else(|| panic!("{message}")).1)
            .into_iter()
            .collect(),
    }
}

#[test]
fn specs_lists_every_parameter() {
    let registry = registry();
    let rows = rows(&page("docs/reference/specs.md"), &["defense", "parameter", "value", "default"]);
    let mut written = BTreeSet::new();
    for row in &rows {
        assert!(
            written.insert((spans(&row[0]).remove(0), spans(&row[1]).remove(0))),
            "{row:?} is there twice"
        );
    }
    let mut known = BTreeSet::new();
    for name in registry.names() {
        let message = registry.parse(&format!("{name}(zzz=1)")).unwrap_err().to_string();
        known.extend(listed(&message).into_iter().map(|parameter| (name.to_owned(), parameter)));
    }
    assert_eq!(written, known);
}

/// Without files, which fits need: a part with what is required.
const LEAST: [(&str, &[(&str, &str)]); 7] = [
    ("gaussian", &[("sigma", "0.01")]),
    ("quantization", &[("bits", "8")]),
    ("rotation", &[("key", "env:K")]),
    ("permutation", &[("key", "env:K")]),
    ("scaling", &[("key", "env:K")]),
    ("dcpe", &[("key", "env:K"), ("beta", "1")]),
    ("rerank", &[("candidates", "200")]),
];

#[test]
fn specs_has_the_defaults_of_parameters() {
    let registry = registry();
    let spec = |name: &str, parameters: &[(&str, &str)]| {
        let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}"));
        format!("{name}({})", parameters.collect::<Vec<_>>().join(", "))
    };
    let rows = rows(&page("docs/reference/specs.md"), &["defense", "parameter", "value", "default"]);
    let mut checked = 0;
    for (name, least) in LEAST {
        let usual = registry.parse(&spec(name, least)).unwrap().to_string();
        for row in rows.iter().filter(|row| row[0] == format!("`{name}`")) {
            let parameter = spans(&row[1]).remove(0);
            let is_required = least.iter().any(|(name, _)| *name == parameter);
            assert_eq!(row[3] == "required", is_required, "{row:?}");
            if is_required {
                let rest: Vec<_> = least.iter().copied().filter(|(name, _)| *name != parameter).collect();
                registry.parse(&spec(name, &rest)).unwrap_err();
            } else if let [default] = spans(&row[3]).as_slice() {
                let given = [least, &[(parameter.as_str(), default.as_str())]].concat();
                assert_eq!(registry.parse(&spec(name, &given)).unwrap().to_string(), usual, "{row:?}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 15, "{checked} parameters");
}

#[test]
fn specs_has_the_grammar_of_the_code() {
    let page = blocks(&page("docs/reference/specs.md"), "text");
    for (file, mark, block) in
        [("defenses/src/spec.rs", "///", &page[0]), ("src/evaluate/sweep.rs", "//!", &page[1])]
    {
        let code: String = fs::read_to_string(root().join(file)).unwrap();
        let comment: String = code
            .lines()
            .filter_map(|line| line.strip_prefix(mark))
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        let block: String = block.lines().map(|line| format!("{}\n", line.trim_start())).collect();
        assert!(comment.contains(&block), "{file} has another grammar than:\n{block}");
    }
}

/// The program's code, without comments and tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "defenses/src", "attacks/src", "models/src"].map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap();
                let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((path, lines.map(|line| format!("{line}\n")).collect()));
            }
        }
    }
    found
}

#[test]
fn every_exit_code_is_listed() {
    let rows = rows(&page("docs/reference/environment.md"), &["exit code", "meaning", "commands"]);
    let mut found = BTreeSet::new();
    for (path, text) in sources() {
        for rest in text.split("ExitCode::from(").skip(1) {
            let Ok(code) = rest.split(')').next().unwrap().parse::<u8>() else { continue };
            let verb = path.file_stem().unwrap().to_str().unwrap();
            let is_listed = |row: &&Vec<String>| {
                row[0] == code.to_string()
                    && (row[2] == "all" || spans(&row[2]).iter().any(|span| span.starts_with(verb)))
            };
            assert!(rows.iter().any(|row| is_listed(&row)), "{} returns {code}", path.display());
            found.insert(code);
        }
    }
    let written: BTreeSet<u8> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    found.insert(0);
    assert_eq!(written, found);
}

#[test]
fn every_environment_variable_is_listed() {
    let page = page("docs/reference/environment.md");
    let written: BTreeSet<String> = spans(&page).into_iter().collect();
    let mut found = BTreeSet::new();
    for (path, text) in sources() {
        // what a build script has set for the compiler is not read when the program runs
        let text = text.replace("env!(\"", "env!(");
        let names = text.split('"').skip(1).step_by(2).filter(|name| {
            let is_name = name.len() > 6 && name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_');
            is_name
                && ["EMBOSK_", "HF_", "GITHUB_", "CANDLE_", "XDG_"]
                    .iter()
                    .any(|start| name.starts_with(start))
        });
        for name in names {
            assert!(written.contains(name), "{} reads {name}", path.display());
            found.insert(name.to_owned());
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    let scripts = fs::read_to_string(root().join("scripts/fetch-minilm")).unwrap();
    for name in written.iter().filter(|name| name.starts_with("EMBOSK_")) {
        assert!(found.contains(name) || scripts.contains(name), "nothing reads {name}");
    }
    let row = rows(&page, &["variable", "read by", "meaning", "default"]).remove(0);
    assert!(
        help("evaluate").contains(&format!("[env: {}=] [default: {}]", spans(&row[0])[0], spans(&row[3])[0]))
            || row[3] == "`.cache/embosk`"
    );
}

fn help(verb: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_embosk")).args([verb, "--help"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names that a budget may have in a table, by the error about one that it may not.
fn known_in_budget(folder: &Path, text: &str) -> BTreeSet<String> {
    fs::write(folder.join("budget.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_embosk"));
    let output = command.current_dir(folder).args(["gate", "--budget", "budget.toml"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("unknown field"), "{message}");
    listed(&message)
}

#[test]
fn every_name_of_a_budget_is_listed() {
    let page = page("docs/reference/budget.md");
    let folder = TempDir::new().unwrap();
    let of_tables: Vec<Vec<String>> = page
        .split("| name | value | default |")
        .skip(1)
        .flat_map(|part| rows(&format!("| name | value | default |{part}"), &["name", "value", "default"]))
        .collect();
    let names: BTreeSet<String> = of_tables.iter().map(|row| spans(&row[0]).remove(0)).collect();
    let known = known_in_budget(folder.path(), "zzz = 1");
    let of_attack = known_in_budget(folder.path(), "attack = { zzz = 1 }");
    for name in known.iter().filter(|name| !["existing", "address"].contains(&name.as_str())) {
        assert!(names.iter().any(|written| written.trim_matches(['[', ']']) == name), "{name} is missing");
    }
    for name in &of_attack {
        assert!(names.contains(name), "attack: {name} is missing");
    }
    for name in &names {
        let name = name.trim_matches(['[', ']']);
        assert!(known.contains(name) || of_attack.contains(name), "there is no {name}");
    }
    let written: BTreeSet<String> = spans(&page).into_iter().collect();
    for table in ["existing", "address"] {
        for name in known_in_budget(folder.path(), &format!("{table} = {{ zzz = 1 }}")) {
            assert!(written.contains(&name), "{table}: {name} is missing");
        }
    }
    let default = |name: &str| {
        let row = of_tables.iter().find(|row| row[0] == format!("`{name}`")).unwrap();
        spans(&row[2]).remove(0)
    };
    assert_eq!(default("samples"), SAMPLES.to_string());
    assert_eq!(default("guess_candidates"), GUESS_CANDIDATES.to_string());
    assert_eq!(default("confidence"), CONFIDENCE.to_string());
    for (metric, tolerance) in TOLERANCES {
        assert!(
            page.contains(&format!("`{metric}` {tolerance:?}")),
            "the tolerance of {metric} is {tolerance}"
        );
    }
    let help = help("evaluate");
    for name in ["steps", "beam_width", "local_queries", "queries", "seed", "corpus"] {
        let option = format!("      --{} <", name.replace('_', "-"));
        let text = help
            .split_once(&option)
            .unwrap_or_else(|| panic!("{option}"))
            .1
            .split("\n      --")
            .next()
            .unwrap();
        let default = default(name);
        assert!(text.contains(&format!("[default: {}]", default.trim_matches('"'))), "{name}: {text}");
    }
}

#[test]
fn every_field_of_a_report_is_listed() {
    let folder = TempDir::new().unwrap();
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_embosk"));
        let output = command.current_dir(folder.path()).args(line.split(' ')).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("keygen --output key");
    let attacked = run(
        "evaluate --corpus records:60 --samples 6 --steps 0 --beam-width 1 --local-queries 0 --adversary naive \
         --attacker-corpus records:200 --format json --defense gaussian(sigma=0.1,on=documents)|rerank(candidates=20) \
         --defense rotation(key=file:key)",
    );
    run("curve --attack none --corpus records:60 --defense quantization(bits=4..8) --output curve");
    let curve = fs::read_to_string(folder.path().join("curve/curve.json")).unwrap();
    let written: BTreeSet<String> = spans(&page("docs/reference/report.md")).into_iter().collect();
    let mut found = BTreeSet::new();
    for report in [attacked, curve] {
        let report: Value = serde_json::from_str(&report).unwrap();
        let rows = ["rows", "key_stolen"].into_iter().filter_map(|name| report[name].as_array());
        for of in std::iter::once(&report).chain(rows.flatten()) {
            found.extend(of.as_object().unwrap().keys().cloned());
        }
        found.extend(report["find"].as_object().into_iter().flat_map(|find| find.keys().cloned()));
    }
    let missing: Vec<&String> = found.difference(&written).collect();
    assert!(missing.is_empty() && found.len() > 45, "not listed: {missing:?}");
    // of the first columns of its tables, what no report has
    let text = page("docs/reference/report.md");
    let tables = text.split("| field | meaning |").skip(1);
    let fields = tables.flat_map(|part| rows(&format!("| field | meaning |{part}"), &["field", "meaning"]));
    let fields: BTreeSet<String> = fields.flat_map(|row| spans(&row[0])).collect();
    let unknown: Vec<&String> = fields.difference(&found).filter(|name| *name != "examples").collect();
    assert!(unknown.is_empty(), "no report has {unknown:?}");
}

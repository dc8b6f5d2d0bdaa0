use std::fs;

use super::source::Source;
use super::*;
use crate::cli::models::Search;
use crate::cli::names::AdversaryName;
use crate::cli::settings::NamedAttack;

fn read(text: &str) -> Result<BudgetFile, CliError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budget.toml");
    fs::write(&path, text).unwrap();
    fs::create_dir(folder.path().join("model")).unwrap();
    let key = crate::Key::from_bytes([7; 32]);
    let key_file = folder.path().join("a.key");
    fs::write(&key_file, key.to_text().as_str()).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    BudgetFile::read(&path, &Names::default())
}

#[test]
fn each_model_of_a_pair_is_looked_for_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("model")).unwrap();
    let path = &folder.path().join("budget.toml");
    let source = Source { path, text: "", names: &Names::default(), metrics: Vec::new() };
    let expected = format!("{}+owner/corrector", folder.path().join("model").display());
    assert_eq!(source.existing("model+owner/corrector"), expected);
    let model = folder.path().join("model");
    assert_eq!(source.existing("auto:model"), format!("auto:{}", model.display()));
    assert_eq!(source.existing("auto:minilm"), "auto:minilm");
}

#[test]
fn a_budget_is_read_with_its_paths_and_lines() {
    let file = read(
        "embedder = \"model\"\nsamples = 300\nadversaries = [\"naive\", \"leaked(768)\"]\n\
         [attack]\nlocal_queries = 0\n[canary]\nbleu = 90\n[limits]\nleak = 0.5\n\
         [[stack]]\ndefense = \"gaussian(sigma=0.1)\"\n[stack.limits]\nexact_match = 0.01\n\
         [[stack]]\ndefense = \"rotation(key=file:a.key) | gaussian(sigma=0.2)\"\n",
    )
    .unwrap();
    let EvaluationSettings { embedder, corpus, attack, .. } = &file.settings;
    let (search, stacks) = (attack.search, &file.resolved.stacks);
    let embedder = Path::new(embedder.as_deref().unwrap());
    assert!(embedder.ends_with("model") && embedder.is_absolute());
    assert_eq!((file.settings.samples(), search.local_queries, search.steps), (300, 0, 20));
    assert_eq!((corpus.as_str(), attack.model.as_deref()), ("records", None));
    let names: Vec<String> = stacks.iter().map(ToString::to_string).collect();
    assert!(names[1].starts_with("rotation(key=fingerprint:"), "{names:?}");
    let stack = Table::Stack("gaussian(sigma=0.1)".into());
    let line = |table: &Table, name: &str| {
        let here = file.lines.iter().find(|(other, metric, _)| other == table && metric.name == name);
        here.map(|(.., line)| *line)
    };
    assert_eq!((line(&stack, "exact_match"), line(&Table::Limits, "leak")), (Some(13), Some(9)));
    let limited: Vec<&str> = file.budget.limited().collect();
    assert_eq!(limited, ["leak", "exact_match"]);
}

#[test]
fn the_example_can_be_read() {
    let file = read(include_str!("../../../../examples/privacy-budget.toml")).unwrap();
    assert_eq!((file.settings.samples(), file.resolved.stacks.len()), (300, 3));
    let is_informed = |name: &AdversaryName| matches!(name, AdversaryName::One(it) if it.knows_the_defense());
    assert!(file.resolved.adversaries.iter().any(is_informed));
    assert!(file.budget.limited().any(|metric| metric == "leak"));
}

#[test]
fn a_budget_names_what_an_evaluation_does() {
    let rest = "[limits]\nndcg_drop = 0.1\n[[stack]]\ndefense = \"none\"\n";
    let file = read(&format!(
        "adversaries = [\"all\"]\nretrained = \"model\"\nsurrogate = \"model\"\n\
         attacker_corpus = \"own.txt\"\nattack = \"model\"\n{rest}"
    ));
    let file = file.unwrap();
    assert!(matches!(file.resolved.adversaries[..], [AdversaryName::All]));
    let EvaluationSettings { attack, attacker_corpus, retrained, surrogate, .. } = file.settings;
    let NamedAttack { model: attack, search } = attack;
    let own = attacker_corpus.unwrap();
    for (path, name) in [(attack.unwrap(), "model"), (own, "own.txt"), (retrained.unwrap(), "model")] {
        assert!(Path::new(&path).is_absolute() && path.ends_with(name), "{path}");
    }
    assert_eq!((surrogate.is_some(), search.steps), (true, Search::default().steps));
    let file = read(&format!("attack = \"none\"\n{rest}")).unwrap();
    assert_eq!((file.settings.attack.model.as_deref(), file.resolved.adversaries.len()), (Some("none"), 0));
    let file = read(
        "attack = \"none\"\nadversaries = [\"naive\"]\n[limits]\nguess = 0.1\n[[stack]]\ndefense = \"none\"\n",
    );
    assert!(file.unwrap().budget.limited().any(|metric| metric == "guess"));
    let file = read(&format!("attacker_corpus = \"records:9\"\n{rest}")).unwrap();
    assert_eq!(file.settings.attacker_corpus.as_deref(), Some("records:9"));
    let idle = read(&format!("attack = \"none\"\nattacker_corpus = \"records:9\"\n{rest}"));
    assert!(idle.unwrap_err().to_string().contains("an attacker's corpus is named, but no attack"));
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
    let stack = "[[stack]]\ndefense = \"none\"\n";
    let secret = "ab".repeat(32);
    for (text, line, part) in [
        (format!("sample = 3\n{stack}"), 1, "expected one of `embedder`, `attack`, `corpus`"),
        (format!("{stack}limit = 3\n"), 3, "expected `defense` or `limits`"),
        (format!("[limits]\nblue = 3\n{stack}"), 2, "as `blue`; there are exact_match, bleu, token_f1"),
        (format!("corpus = \"gone.txt\"\n[limits]\nbleu = 3\n{stack}"), 1, "gone.txt: there is no such file"),
        (
            format!("[limits]\nleak = \"0.5\"\n{stack}"),
            2,
            "`leak`: invalid type: string …, expected a number; write",
        ),
        (format!("[limits]\nbleu = \"{secret}\"\n{stack}"), 2, "invalid type: string …, expected a number"),
        (format!("[limits]\nbleu = 3\n\n{stack}defense = 3"), 6, "duplicate key"),
        ("[limits]\nbleu = 3\n[[stack]]\ndefense = \"gauss(1)\"".into(), 4, "unknown defense"),
        (
            format!("[limits]\nbleu = 3\n[[stack]]\ndefense = \"rotation(key={secret})\""),
            4,
            "a key does not belong in a spec",
        ),
        (
            format!("adversaries = [\n\"naive\",\n\"nobody\"]\n[limits]\nbleu = 3\n{stack}"),
            3,
            "no such adversary as `nobody`; there are naive",
        ),
        (format!("[attack]\nbeam_width = 0\n[limits]\nbleu = 3\n{stack}"), 2, "from 1 to 256"),
        (format!("[limits]\nbleu = 3\n{stack}{stack}"), 6, "twice"),
        ("[limits]\nbleu = 3\n".into(), 1, "no stack"),
        (format!("attack = \"none\"\n[limits]\nbleu = 3\n{stack}"), 3, "bleu is limited, but attack is"),
        (format!("attack = \"none\"\n[limits]\nguess = 0.5\n{stack}"), 3, "guess is limited, but attack is"),
        (
            format!("attack = \"none\"\nadversaries = [\"naive\"]\n[limits]\nword_leak = 0.5\n{stack}"),
            4,
            "word_leak is limited, but attack is",
        ),
        (format!("attack = 3\n[limits]\nbleu = 3\n{stack}"), 1, "expected an attack's name or a table"),
        (format!("attack = {{ step = 3 }}\n{stack}"), 1, "unknown field `step`, expected one of `model`"),
        (
            "[limits]\nbleu = 3\n[[stack]]\ndefense = \"gaussian(sigma=0.1..0.3/3)\"".into(),
            4,
            "only `embosk curve` takes ranges",
        ),
    ] {
        let message = read(&text).unwrap_err().to_string();
        assert!(message.contains(&format!("budget.toml, line {line}: ")), "{text}: {message}");
        assert!(message.contains(part) && !message.contains(&secret), "{text}: {message}");
    }
    for (text, part) in [
        (stack.to_owned(), "limits nothing"),
        (format!("[limits]\nbleu = 300\n{stack}"), "between 0 and 100"),
        (format!("[limits]\nbleu = nan\n{stack}"), "between 0 and 100"),
        (format!("confidence = 1\n[limits]\nbleu = 3\n{stack}"), "below 1"),
        (format!("[canary]\nleak = 1\n[limits]\nbleu = 3\n{stack}"), "no canary"),
        (format!("[canary]\nndcg_drop = 80\n[limits]\nbleu = 3\n{stack}"), "`ndcg_drop` is no canary"),
        (format!("[canary]\nbleu = 300\n[limits]\nbleu = 3\n{stack}"), "300 cannot be its canary"),
        (format!("[tolerance]\nbleu = -1\n[limits]\nbleu = 3\n{stack}"), "0 or more"),
    ] {
        let message = read(&text).unwrap_err().to_string();
        assert!(message.contains("budget.toml: ") && message.contains(part), "{text}: {message}");
    }
}

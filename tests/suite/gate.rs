//! Reports held against budgets: with an attack that needs no model, and once by the command with one.

use std::fmt;
use std::sync::Arc;

use embosk::evaluate::adversaries::{Adversary, Leaked, Naive};
use embosk::evaluate::metrics::Unit;
use embosk::evaluate::{Baseline, Budget, Corpus, Evaluation, Finding, FindingKind, Metric, Outcome, Report};
use embosk::{Defense, Embedder, Guarantee, Key, Rng, Role, Rotation, Stack};
use ndarray::ArrayViewMut2;

use crate::common::letters::letters;
use crate::common::lookup::Lookup;

const DIM: usize = 64;

/// Noise whose spec does not say how much: as if its code had been changed.
#[derive(Debug)]
struct Opaque(f64);

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("opaque")
    }
}

impl Defense for Opaque {
    fn protect(
        &self,
        role: Role,
        vectors: ArrayViewMut2<'_, f32>,
        rng: &mut Rng,
    ) -> Result<(), embosk::defenses::Error> {
        embosk::GaussianNoise::new(self.0)?.protect(role, vectors, rng)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }
}

fn evaluation(samples: usize) -> Evaluation<impl Embedder> {
    let corpus = Corpus::records(400, 1);
    let known = corpus.texts().to_vec();
    Evaluation::new(letters).corpus(corpus).attack(Lookup(known)).samples(samples).seed(3)
}

fn under(stack: Stack) -> Report {
    evaluation(60).defense(stack).adversary(Naive).run().unwrap()
}

fn noise(sigma: f64) -> Stack {
    Stack::new().with(embosk::GaussianNoise::new(sigma).unwrap())
}

fn limits(findings: &[Finding]) -> Vec<(&str, Outcome)> {
    let limits = findings.iter().filter(|finding| finding.kind == FindingKind::Limit);
    limits.map(|finding| (finding.metric.as_str(), finding.outcome)).collect()
}

#[test]
fn a_budget_is_kept_broken_or_undecided() {
    let quiet = under(noise(5.0));
    let verdict = quiet.check(&Budget::new().exact_match(0.3).bleu(60.0).token_f1(0.9).leak(0.7)).unwrap();
    assert!(verdict.passed(), "{verdict}");
    assert_eq!((verdict.findings[0].kind, verdict.findings.len()), (FindingKind::Canary, 5));
    assert!(
        verdict.findings.iter().all(|finding| finding.lower <= finding.value
            && finding.value <= finding.upper
            && finding.n == 60)
    );
    let loud = under(Stack::new());
    let verdict = loud.check(&Budget::new().exact_match(0.3).bleu(60.0).ndcg_drop(0.05)).unwrap();
    assert_eq!(verdict.outcome, Outcome::Fail);
    let (fail, pass) = (Outcome::Fail, Outcome::Pass);
    let expected = [("exact_match", fail), ("bleu", fail), ("ndcg_drop", pass)];
    assert_eq!(limits(&verdict.findings), expected);
    let verdict = quiet.check(&Budget::new().exact_match(0.03)).unwrap();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict}");
    let [_, finding] = verdict.findings.as_slice() else { panic!("{verdict}") };
    assert!(finding.lower <= 0.03 && finding.upper > 0.03);
    assert!(finding.needed > Some(60), "{finding}");
}

/// The number that it names does decide.
#[test]
fn as_many_texts_as_it_says_decide() {
    let budget = Budget::new().exact_match(0.03);
    let undecided = under(noise(20.0)).check(&budget).unwrap();
    let needed = undecided.findings[1].needed.unwrap();
    assert!((80..350).contains(&needed), "{undecided}");
    let report = evaluation(needed.div_ceil(10) * 11).defense(noise(20.0)).adversary(Naive);
    let verdict = report.run().unwrap().check(&budget).unwrap();
    assert_ne!(verdict.outcome, Outcome::Inconclusive, "{needed}: {verdict}");
}

#[test]
fn the_worst_adversary_counts() {
    let key = Key::from_bytes([7; 32]);
    let rotation = Stack::new().with(Rotation::new(&key, DIM).unwrap());
    let against = |adversaries: &[Arc<dyn Adversary>]| {
        let all = adversaries.iter().cloned().fold(evaluation(60), Evaluation::adversary);
        let budget = Budget::new().exact_match(0.4).accept_unmeasured_key(true);
        all.defense(rotation.clone()).run().unwrap().check(&budget).unwrap()
    };
    assert!(against(&[Arc::new(Naive)]).passed());
    let verdict = against(&[Arc::new(Naive), Arc::new(Leaked(200))]);
    assert_eq!(verdict.outcome, Outcome::Fail);
    assert_eq!(verdict.findings[1].adversary.as_deref(), Some("leaked(200)"));
    assert!(verdict.to_string().contains("over the limit of 0.4"), "{verdict}");
}

/// Never a pass: an attack that does not work keeps every limit.
#[test]
fn a_broken_attack_concludes_nothing() {
    let damaged = |known: Vec<String>| {
        evaluation(60).attack(Lookup(known)).defense(noise(5.0)).adversary(Naive).run().unwrap()
    };
    let budget = Budget::new().exact_match(0.5).bleu(90.0).leak(0.99).ndcg_drop(0.99);
    let nothing = damaged(vec!["nothing of the kind".into()]).check(&budget).unwrap();
    assert_eq!(nothing.outcome, Outcome::Inconclusive);
    let private = |finding: &&Finding| finding.unit == Unit::Texts;
    assert!(nothing.findings.iter().filter(private).all(|finding| finding.outcome != Outcome::Pass));
    assert!(nothing.reason.as_ref().unwrap().contains("too weak"), "{nothing}");
    // one that still works, but not as well as stated
    let half = damaged(Corpus::records(400, 1).texts()[..280].to_vec());
    assert!(half.check(&budget).unwrap().passed());
    let stated = budget.clone().canary("bleu", 95.0).canary("exact_match", 0.9);
    assert_eq!(half.check(&stated).unwrap().outcome, Outcome::Inconclusive);
    assert!(under(noise(5.0)).check(&stated).unwrap().passed());
}

#[test]
fn retrieval_is_held_to_its_undefended_self() {
    let report = evaluation(60).defense(noise(0.001)).defense(noise(0.5)).adversary(Naive).run().unwrap();
    let verdict = report.check(&Budget::new().ndcg_drop(0.1)).unwrap();
    let expected = [("ndcg_drop", Outcome::Pass), ("ndcg_drop", Outcome::Fail)];
    assert_eq!(limits(&verdict.findings), expected, "{verdict}");
    let own = Budget::new().ndcg_drop(0.1).limit_of("gaussian(sigma=0.5)", "ndcg_drop", 0.99);
    assert!(report.check(&own).unwrap().passed());
    let alone = Evaluation::new(letters).corpus(Corpus::records(400, 1)).defense(noise(0.001)).run().unwrap();
    assert!(alone.check(&Budget::new().ndcg_drop(0.1)).unwrap().passed());
}

#[test]
fn what_became_worse_since_the_baseline_fails() {
    let of = |sigma: f64| under(Stack::new().with(Opaque(sigma)));
    let before = of(2.0);
    let baseline = Baseline::from_json(&Baseline::of(&before).to_json()).unwrap();
    let budget = Budget::new().baseline(baseline.clone());
    assert!(before.check(&budget).unwrap().passed());
    let weaker = of(0.05).check(&budget).unwrap();
    assert_eq!(weaker.outcome, Outcome::Fail);
    let failed: Vec<&str> = weaker.open().map(|finding| finding.metric.as_str()).collect();
    assert_eq!(failed, ["bleu", "leak"]);
    let stronger = of(50.0).check(&budget).unwrap();
    assert!(stronger.open().all(|finding| finding.metric == "ndcg_drop"), "{stronger}");
    let lenient = budget.tolerance("bleu", 100.0).tolerance("leak", 1.5);
    assert!(of(0.05).check(&lenient).unwrap().passed());
}

/// Recovering less because the attack is damaged is no progress, and a few texts show no regression.
#[test]
fn a_baseline_needs_an_attack_that_works_and_enough_texts() {
    let stack = || Stack::new().with(Opaque(2.0));
    let baseline = |report: &Report| Budget::new().baseline(Baseline::of(report));
    let working = under(stack());
    let nothing = evaluation(60)
        .attack(Lookup(vec!["nothing of the kind".into(); 400]))
        .defense(stack())
        .adversary(Naive)
        .run()
        .unwrap();
    let verdict = nothing.check(&baseline(&working)).unwrap();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict}");
    assert!(verdict.reason.unwrap().contains("too weak"));
    let few = evaluation(29).defense(stack()).adversary(Naive).run().unwrap();
    let verdict = few.check(&baseline(&few)).unwrap();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict}");
    assert!(verdict.open().any(|finding| finding.needed == Some(30)), "{verdict}");
}

#[test]
fn a_baseline_of_something_else_is_refused() {
    let baseline = Baseline::of(&under(noise(5.0)));
    let text = baseline.to_json();
    assert!(!Corpus::records(400, 1).texts().iter().any(|known| text.contains(known)), "it holds a text");
    let budget = Budget::new().baseline(baseline);
    let refused = |report: Report| report.check(&budget).unwrap_err().to_string();
    let message = refused(under(noise(4.0)));
    assert!(message.contains("defenses ([\"gaussian(sigma=5)\"], now [\"gaussian(sigma=4)\"])"), "{message}");
    let noisy = |samples: usize| evaluation(samples).defense(noise(5.0)).adversary(Naive);
    let message = refused(noisy(61).run().unwrap());
    assert!(message.contains("samples (60, now 61)") && !message.contains("corpus"), "{message}");
    let message = refused(noisy(60).seed(4).corpus(Corpus::records(400, 2)).run().unwrap());
    assert!(message.contains("corpus_sha256") && message.contains("seed (3, now 4)"), "{message}");
    let message = refused(noisy(60).note("more", 1).run().unwrap());
    assert!(message.contains("more (not in the baseline)"), "{message}");
    for (damaged, part) in [
        (text.replace("\"format\": 1", "\"format\": 2"), "format is 2"),
        (text.replace("\"rows\"", "\"cows\""), "is damaged"),
        (text[..text.len() / 2].to_owned(), "is damaged"),
        (String::new(), "is damaged"),
    ] {
        let message = Baseline::from_json(&damaged).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let shorter = Baseline::from_json(&text.replacen("\"bleu\":[", "\"bleu\":[1.0,", 1)).unwrap();
    let message = under(noise(5.0)).check(&Budget::new().baseline(shorter)).unwrap_err().to_string();
    assert!(message.contains("no `bleu` of as many"), "{message}");
}

#[test]
fn what_cannot_be_held_to_is_refused() {
    let report = under(noise(5.0));
    let passages = Corpus::passages("mine", Corpus::records(400, 1).texts().to_vec());
    let unlabelled = evaluation(60).corpus(passages).adversary(Naive).run().unwrap();
    let alone = Evaluation::new(letters).corpus(Corpus::records(400, 1)).run().unwrap();
    for (report, budget, part) in [
        (&report, Budget::new(), "limits nothing"),
        (&report, Budget::new().exact_match(1.5), "`exact_match` lies between 0 and 1"),
        (&report, Budget::new().bleu(f64::NAN), "between 0 and 100"),
        (&report, Budget::new().bleu(3.0).confidence(1.0), "below 1"),
        (&report, Budget::new().bleu(3.0).canary("ndcg_drop", 0.1), "no canary"),
        (&report, Budget::new().bleu(3.0).tolerance("bleu", -1.0), "0 or more"),
        (&report, Budget::new().limit_of("none", "bleu", 1.0), "`none`, which was not measured"),
        (&unlabelled, Budget::new().entity_recall(0.5), "no labelled entities"),
        (&unlabelled, Budget::new().ndcg_drop(0.5), "no judged queries"),
        (&alone, Budget::new().bleu(0.5), "nothing was attacked"),
    ] {
        let message = report.check(&budget).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

/// Whenever it is checked: the scores text by text and query by query are kept with it.
#[test]
fn a_kept_report_has_the_verdict_of_the_original() {
    let report = evaluation(60)
        .defense(Stack::new())
        .defense(noise(5.0))
        .metric(Metric::mean("length_ratio", |pair| {
            Some((pair.output.len() as f64 / pair.truth.len() as f64).min(1.0))
        }))
        .adversary(Naive)
        .adversary(Leaked(100))
        .run()
        .unwrap();
    let kept = Report::from_json(&report.to_json_full().unwrap()).unwrap();
    let budget = Budget::new().exact_match(0.05).bleu(10.0).entity_recall(0.3).leak(0.1).ndcg_drop(0.5);
    let budget = budget.limit("length_ratio", 0.8).canary("exact_match", 0.9);
    let verdict = report.check(&budget).unwrap();
    assert_eq!(kept.check(&budget).unwrap(), verdict);
    assert!(verdict.findings.iter().any(|finding| finding.outcome == Outcome::Fail), "{verdict}");
    let baseline = Budget::new().baseline(Baseline::of(&report)).tolerance("length_ratio", 0.1);
    let verdict = kept.check(&baseline).unwrap();
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(Baseline::of(&kept), Baseline::of(&report));
    let printed = Report::from_json(&report.to_json().unwrap()).unwrap();
    let message = printed.check(&Budget::new().bleu(3.0)).unwrap_err().to_string();
    assert!(message.contains("no scores text by text"), "{message}");
    let message = report.check(&Budget::new().limit("no_such", 3.0)).unwrap_err().to_string();
    assert!(message.contains("there are exact_match, bleu") && message.contains("length_ratio"), "{message}");
}

/// A later version may measure more; the scores that both know are compared.
#[test]
fn a_baseline_without_a_newer_metric_is_compared() {
    let of = |metric: Option<Metric>| {
        let evaluation = evaluation(60).defense(noise(5.0)).adversary(Naive);
        metric.into_iter().fold(evaluation, Evaluation::metric).run().unwrap()
    };
    let newer = |rules: &str| Metric::share("longer", |pair| Some(pair.output > pair.truth)).signature(rules);
    let (before, after) = (of(None), of(Some(newer("by-letters"))));
    assert!(after.check(&Budget::new().baseline(Baseline::of(&before))).unwrap().passed());
    let budget = Budget::new().baseline(Baseline::of(&after));
    let message = of(Some(newer("by-words"))).check(&budget).unwrap_err().to_string();
    assert!(message.contains("other settings: metrics"), "{message}");
    let budget = Budget::new().baseline(Baseline::of(&before)).tolerance("longer", 0.1);
    let message = after.check(&budget).unwrap_err().to_string();
    assert!(message.contains("no `longer` of as many"), "{message}");
}

#[test]
fn equal_seeds_give_equal_verdicts() {
    let budget = Budget::new().exact_match(0.05).bleu(10.0).entity_recall(0.3).leak(0.1).ndcg_drop(0.5);
    let json = || serde_json::to_string(&under(noise(0.3)).check(&budget).unwrap()).unwrap();
    assert_eq!(json(), json());
}

/// The command, with the attack that comes with the project.
#[cfg(feature = "cli")]
mod command {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use embosk::evaluate::records::{Split, generate};
    use serde_json::Value;
    use tempfile::TempDir;

    use crate::common::command::embosk;

    /// `embosk gate` in `folder`, as on a developer's machine.
    fn gate(folder: &Path, arguments: &str) -> Command {
        let mut command = embosk(folder, &format!("gate {arguments}"));
        command.env("EMBOSK_CACHE", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    #[track_caller]
    fn exits(code: i32, mut command: Command) -> Output {
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{message}\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(!message.contains("panicked"), "{message}");
        output
    }

    fn budget(folder: &TempDir, name: &str, change: impl Fn(&str) -> String) {
        let text = r#"embedder = "reference"
corpus = "records:200"
adversaries = ["naive"]
samples = 24
attack = { steps = 2, beam_width = 1, local_queries = 0 }

[canary]
bleu = 40

[limits]
exact_match = 0.4
bleu = 40

[[stack]]
defense = "gaussian(sigma=0.3)"
"#;
        fs::write(folder.path().join(name), change(text)).unwrap();
    }

    #[test]
    fn a_gate_passes_fails_and_concludes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        budget(&folder, "privacy-budget.toml", str::to_owned);
        let exported = "--format json --output first.json --junit first.xml --baseline base.json";
        exits(2, gate(folder.path(), "--baseline base.json"));
        exits(0, gate(folder.path(), &format!("{exported} --update-baseline")));
        // the reference is what is measured where no embedder is named
        budget(&folder, "privacy-budget.toml", |text| {
            text.replace("embedder = \"reference\"", "# none is named")
        });
        exits(0, gate(folder.path(), "--format json --output second.json --junit second.xml"));
        assert_eq!((read("first.json"), read("first.xml")), (read("second.json"), read("second.xml")));
        let verdict: Value = serde_json::from_str(&read("first.json")).unwrap();
        assert_eq!(
            (&verdict["outcome"], &verdict["findings"][0]["kind"]),
            (&"pass".into(), &"canary".into())
        );
        assert_eq!(verdict["report"]["rows"][0]["n"], 24);
        assert_eq!(verdict["report"]["signature"]["attack_name"], "reference");

        // weakened on purpose: the limits, where GitHub shows them, and the baseline
        budget(&folder, "weak.toml", |text| text.replace("sigma=0.3", "sigma=0.001"));
        let mut weak = gate(folder.path(), "--budget weak.toml --junit weak.xml");
        weak.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", folder.path().join("summary.md"));
        let output = exits(1, weak);
        let messages = String::from_utf8(output.stderr).unwrap();
        let annotation = "::error file=weak.toml,line=12,title=embosk gate%3A a limit is broken::";
        assert!(messages.contains(annotation), "{messages}");
        assert!(String::from_utf8(output.stdout).unwrap().trim_end().ends_with("FAIL"));
        assert!(
            read("summary.md").starts_with("## embosk gate: fail") && read("summary.md").contains("| bleu ")
        );
        let xml = read("weak.xml");
        let count = |part: &str| xml.matches(part).count();
        assert_eq!([count("<testcase "), count("</testsuite>"), count("</testsuites>")], [3, 1, 1]);
        assert_eq!(count("<failure "), count("</failure>"));
        assert!(xml.contains("<testcase name=\"bleu at most 40\"") && xml.contains("type=\"fail\""), "{xml}");
        let output = exits(2, gate(folder.path(), "--budget weak.toml --baseline base.json"));
        assert!(String::from_utf8(output.stderr).unwrap().contains("defenses ("));

        // damaged: never a pass, and never a baseline
        damage(&folder.path().join("damaged"));
        budget(&folder, "damaged.toml", |text| text.replace("steps = 2", "model = \"damaged\", steps = 2"));
        let base = read("base.json");
        let arguments = "--budget damaged.toml --junit damaged.xml --baseline base.json --update-baseline";
        exits(3, gate(folder.path(), arguments));
        assert_eq!(read("base.json"), base);
        let damaged = read("damaged.xml");
        assert!(damaged.contains("<error ") && damaged.contains("type=\"inconclusive\""), "{damaged}");
    }

    /// Those who adapt to a defense attack where no adversary is named.
    #[test]
    fn the_usual_adversaries_adapt() {
        let folder = tempfile::tempdir().unwrap();
        let own: String = generate(Split::Train, 9).take(60).map(|record| record.text + "\n").collect();
        fs::write(folder.path().join("own.txt"), own).unwrap();
        budget(&folder, "budget.toml", |text| {
            text.replace("adversaries = [\"naive\"]", "attacker_corpus = \"own.txt\"")
        });
        let output = exits(0, gate(folder.path(), "--budget budget.toml --format json"));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        let adversaries = &verdict["report"]["signature"]["adversaries"];
        assert_eq!(*adversaries, serde_json::json!(["naive", "informed(60)", "leaked(176)"]));
        assert_eq!(verdict["report"]["signature"]["attacker_texts"], "own.txt:60");
    }

    /// The shipped attack with the numbers of its inverter in another order.
    fn damage(to: &Path) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks/models/reference");
        for part in ["inverter", "corrector"] {
            fs::create_dir_all(to.join(part)).unwrap();
            for file in fs::read_dir(from.join(part)).unwrap().map(|file| file.unwrap().path()) {
                fs::copy(&file, to.join(part).join(file.file_name().unwrap())).unwrap();
            }
            let path = to.join(part).join("model.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
            for (_, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__")
            {
                let end = |at: usize| start + tensor["data_offsets"][at].as_u64().unwrap() as usize;
                let numbers = &mut bytes[end(0)..end(1)];
                let size = if tensor["dtype"] == "I8" { 1 } else { 2 };
                let turned: Vec<u8> = numbers.rchunks_exact(size).flatten().copied().collect();
                numbers.copy_from_slice(&turned);
            }
            fs::write(path, bytes).unwrap();
        }
    }

    #[test]
    fn a_budget_that_cannot_be_run_exits_with_2() {
        let folder = tempfile::tempdir().unwrap();
        budget(&folder, "typo.toml", |text| text.replace("samples", "sample"));
        budget(&folder, "file.toml", |text| text.replace("records:200", "missing.txt"));
        budget(&folder, "retrieval.toml", |text| {
            fs::write(folder.path().join("texts.txt"), "one\ntwo\nthree\n").unwrap();
            text.replace("records:200", "texts.txt").replace("exact_match", "ndcg_drop")
        });
        budget(&folder, "attackless.toml", |text| text.replace("steps = 2", "model = \"none\", steps = 2"));
        fs::create_dir(folder.path().join("empty")).unwrap();
        budget(&folder, "embedder.toml", |text| text.replace("embedder = ", "embedder = 'empty' # "));
        budget(&folder, "attack.toml", |text| text.replace("steps = 2", "model = \"empty\", steps = 2"));
        let retrained = "adversaries = [\"retrained\"]\nretrained = \"empty\"";
        budget(&folder, "retrained.toml", |text| text.replace("adversaries = [\"naive\"]", retrained));
        budget(&folder, "idle.toml", |text| text.replace("samples", "retrained = \"empty\"\nsamples"));
        for (arguments, part) in [
            ("", "privacy-budget.toml: there is no such budget; write one with"),
            ("--budget embedder.toml", "empty/config.json: there is no such file"),
            ("--budget attack.toml", "empty: there is no folder `inverter` in it"),
            ("--budget retrained.toml", "empty: there is no folder `inverter` in it"),
            ("--budget idle.toml", "add the adversary `retrained`"),
            ("--budget typo.toml", "typo.toml, line 4: unknown field `sample`"),
            ("--budget file.toml", "missing.txt: "),
            ("--budget retrieval.toml", "limits ndcg_drop, but the corpus has no queries"),
            ("--budget attackless.toml", "attackless.toml, line 12: bleu is limited, but attack is"),
            ("--budget typo.toml --update-baseline", "--baseline"),
            ("--budget typo.toml --format xml", "xml"),
        ] {
            let output = exits(2, gate(folder.path(), arguments));
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(message.contains(part) && output.stdout.is_empty(), "{arguments}: {message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupt_leaves_no_files() {
        let folder = tempfile::tempdir().unwrap();
        budget(&folder, "budget.toml", |text| text.replace("samples = 24", "samples = 180"));
        let arguments =
            "--budget budget.toml --output out --junit out.xml --baseline base.json --update-baseline";
        let arguments = format!("{arguments} --verbose");
        let mut child = gate(folder.path(), &arguments).stderr(Stdio::piped()).spawn().unwrap();
        // it says what is finished, line by line: then it is in the midst of it
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(!said.is_empty() && child.try_wait().unwrap().is_none(), "{said}");
        // as Ctrl-C does; but that one a shell's background jobs ignore, and their children
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success() && !child.wait().unwrap().success());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

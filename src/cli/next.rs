//! What to run next if nothing can be concluded: whole commands, each with its expected time.

use super::models::{self, AUTO, REFERENCE};
use super::session::Session;
use super::settings::EvaluationSettings;
use super::terminal::duration;
use super::words::{command, quoted, with_option};
use crate::attacks::guided;
use crate::attacks::vec2text::SHIPPED;
use crate::evaluate::Advice;

/// The most steps to print: more than these help nobody.
const MOST: usize = 3;

/// For how many minutes an attack is trained further.
const MINUTES: usize = 30;

/// A guided search takes about this many times as long as a trained attack alone.
const TIMES_GUIDED: f64 = 3.0;

/// Stands for a file that only the user can name.
const FILE: &str = "FILE";

/// Stands for a folder in BEIR's format that only the user can name.
const FOLDER: &str = "BEIR-FOLDER";

/// The command that was given, from which the next ones are made.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    words: Vec<String>,
    settings: EvaluationSettings,
    /// The file that the settings are from, if they are not arguments.
    budget: Option<String>,
}

/// What the command has shown so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// How many texts it attacks; `None` until this is known.
    pub(crate) attacked: Option<usize>,
    /// Whether guided search attacks them.
    pub(crate) is_guided: bool,
    /// How many seconds it takes in all.
    pub(crate) whole: Option<f64>,
}

/// One thing to do.
struct Step {
    /// Why, or what else: `attack about 140 texts, which should decide`.
    what: String,
    commands: Vec<String>,
    seconds: Option<f64>,
}

impl Next {
    /// Follows a command whose arguments are the settings.
    pub(crate) fn new(session: &Session, settings: &EvaluationSettings) -> Self {
        Self { words: session.words.clone(), settings: settings.clone(), budget: None }
    }

    /// Follows a command that reads its settings from a budget.
    pub(crate) fn of_budget(session: &Session, settings: &EvaluationSettings, budget: &str) -> Self {
        Self { budget: Some(budget.to_owned()), ..Self::new(session, settings) }
    }

    /// What to do, the best first.
    pub(crate) fn lines(&self, advice: &[Advice], seen: Seen) -> String {
        let steps = advice.iter().filter_map(|advice| self.step(advice, seen)).take(MOST);
        steps.map(|step| step.line()).collect()
    }

    fn step(&self, advice: &Advice, Seen { attacked, is_guided, whole }: Seen) -> Option<Step> {
        let attacked = attacked.unwrap_or(self.settings.samples());
        // how long an attack would take is not known if none has run
        let is_first =
            self.settings.attack.is_none() && matches!(advice, Advice::GuidedSearch | Advice::FineTune);
        let whole = whole.filter(|_| !is_first);
        let times = |factor: f64| whole.map(|whole| whole * factor);
        let (what, commands, seconds) = match advice {
            // texts without a score count as samples; the same command says the same
            Advice::MoreSamples(needed) if *needed <= attacked => return None,
            Advice::MoreSamples(needed) => (
                format!("attack about {needed} texts, which should decide"),
                self.changed(&[("samples", &needed.to_string())]),
                times(*needed as f64 / attacked.max(1) as f64),
            ),
            Advice::MoreDocuments(needed) => (
                format!(
                    "use a corpus with at least {needed} different texts; attacking about that many should decide"
                ),
                self.changed(&[("corpus", FILE), ("samples", &needed.to_string())]),
                times(*needed as f64 / attacked.max(1) as f64),
            ),
            Advice::MoreQueries(needed) => (
                format!("use a corpus with about {needed} judged queries, which should decide"),
                self.changed(&[("corpus", FOLDER)]),
                times(1.0),
            ),
            Advice::AttackerTexts { there, wanted } => (
                format!(
                    "put up to {wanted} texts like the stored ones into {FILE}, one per line; the attacker has {there} now"
                ),
                self.changed(&[("attacker-corpus", FILE)]),
                times(1.0),
            ),
            Advice::AttackKey { pairs } => (
                "an adversary that tries to undo the key".into(),
                self.with_adversary(&format!("leaked({pairs})"), &[]),
                times(1.0),
            ),
            Advice::DocumentsToLeak { documents, pairs } => (
                format!(
                    "use a corpus with at least {documents} different texts, and an adversary that tries to undo the key"
                ),
                self.with_adversary(&format!("leaked({pairs})"), &[("corpus", FILE)]),
                times(1.0),
            ),
            Advice::GuidedSearch if is_guided => {
                let queries = self.settings.attack.queries();
                if queries >= guided::QUERIES {
                    return None;
                }
                (
                    "a longer guided search".into(),
                    self.changed(&[("queries", &guided::QUERIES.to_string())]),
                    times(guided::QUERIES as f64 / queries.max(1) as f64),
                )
            }
            Advice::GuidedSearch => {
                ("guided search".into(), self.changed(&[("attack", &self.guided())]), times(TIMES_GUIDED))
            }
            Advice::FineTune => {
                let minutes = MINUTES.to_string();
                let training = ["train", "attack", "--init", "auto", "--minutes", &minutes];
                (
                    format!(
                        "train an attack for texts of this kind; {} should contain a few thousand of them",
                        self.own_texts()
                    ),
                    [
                        vec![self.training(&training, "my-attack")],
                        self.changed(&[("attack", &models::guided_after("my-attack"))]),
                    ]
                    .concat(),
                    times(1.0).map(|whole| whole + 60.0 * MINUTES as f64),
                )
            }
            Advice::Retrain { .. } => (
                "an attack that is retrained for these defenses".into(),
                [vec![self.retraining()], self.changed(&[("retrained", "retrained")])].concat(),
                times(1.0).map(|whole| whole + 60.0 * MINUTES as f64),
            ),
        };
        Some(Step { what, commands, seconds })
    }

    /// The attack with guided search: after the user's own, or after the shipped one for the embedder.
    fn guided(&self) -> String {
        match self.settings.attack.model.as_deref() {
            Some(own) if !SHIPPED.contains(&own) && !self.settings.attack.is_none() => {
                models::guided_after(own)
            }
            _ => AUTO.to_owned(),
        }
    }

    /// The command with settings changed, or the changed settings for the budget and the unchanged command.
    fn changed(&self, settings: &[(&str, &str)]) -> Vec<String> {
        let Some(budget) = &self.budget else {
            let words = settings.iter().fold(self.words.clone(), |words, (setting, value)| {
                with_option(&words, &format!("--{setting}"), value)
            });
            return vec![command(words)];
        };
        let line = |&(setting, value): &(&str, &str)| {
            let value =
                if value.parse::<usize>().is_ok() { value.to_owned() } else { format!("\"{value}\"") };
            let setting = match setting {
                "attack" => "attack.model".to_owned(),
                "queries" => "attack.queries".to_owned(),
                setting => setting.replace('-', "_"),
            };
            format!("# in {budget}: {setting} = {value}")
        };
        settings.iter().map(line).chain([command(&self.words)]).collect()
    }

    /// The command with settings changed and one adversary more.
    fn with_adversary(&self, name: &str, settings: &[(&str, &str)]) -> Vec<String> {
        let mut lines = self.changed(settings);
        let Some(budget) = &self.budget else {
            return lines.into_iter().map(|line| format!("{line} --adversary {}", quoted(name))).collect();
        };
        lines.insert(0, format!("# in {budget}: add \"{name}\" to adversaries"));
        lines
    }

    /// The file of the attacker's own texts: not the attacked ones, on which no attack may be trained.
    fn own_texts(&self) -> &str {
        self.settings.attacker_corpus.as_deref().unwrap_or(FILE)
    }

    fn training(&self, words: &[&str], out: &str) -> String {
        let embedder =
            self.settings.surrogate.as_deref().or(self.settings.embedder_name()).unwrap_or(REFERENCE);
        let rest = ["--embedder", embedder, "--corpus", self.own_texts(), "--out", out];
        command(words.iter().chain(&rest))
    }

    fn retraining(&self) -> String {
        let minutes = MINUTES.to_string();
        let defenses = self.settings.defenses.iter().flat_map(|defense| ["--defense", defense]);
        let words: Vec<&str> =
            ["train", "attack", "--minutes", &minutes].into_iter().chain(defenses).collect();
        self.training(&words, "retrained")
    }
}

impl Step {
    fn line(&self) -> String {
        let time = self
            .seconds
            .filter(|seconds| *seconds >= 0.5)
            .map_or_else(String::new, |seconds| format!(", in about {}", duration(seconds)));
        format!(
            "next: {}{time}\n{}",
            self.what,
            self.commands.iter().map(|line| format!("  {line}\n")).collect::<String>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::NamedAttack;

    fn next(words: &str, attack: Option<&str>) -> Next {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let attack = NamedAttack { model: attack.map(str::to_owned), ..NamedAttack::default() };
        let settings = EvaluationSettings {
            attack,
            embedder: Some("e5".into()),
            samples: Some(20),
            ..EvaluationSettings::default()
        };
        Next { words, settings, budget: None }
    }

    fn within(seconds: f64) -> Seen {
        Seen { whole: Some(seconds), ..Seen::default() }
    }

    #[test]
    fn guided_search_follows_the_attack_that_was_named() {
        let lines = |attack, is_guided| {
            next("evaluate", attack).lines(&[Advice::GuidedSearch], Seen { is_guided, ..Seen::default() })
        };
        for (attack, advised) in [
            (None, "--attack auto\n"),
            (Some("reference"), "--attack auto\n"),
            (Some("mine"), "--attack auto:mine\n"),
            (Some("owner/inverter+owner/corrector"), "--attack auto:owner/inverter+owner/corrector\n"),
        ] {
            assert!(lines(attack, false).ends_with(advised), "{}", lines(attack, false));
            assert!(!lines(attack, false).contains("in about"), "{}", lines(attack, false));
            // on records, too, if no attack is shipped for the embedder
            assert!(
                lines(attack, true).ends_with("embosk evaluate --queries 1500\n"),
                "{}",
                lines(attack, true)
            );
        }
    }

    #[test]
    fn a_first_attack_takes_unknown_time() {
        let seen = Seen { attacked: Some(3), ..within(2.0) };
        let advice = [Advice::MoreDocuments(5), Advice::GuidedSearch];
        let lines = next("evaluate --corpus three.txt --attack none", Some("none")).lines(&advice, seen);
        let expected = "next: use a corpus with at least 5 different texts; attacking about that many should \
                        decide, in about 3 s\n  embosk evaluate --corpus FILE --attack none --samples 5\nnext: \
                        guided search\n  embosk evaluate --corpus three.txt --attack auto\n";
        assert_eq!(lines, expected);
        let at_once = next("evaluate", None).lines(&[Advice::GuidedSearch], within(0.1));
        assert!(!at_once.contains("in about"), "{at_once}");
    }

    #[test]
    fn an_adversary_is_given_what_it_needs() {
        let next = next("gate", Some("minilm"));
        let advice = [Advice::DocumentsToLeak { documents: 90, pairs: 64 }];
        let lines = next.lines(&advice, Seen::default());
        assert!(lines.ends_with("  embosk gate --corpus FILE --adversary 'leaked(64)'\n"), "{lines}");
        let of_budget = Next { budget: Some("b.toml".into()), ..next };
        let lines = of_budget.lines(&advice, Seen::default());
        let expected = "  # in b.toml: add \"leaked(64)\" to adversaries\n  # in b.toml: corpus = \"FILE\"\n  embosk gate\n";
        assert!(lines.contains("at least 90 different texts") && lines.ends_with(expected), "{lines}");
    }

    #[test]
    fn each_advice_is_a_whole_command_with_its_time() {
        let advice = [
            Advice::MoreSamples(140),
            Advice::AttackerTexts { there: 380, wanted: 10_000 },
            Advice::GuidedSearch,
            Advice::FineTune,
        ];
        let given = "evaluate --corpus mine.txt --samples 20 --attack minilm";
        let lines = next(given, Some("minilm")).lines(&advice, within(60.0));
        for part in [
            "next: attack about 140 texts, which should decide, in about 7 min\n  embosk evaluate --corpus mine.txt --samples 140 --attack minilm\n",
            "in about 60 s\n  embosk evaluate --corpus mine.txt --samples 20 --attack minilm --attacker-corpus FILE\n",
            "in about 3 min\n  embosk evaluate --corpus mine.txt --samples 20 --attack auto\n",
        ] {
            assert!(lines.contains(part), "{lines}");
        }
        let fewer =
            next(given, Some("minilm")).lines(&advice[..1], Seen { attacked: Some(10), ..within(60.0) });
        assert!(fewer.contains("which should decide, in about 14 min"), "{fewer}");
        let guided = Seen { is_guided: true, ..within(60.0) };
        let lines = next("evaluate --embedder e5", Some("auto")).lines(&advice[2..], guided);
        let expected =
            "next: a longer guided search, in about 5 min\n  embosk evaluate --embedder e5 --queries 1500\n";
        assert!(lines.starts_with(expected), "{lines}");
        let lines = next("evaluate --embedder e5", Some("auto")).lines(&advice[3..], Seen::default());
        let expected = "next: train an attack for texts of this kind; FILE should contain a few thousand of them\n  embosk train attack --init auto \
                        --minutes 30 --embedder e5 --corpus FILE --out my-attack\n  embosk evaluate --embedder e5 --attack \
                        auto:my-attack\n";
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_corpus_that_is_too_small_is_to_be_exchanged() {
        let next = next("gate", Some("minilm"));
        let given = Next { words: vec!["evaluate".into(), "--corpus=mine.txt".into()], ..next.clone() };
        let lines = given.lines(&[Advice::MoreDocuments(900), Advice::MoreQueries(286)], within(60.0));
        assert!(lines.contains("judged queries, which should decide, in about 60 s\n"), "{lines}");
        assert!(lines.contains("  embosk evaluate --corpus=FILE --samples 900\n"), "{lines}");
        assert!(lines.contains("  embosk evaluate --corpus=BEIR-FOLDER\n"), "{lines}");
        let of_budget = Next { budget: Some("b.toml".into()), ..next };
        let lines = of_budget.lines(&[Advice::MoreDocuments(900)], Seen::default());
        assert!(
            lines
                .ends_with("  # in b.toml: corpus = \"FILE\"\n  # in b.toml: samples = 900\n  embosk gate\n"),
            "{lines}"
        );
    }

    #[test]
    fn a_budget_is_changed_in_its_file() {
        let next = Next { budget: Some("privacy-budget.toml".into()), ..next("gate", Some("minilm")) };
        let lines = next.lines(&[Advice::MoreSamples(300), Advice::GuidedSearch], Seen::default());
        let expected = "next: attack about 300 texts, which should decide\n  # in privacy-budget.toml: samples = 300\n  embosk gate\nnext: guided \
                        search\n  # in privacy-budget.toml: attack.model = \"auto\"\n  embosk gate\n";
        assert_eq!(lines, expected);
    }
}

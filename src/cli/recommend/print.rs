//! What was found, as text or JSON: the defense, its costs, its leaks, and what to run next.

use std::fmt::Write;

use serde_json::{Value, json};

use super::search::{Setting, Tried};
use super::{Args, Finder, Threat};
use crate::cli::error::CliError;
use crate::cli::settings::EvaluationSettings;
use crate::cli::table::long;
use crate::cli::words::{command, quoted, with_option, without_option};
use crate::evaluate::metrics::Direction;
use crate::evaluate::statistics::Score;
use crate::evaluate::{Metric, Report, Row, keys};

/// The metric of retrieval that is kept.
const NDCG: &str = "ndcg_at_10";

/// Where the next commands keep the key.
const KEY: &str = "embosk.key";

/// The options of a search that an evaluation does not have.
const OWN: [&str; 7] = ["--limit", "--keep", "--candidates", "--dims", "--threat", "--output", "--format"];
const RESUME: &str = "--resume";

/// A search that has ended.
pub(super) struct Found<'a> {
    pub(super) args: &'a Args,
    /// The arguments of the search.
    pub(super) words: &'a [String],
    pub(super) settings: &'a EvaluationSettings,
    pub(super) report: &'a Report,
    pub(super) finder: &'a Finder,
    pub(super) best: Option<Tried>,
}

impl Found<'_> {
    pub(super) fn text(&self) -> String {
        let mut text = self.tried();
        let Some(best) = self.best else {
            let limits = self.finder.limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                text,
                "\nNo setting keeps {limits} and {} of the undefended nDCG@10 with {} candidates. Allow more with \
                 --candidates, raise the limit, or lower --keep.",
                self.args.keep, self.args.candidates
            );
            return text;
        };
        let rows = self.rows(best.setting);
        let _ = writeln!(text, "\nrecommended: {}", self.spec(best));
        let _ = writeln!(text, "threat:      {}", self.threat());
        text += &self.costs(&rows);
        text += &self.leaks(&rows);
        let _ = write!(text, "next:\n{}", self.next(best));
        text
    }

    pub(super) fn json(&self) -> Result<String, CliError> {
        let tried = self.finder.tried(&self.report.rows);
        let tried: Vec<Value> = tried
            .into_iter()
            .map(|tried| {
                json!({
                    "defense": self.spec(tried),
                    "dims": tried.setting.dims,
                    "sigma": tried.setting.sigma(),
                    "rotated": tried.setting.rotated,
                    "candidates": tried.candidates,
                    "within_limits": tried.keeps,
                    "rows": self.rows(tried.setting),
                })
            })
            .collect();
        let result = json!({
            "signature": self.report.signature,
            "limits": self.finder.limits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "keep": self.args.keep,
            "threat": self.threat(),
            "recommended": self.best.map(|best| self.spec(best)),
            "rows": self.best.map(|best| self.rows(best.setting)),
            "undefended_ndcg_at_10": self.undefended(),
            "warnings": self.report.warnings,
            "key_stolen": self.report.key_stolen.first(),
            "next": self.best.map(|best| self.commands(best)),
            "tried": tried,
        });
        Ok(serde_json::to_string_pretty(&result)? + "\n")
    }

    /// A line for each setting that was attacked.
    fn tried(&self) -> String {
        let mut text = format!("{} settings were attacked:\n", self.finder.measured.len());
        for tried in self.finder.tried(&self.report.rows) {
            let rows = self.rows(tried.setting);
            let worst = self.finder.limits.iter().filter_map(|limit| {
                let (row, score) = limit.worst(&rows)?;
                Some(format!("{} {} ({})", limit.metric().heading, long(Some(score), 2), row.adversary))
            });
            let _ = writeln!(
                text,
                "  {} {}: {}{}",
                if tried.keeps { "+" } else { "-" },
                self.spec(tried),
                worst.collect::<Vec<_>>().join(", "),
                if keys::is_unattacked(&rows) { "; not decided, as nobody attacks its key" } else { "" }
            );
        }
        text
    }

    fn costs(&self, rows: &[&Row]) -> String {
        let Some(row) = rows.first() else { return String::new() };
        let (kept, undefended) = (row.score(NDCG), self.undefended());
        let mut text = format!("search:      nDCG@10 {}", long(kept, 3));
        if let (Some(kept), Some(undefended)) = (kept, undefended) {
            let _ = write!(text, " of {undefended:.3} undefended ({:.2})", kept.value / undefended);
        }
        let recall = long(row.score("first_stage_recall"), 3);
        let _ = writeln!(text, "; the candidates hold {recall} of the relevant documents");
        if let Some(cost) = row.reranked {
            let _ = writeln!(
                text,
                "costs:       {} candidates and {} bytes a query; {} bytes more a stored row",
                cost.candidates, cost.query_bytes, cost.row_bytes
            );
        }
        text
    }

    /// Each metric that was measured of an attacker, by the worst adversary.
    fn leaks(&self, rows: &[&Row]) -> String {
        let mut text = String::new();
        let leaks = |metric: &&Metric| metric.direction() == Direction::MoreLeaks;
        for metric in self.report.metrics.iter().filter(leaks) {
            let Some((row, score)) = worst(rows, &metric.name) else { continue };
            let head = if text.is_empty() { "leaks:" } else { "" };
            let stolen = self.report.key_stolen.first().and_then(|row| row.score(&metric.name));
            let stolen = stolen.map_or(String::new(), |score| {
                format!("; with the key stolen {}", long(Some(score), metric.digits))
            });
            let score = long(Some(score), metric.digits);
            let _ = writeln!(text, "{head:12} {} {score} ({}){stolen}", metric.title, row.adversary);
        }
        text
    }

    fn next(&self, best: Tried) -> String {
        let mut lines: String = self.commands(best).iter().map(|line| format!("  {line}\n")).collect();
        let above = |limit: &&super::Limit| {
            limit.worst(&self.rows(best.setting)).is_some_and(|(_, score)| score.high > limit.most)
        };
        if let Some(limit) = self.finder.limits.iter().find(above) {
            let _ = writeln!(
                lines,
                "  ({limit} holds for the {} texts that were attacked; its interval reaches beyond, so confirm it on more)",
                self.attacked()
            );
        }
        lines
    }

    /// How many texts were attacked: on a small corpus fewer than the settings say.
    fn attacked(&self) -> usize {
        match self.report.undefended.texts.len() {
            0 => self.settings.samples(),
            attacked => attacked,
        }
    }

    fn commands(&self, best: Tried) -> Vec<String> {
        let spec = self.spec(best);
        let samples = (4 * self.attacked()).max(200).to_string();
        let own = OWN.iter().fold(self.words.to_vec(), |words, option| without_option(&words, option));
        let same = own.into_iter().filter(|word| word != RESUME).map(|word| match word.as_str() {
            "recommend" => "evaluate".to_owned(),
            _ => word,
        });
        let evaluate = with_option(&same.collect::<Vec<_>>(), "--samples", &samples);
        vec![
            format!("embosk keygen --output {}", quoted(KEY)),
            command(evaluate.iter().map(String::as_str).chain(["--defense", &spec])),
            command(["protect", "--defense", &spec, "--role", "document", "--ids", "IDS.txt"])
                + " --sealed SEALED.npy IN.npy OUT.npy",
        ]
    }

    /// The defense as an application writes it, with a key of its own.
    fn spec(&self, Tried { setting, candidates, .. }: Tried) -> String {
        let fit = self.args.output.display().to_string();
        let fit = if fit.contains([',', ')', '"', ' ']) { format!("{fit:?}") } else { fit };
        let on = if self.args.threat == Threat::StolenStore { ", on=documents" } else { "" };
        let projection = setting.dims.map(|dims| format!("projection(fit=file:{fit}, dims={dims})"));
        let rotation = setting.rotated.then(|| format!("rotation(key=file:{KEY})"));
        let noise = format!("gaussian(sigma={}{on})", setting.sigma());
        let rerank = format!("rerank(candidates={candidates}, key=file:{KEY})");
        let parts = projection.into_iter().chain(rotation).chain([noise, rerank]);
        parts.collect::<Vec<_>>().join(" | ")
    }

    fn threat(&self) -> &'static str {
        match self.args.threat {
            Threat::Operator => "the store's operator, who sees documents and queries: noise on both",
            Threat::StolenStore => {
                "a stolen store, documents alone: noise on these; an operator also sees queries without noise"
            }
        }
    }

    fn undefended(&self) -> Option<f64> {
        let scores = self.report.undefended.queries.values(NDCG);
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }

    fn rows(&self, setting: Setting) -> Vec<&Row> {
        let stack = self.finder.measured.iter().find(|(_, other, _)| *other == setting);
        let of_stack = |row: &&Row| stack.is_some_and(|(stack, ..)| row.defense == *stack);
        self.report.rows.iter().filter(of_stack).collect()
    }
}

/// The adversary that reaches the most, and how much.
fn worst<'a>(rows: &[&'a Row], metric: &str) -> Option<(&'a Row, Score)> {
    let scores = rows.iter().filter_map(|row| Some((*row, row.score(metric)?)));
    scores.max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value))
}

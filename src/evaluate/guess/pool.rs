//! The facts that attackers can think of: those in texts that they know.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand_chacha::ChaCha8Rng;

use super::invented;
use super::shape::shape;
use super::vocabulary::Vocabulary;
use crate::embedder::Normalizer;
use crate::evaluate::draws::index_below;
use crate::evaluate::facts::Fact;

/// How many draws of an invented fact are made for each that is wanted.
const DRAWS: usize = 40;
/// How many words of like frequency are drawn from, for each that is wanted.
const WORDS: usize = 8;

/// Facts by kind, and words.
pub(super) struct Pool<'a> {
    /// The attacker's own and, behind them, those of the corpus.
    by_kind: HashMap<String, [Values; 2]>,
    vocabulary: &'a Vocabulary,
    normalizer: &'a Normalizer,
}

/// Different facts of one kind, by their shape.
type Values = BTreeMap<String, Vec<String>>;

impl<'a> Pool<'a> {
    pub(super) fn new(vocabulary: &'a Vocabulary, normalizer: &'a Normalizer) -> Self {
        Self { by_kind: HashMap::new(), vocabulary, normalizer }
    }

    /// Adds the facts of some texts to those of the attacker's own, or to those of the corpus. Facts that are known
    /// are not added again.
    pub(super) fn add<'t>(&mut self, is_own: bool, texts: impl Iterator<Item = (&'t str, Vec<Fact>)>) {
        let of_known = |(kind, values): (&String, &[Values; 2])| {
            let known = values.iter().flat_map(BTreeMap::values).flatten();
            known.map(|value| (kind.clone(), self.normalizer.apply(value))).collect::<Vec<_>>()
        };
        let mut seen: HashSet<(String, String)> = self.by_kind.iter().flat_map(of_known).collect();
        for (text, facts) in texts {
            for Fact { kind, span } in facts {
                let value = &text[span];
                if seen.insert((kind.clone(), self.normalizer.apply(value))) {
                    let values = &mut self.by_kind.entry(kind).or_default()[usize::from(!is_own)];
                    values.entry(shape(value)).or_default().push(value.to_owned());
                }
            }
        }
    }

    /// Draws up to `count` candidates besides `truth`, a fact of `text`: different ones, none of which stands in the
    /// text. The attacker's own of the same shape come first, then those of the corpus and invented ones, then those
    /// of other shapes, then words. Returns also how many are of the fact's kind and shape.
    pub(super) fn draw(
        &self,
        (text, truth, kind): (&str, &str, &str),
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<String>, usize) {
        let mut drawn = Drawn::new(self.normalizer, text, truth, count);
        let nothing = [Values::new(), Values::new()];
        let values = self.by_kind.get(kind).unwrap_or(&nothing);
        let alike = shape(truth);
        let mut of_kind = 0;
        if kind != super::WORD {
            for values in values {
                drawn.some_of(values.get(&alike).into_iter().flatten(), rng);
            }
            drawn.invented(truth, kind, rng);
            of_kind = drawn.candidates.len();
            for values in values {
                let others = values.iter().filter(|(shape, _)| **shape != alike);
                drawn.some_of(others.flat_map(|(_, values)| values), rng);
            }
        }
        if !drawn.is_full() {
            drawn.words(self.vocabulary.alike(truth, WORDS * count), truth, rng);
        }
        // where no fact was found, a word is asked for, and words are of its kind
        let of_kind = if kind == super::WORD { drawn.candidates.len() } else { of_kind };
        (drawn.candidates, of_kind)
    }
}

/// The candidates that were drawn so far.
struct Drawn<'a> {
    normalizer: &'a Normalizer,
    text: String,
    seen: HashSet<String>,
    count: usize,
    candidates: Vec<String>,
}

impl<'a> Drawn<'a> {
    fn new(normalizer: &'a Normalizer, text: &str, truth: &str, count: usize) -> Self {
        let (text, truth) = (normalizer.apply(text), normalizer.apply(truth));
        Self { normalizer, text, seen: HashSet::from([truth]), count, candidates: Vec::with_capacity(count) }
    }

    fn is_full(&self) -> bool {
        self.candidates.len() >= self.count
    }

    fn offer(&mut self, value: String) {
        let normalized = self.normalizer.apply(&value);
        let is_there = normalized.trim().is_empty() || self.text.contains(&normalized);
        if !is_there && self.seen.insert(normalized) {
            self.candidates.push(value);
        }
    }

    /// Draws from values until there are enough candidates.
    fn some_of<'v>(&mut self, values: impl Iterator<Item = &'v String>, rng: &mut ChaCha8Rng) {
        let mut values: Vec<&String> = values.collect();
        while !self.is_full() && !values.is_empty() {
            let value = values.swap_remove(index_below(values.len(), rng));
            self.offer(value.clone());
        }
    }

    fn invented(&mut self, truth: &str, kind: &str, rng: &mut ChaCha8Rng) {
        for _ in 0..DRAWS * self.count {
            let invented = if self.is_full() { None } else { invented::like(truth, kind, rng) };
            let Some(invented) = invented else { break };
            self.offer(invented);
        }
    }

    /// Draws from words, in the case of `truth`.
    fn words(&mut self, mut words: Vec<&str>, truth: &str, rng: &mut ChaCha8Rng) {
        let is_capital = truth.starts_with(char::is_uppercase);
        while !self.is_full() && !words.is_empty() {
            let word = words.swap_remove(index_below(words.len(), rng));
            let mut letters = word.chars();
            let word = match letters.next() {
                Some(first) if is_capital => first.to_uppercase().chain(letters).collect(),
                _ => word.to_owned(),
            };
            self.offer(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::evaluate::facts::by_rule;

    fn draw(own: &[&str], corpus: &[&str], question: (&str, &str, &str), count: usize) -> Vec<String> {
        let vocabulary = Vocabulary::of(own.iter().chain(corpus).copied());
        let normalizer = Normalizer::lowercase();
        let mut pool = Pool::new(&vocabulary, &normalizer);
        for (is_own, texts) in [(true, own), (false, corpus)] {
            pool.add(is_own, texts.iter().map(|text| (*text, by_rule(text))));
        }
        pool.draw(question, count, &mut ChaCha8Rng::seed_from_u64(1)).0
    }

    #[test]
    fn the_attackers_own_facts_come_first() {
        let own = ["then to Ann and Bob Lee", "then to ANN"];
        let corpus = ["and to Carl", "and to Dora"];
        let question = ("and to Carl", "Carl", "name");
        let all: Vec<_> = (1..5).map(|count| draw(&own, &corpus, question, count)).collect();
        assert_eq!(all[0], ["Ann"]);
        assert_eq!(all[1], ["Ann", "Dora"]);
        assert_eq!(all[2], ["Ann", "Dora", "Bob Lee"]);
        assert_eq!(all[3], ["Ann", "Dora", "Bob Lee", "Then"]);
    }

    #[test]
    fn numbers_are_made_up_and_words_are_about_as_frequent() {
        let question = ("it costs $1,200 now", "$1,200", "amount");
        let amounts = draw(&["it costs $1,300 or $5"], &[], question, 63);
        assert_eq!((amounts.len(), amounts[0].as_str()), (63, "$1,300"));
        assert!(amounts.iter().all(|amount| amount.len() == 6 && amount != "$1,200"));
        let texts = ["common here rare", "common here seldom", "common here often often"];
        let words = draw(&texts, &[], (texts[0], "rare", super::super::WORD), 2);
        assert_eq!(words.iter().collect::<HashSet<_>>(), HashSet::from([&"seldom".into(), &"often".into()]));
    }

    #[test]
    fn no_candidate_is_the_truth_or_in_its_text() {
        let texts = ["we met Ann and Bob", "we met ANN", "we met Carl"];
        assert_eq!(draw(&texts, &[], (texts[0], "Ann", "name"), 9), ["Carl"]);
    }
}

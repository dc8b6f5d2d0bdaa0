//! Texts as words, and words as numbers.

use std::collections::HashMap;

/// Marks that stand right after a word, without a space.
const CLOSING: &str = ".,;:!?)]}%";
/// Marks that stand right before a word, without a space.
const OPENING: &str = "([{";

/// Splits a text into its words and marks: `(for example, this)` has the units `(`, `for`, `example`, `,`,
/// `this` and `)`. Marks inside a word stay there, as in `don't` and `3.5`.
pub(super) fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(|word| {
        let (mut opening, mut closing) = (Vec::new(), Vec::new());
        let mut rest = word;
        while let Some(mark) =
            rest.chars().next().filter(|mark| is_mark(*mark) && rest.len() > mark.len_utf8())
        {
            let (first, others) = rest.split_at(mark.len_utf8());
            opening.push(first);
            rest = others;
        }
        while let Some(mark) =
            rest.chars().next_back().filter(|mark| is_mark(*mark) && rest.len() > mark.len_utf8())
        {
            let (others, last) = rest.split_at(rest.len() - mark.len_utf8());
            closing.push(last);
            rest = others;
        }
        opening.into_iter().chain([rest]).chain(closing.into_iter().rev())
    })
}

fn is_mark(letter: char) -> bool {
    CLOSING.contains(letter) || OPENING.contains(letter) || "\"'".contains(letter)
}

/// Joins units to a text, with spaces where writers put them.
pub(super) fn join<'a>(units: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    let (mut glued, mut quoted) = (true, false);
    for unit in units {
        let opens_quote = unit == "\"" && !quoted;
        let closes =
            unit.chars().all(|mark| CLOSING.contains(mark)) || (unit == "\"" && quoted) || unit == "'";
        if !glued && !closes {
            text.push(' ');
        }
        text.push_str(unit);
        glued = opens_quote || (unit.chars().all(|mark| OPENING.contains(mark)));
        quoted ^= unit == "\"";
    }
    text
}

/// The units that a search knows, by number.
#[derive(Debug, Default, Clone)]
pub(super) struct Vocabulary {
    units: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Vocabulary {
    /// The number of a unit, which is added if it is new.
    pub(super) fn number(&mut self, unit: &str) -> u32 {
        if let Some(&number) = self.numbers.get(unit) {
            return number;
        }
        let number = self.units.len() as u32;
        self.units.push(unit.to_owned());
        self.numbers.insert(unit.to_owned(), number);
        number
    }

    pub(super) fn numbers(&mut self, text: &str) -> Vec<u32> {
        units(text).map(|unit| self.number(unit)).collect()
    }

    pub(super) fn unit(&self, number: u32) -> &str {
        &self.units[number as usize]
    }

    pub(super) fn text(&self, numbers: &[u32]) -> String {
        join(numbers.iter().map(|&number| self.unit(number)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn units_join_to_the_text_that_they_are_from() {
        for text in [
            "He doesn't know (yet), but she does.",
            "At 3.5% the rate [2] is high; is it?",
            "She said \"go now\" and left.",
            "",
            "one",
        ] {
            assert_eq!(join(units(text)), text);
        }
        let of = |text| units(text).collect::<Vec<_>>();
        assert_eq!(of("(for example, this)"), ["(", "for", "example", ",", "this", ")"]);
        assert_eq!(of("well... \"  ( a"), ["well", ".", ".", ".", "\"", "(", "a"]);
    }

    #[test]
    fn a_unit_keeps_its_number() {
        let mut vocabulary = Vocabulary::default();
        let numbers = vocabulary.numbers("to be or not to be");
        assert_eq!(numbers, [0, 1, 2, 3, 0, 1]);
        assert_eq!(vocabulary.text(&numbers), "to be or not to be");
    }
}

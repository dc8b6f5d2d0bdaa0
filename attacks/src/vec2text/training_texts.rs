//! The texts that a model was trained on, as a compact set of hashes in its folder.
//!
//! An attack that was trained on the texts that it attacks remembers them, so its scores say nothing about other
//! texts. Comparing the two needs no texts: a hash of each is enough.

mod coded;
mod file;

use std::io;

use embosk_models::Location;
use embosk_models::digest::Digest;

use self::coded::CodedSet;
use crate::Error;

/// The name of the file in a model's folder.
pub const TRAINING_TEXTS: &str = "training_texts.bin";

/// One in 2¹⁶ = 65,536 other texts is mistaken for a trained one. A text takes 17.6 bits.
const BITS: u32 = 16;

/// Held-out texts are few, and a text that is mistaken for one is not trained on, so they get more bits: 33.6 a text.
const BITS_HELD_OUT: u32 = 32;

/// The texts that a model was trained on, and those that were held out to watch the training by.
///
/// It holds hashes and no texts. Texts are compared by their words: case, punctuation and white space do not count.
/// Anyone who has the file can test whether a given text was trained on.
///
/// ```
/// use embosk_attacks::vec2text::TrainingTexts;
///
/// let texts = TrainingTexts::new(["A text.", "Another text."], 16);
/// assert!(texts.contains("another text"));
/// assert!(!texts.contains("a third text"));
/// let read = TrainingTexts::from_bytes(&texts.to_bytes()).map_err(std::io::Error::other)?;
/// assert_eq!(read, texts);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingTexts {
    trained: Vec<CodedSet>,
    held_out: Vec<CodedSet>,
    /// Whether every text of the training is listed, including those of the model that it began with.
    complete: bool,
}

impl TrainingTexts {
    /// Lists texts. Another text is mistaken for one of them with a probability of 2^−`bits`; `bits` is from 1 to 32,
    /// and a text takes about `bits` + 1.6 bits.
    pub fn new(texts: impl IntoIterator<Item = impl AsRef<str>>, bits: u32) -> Self {
        let set = CodedSet::new(texts.into_iter().filter_map(|text| hash(text.as_ref())).collect(), bits);
        Self { trained: vec![set], held_out: Vec::new(), complete: true }
    }

    /// Lists the texts of a training: those that are given, and those of the models that it begins with. `None` is a
    /// model that does not list its texts.
    pub(crate) fn of_training<'a>(
        trained: &[String],
        held_out: &[String],
        begun_with: impl IntoIterator<Item = Option<&'a Self>>,
    ) -> Self {
        let mut all = Self { trained: Vec::new(), held_out: Vec::new(), complete: true };
        for texts in begun_with {
            all.complete &= texts.is_some_and(|texts| texts.complete);
            all.inherit(texts);
        }
        add(&mut all.trained, trained, BITS);
        add(&mut all.held_out, held_out, BITS_HELD_OUT);
        all
    }

    fn inherit(&mut self, base: Option<&Self>) {
        let Some(base) = base else { return };
        for (ours, theirs) in [(&mut self.trained, &base.trained), (&mut self.held_out, &base.held_out)] {
            let new: Vec<CodedSet> = theirs.iter().filter(|set| !ours.contains(set)).cloned().collect();
            ours.extend(new);
        }
    }

    /// Returns whether a text was trained on, as far as its words tell. A text without a letter or a digit was not.
    pub fn contains(&self, text: &str) -> bool {
        is_in(&self.trained, text)
    }

    /// Returns whether a text was held out.
    pub fn is_held_out(&self, text: &str) -> bool {
        is_in(&self.held_out, text)
    }

    /// Returns whether every text of the training is listed. A model that began with another one whose texts are not
    /// listed has only its own.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns the hash of a text's words, by which texts are compared. `None` for a text without a letter or a digit.
    pub fn hash(text: &str) -> Option<u64> {
        hash(text)
    }

    /// Returns how many trained texts are listed.
    pub fn len(&self) -> usize {
        self.trained.iter().map(CodedSet::len).sum()
    }

    /// Returns whether no trained text is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the list in a model's folder. `None` if there is none: then it is unknown what the model was trained on.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged.
    pub fn read(model: impl Into<Location>) -> Result<Option<Self>, Error> {
        let file = model.into().join(TRAINING_TEXTS);
        let bad = |message| Error::File { path: file.path().to_owned(), message };
        match file.read() {
            Ok(bytes) => Self::from_bytes(&bytes).map(Some).map_err(|error| bad(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(error.to_string())),
        }
    }
}

/// Adds the texts that are not listed yet.
fn add(sets: &mut Vec<CodedSet>, texts: &[String], bits: u32) {
    let new = texts.iter().filter_map(|text| hash(text));
    let new: Vec<u64> = new.filter(|hash| !sets.iter().any(|set| set.contains(*hash))).collect();
    if !new.is_empty() {
        sets.push(CodedSet::new(new, bits));
    }
}

fn is_in(sets: &[CodedSet], text: &str) -> bool {
    hash(text).is_some_and(|hash| sets.iter().any(|set| set.contains(hash)))
}

/// The hash of a text's words; `None` if it has none.
fn hash(text: &str) -> Option<u64> {
    let words = words(text);
    if words.is_empty() {
        return None;
    }
    let digest = Digest::new().raw(words).bytes();
    Some(digest[..8].iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte)))
}

/// The words of a text, lower-cased, separated by single spaces.
fn words(text: &str) -> String {
    let is_mark = |c: char| ('\u{300}'..='\u{36f}').contains(&c);
    let mut words = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase).filter(|&c| !is_mark(c)) {
        if c.is_alphanumeric() {
            words.push(c);
        } else if !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words.truncate(words.trim_end().len());
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|n| format!("Text number {n}.")).collect()
    }

    #[test]
    fn texts_are_compared_by_their_words() {
        for (text, expected) in [
            ("  Hello,\tWORLD!\n", "hello world"),
            ("$42.50", "42 50"),
            ("E\u{301}te\u{301} 東京", "ete 東京"),
            ("… !", ""),
        ] {
            assert_eq!(words(text), expected);
        }
        let texts = TrainingTexts::new(["", "…", "One  text!"], 16);
        assert_eq!((texts.len(), texts.contains("one text"), texts.contains("?")), (1, true, false));
    }

    /// The figures that the file's documentation states.
    #[test]
    fn a_text_takes_seventeen_bits_and_a_half_and_few_others_are_taken_for_it() {
        let known = texts(0, 50_000);
        let trained = TrainingTexts::of_training(&known, &[], []);
        assert!(known.iter().all(|text| trained.contains(text)));
        let bits = 8.0 * trained.to_bytes().len() as f64 / known.len() as f64;
        assert!((17.0..17.7).contains(&bits), "{bits}");
        let by_chance = texts(50_000, 450_000).iter().filter(|text| trained.contains(text)).count();
        assert!((1..20).contains(&by_chance), "about 6 of 400,000 are, not {by_chance}");
    }

    #[test]
    fn a_training_has_the_texts_of_the_models_that_it_begins_with() {
        let base = TrainingTexts::of_training(&texts(0, 100), &texts(100, 110), []);
        assert!(base.is_complete());
        let further =
            TrainingTexts::of_training(&texts(50, 100), &texts(200, 205), [Some(&base), Some(&base)]);
        assert_eq!((further.len(), further.trained.len()), (100, 1), "nothing is listed twice");
        let further = TrainingTexts::of_training(&texts(90, 200), &texts(100, 110), [Some(&further)]);
        assert!(texts(0, 200).iter().all(|text| further.contains(text)) && further.is_complete());
        assert!(texts(100, 110).iter().chain(&texts(200, 205)).all(|text| further.is_held_out(text)));
        assert!(!further.is_held_out("text number 1"));
        // a model that does not say what it was trained on
        let unknown = TrainingTexts::of_training(&texts(0, 9), &[], [Some(&further), None]);
        assert!(!unknown.is_complete() && unknown.contains("text number 150"));
        assert!(!TrainingTexts::of_training(&texts(0, 9), &[], [Some(&unknown)]).is_complete());
    }

    #[test]
    fn a_folder_without_a_list_is_unknown_and_a_damaged_list_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(TrainingTexts::read(folder.path()).unwrap(), None);
        let listed = TrainingTexts::new(texts(0, 20), 10);
        std::fs::write(folder.path().join(TRAINING_TEXTS), listed.to_bytes()).unwrap();
        assert_eq!(TrainingTexts::read(folder.path()).unwrap(), Some(listed));
        std::fs::write(folder.path().join(TRAINING_TEXTS), "something").unwrap();
        let message = TrainingTexts::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("training_texts.bin: ") && message.contains("remove"), "{message}");
    }
}

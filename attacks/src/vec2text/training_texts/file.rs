//! The file: a storage format, version 1, that SPEC.md describes.

use embosk_models::digest::Digest;

use super::TrainingTexts;
use super::coded::CodedSet;
use crate::Error;

const LABEL: &[u8] = b"embosk training texts v1\n";
const CHECKSUM: usize = 8;

/// Set in the flags if every text is listed.
const COMPLETE: u8 = 1;

const TRAINED: u8 = 0;
const HELD_OUT: u8 = 1;

impl TrainingTexts {
    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = LABEL.to_vec();
        bytes.push(if self.complete { COMPLETE } else { 0 });
        let sets = || {
            let held_out = self.held_out.iter().map(|set| (HELD_OUT, set));
            self.trained.iter().map(|set| (TRAINED, set)).chain(held_out)
        };
        bytes.extend((sets().count() as u32).to_le_bytes());
        for (kind, set) in sets() {
            let code = set.code();
            bytes.extend([kind, set.bits() as u8]);
            bytes.extend((set.len() as u32).to_le_bytes());
            bytes.extend((code.len() as u32).to_le_bytes());
            bytes.extend(code);
        }
        bytes.extend(checksum(&bytes));
        bytes
    }

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// [`Error::Setting`] if they are not such a list, or are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        parse(bytes).ok_or_else(|| {
            Error::Setting(
                "it is not a list of training texts, or it is damaged; get it anew, or remove it if nobody needs to \
                 know what the model was trained on"
                    .into(),
            )
        })
    }
}

fn parse(bytes: &[u8]) -> Option<TrainingTexts> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if checksum(content) != sum {
        return None;
    }
    let mut rest = content.strip_prefix(LABEL)?;
    let [flags] = take::<1>(&mut rest)?;
    let mut texts = TrainingTexts { trained: Vec::new(), held_out: Vec::new(), complete: flags == COMPLETE };
    if flags > COMPLETE {
        return None;
    }
    for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
        let [kind, bits] = take(&mut rest)?;
        let count = u32::from_le_bytes(take(&mut rest)?);
        let length = u32::from_le_bytes(take(&mut rest)?);
        let code;
        (code, rest) = rest.split_at_checked(length as usize)?;
        let set = CodedSet::decode(code, count, u32::from(bits))?;
        match kind {
            TRAINED => texts.trained.push(set),
            HELD_OUT => texts.held_out.push(set),
            _ => return None,
        }
    }
    rest.is_empty().then_some(texts)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&Digest::new().raw(content).bytes()[..CHECKSUM]);
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Written by `tests/golden/training_texts.py`.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/data/training-texts-v1.bin");

    #[test]
    fn the_format_is_that_of_the_specification() {
        let texts = |word: &str, n: usize| -> Vec<String> { (0..n).map(|n| format!("{word} {n}")).collect() };
        let base = TrainingTexts::new(texts("Base:", 40), 10);
        let all = TrainingTexts::of_training(
            &[texts("trained", 100), vec!["ÉTÉ — 東京\n".into()]].concat(),
            &texts("held-out", 5),
            [Some(&base), None],
        );
        assert_eq!(all.to_bytes(), GOLDEN);
        assert_eq!(TrainingTexts::from_bytes(GOLDEN).unwrap(), all);
    }

    #[test]
    fn every_damage_is_noticed() {
        for at in 0..GOLDEN.len() {
            let mut damaged = GOLDEN.to_vec();
            damaged[at] ^= 4;
            assert!(TrainingTexts::from_bytes(&damaged).is_err(), "byte {at}");
            assert!(TrainingTexts::from_bytes(&GOLDEN[..at]).is_err(), "{at} bytes");
        }
        // what no writer of ours makes, under the right checksum
        let content = &GOLDEN[..GOLDEN.len() - CHECKSUM];
        for at in LABEL.len()..content.len() {
            let mut other = content.to_vec();
            other[at] ^= 4;
            other.extend(checksum(&other));
            if let Ok(texts) = TrainingTexts::from_bytes(&other) {
                assert_eq!(texts.to_bytes(), other, "byte {at}");
            }
        }
    }
}

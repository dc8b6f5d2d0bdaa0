//! The rankings of an evaluation as files, for trec_eval and similar tools.

use std::fs;
use std::io::Write;
use std::path::Path;

use embosk_defenses::Stack;

use super::Corpus;
use super::retrieval::{Hits, run_file};
use crate::Error;
use crate::partial::{self, Readers};

/// How many documents a run file has for a query.
pub(super) const DEPTH: usize = 100;

/// Writes `folder/<number>-<stack>.run`, whole or not at all.
pub(super) fn write(
    folder: &Path,
    (number, stack): (usize, &Stack),
    corpus: &Corpus,
    rankings: &[Hits],
) -> Result<(), Error> {
    let name = format!("{number}-{}", file_name(&stack.to_string()));
    let run = run_file("embosk", corpus.query_ids(), corpus.ids(), rankings)?;
    fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
    let path = folder.join(format!("{name}.run"));
    partial::write(&path, Readers::Usual, |file| file.write_all(run.as_bytes()))
        .map_err(|error| Error::file(&path, error))
}

/// A spec as part of a file's name: `gaussian-sigma-0.01`. The number before it distinguishes names that are cut.
fn file_name(spec: &str) -> String {
    let kept = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '.';
    let words: Vec<&str> = spec.split(|symbol| !kept(symbol)).filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(80).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::evaluate::retrieval::Judgements;

    #[test]
    fn a_run_file_is_named_by_its_stack() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = Corpus::passages("mine", vec!["a".into(), "b".into()]);
        let corpus = corpus.questions(vec!["which?".into()], Judgements(vec![[].into()])).unwrap();
        let stack: Stack = "gaussian(sigma=0.01) | quantization(bits=8)".parse().unwrap();
        let (inner, ranking) = (folder.path().join("runs"), vec![(1, 0.5)]);
        write(&inner, (2, &stack), &corpus, &[ranking]).unwrap();
        let run = fs::read_to_string(inner.join("2-gaussian-sigma-0.01-quantization-bits-8.run")).unwrap();
        assert_eq!(run, "0 Q0 1 1 0.5 embosk\n");
        assert_eq!(fs::read_dir(inner).unwrap().count(), 1);
    }
}

//! What an embedder returns, checked before anything is computed from it.

use ndarray::Array2;

use super::Embedder;
use crate::{Error, Role};

/// Embeds `texts` and checks the answer: one finite row per text, of the dimension that the embedder states.
pub(crate) fn embed_checked(
    embedder: &dyn Embedder,
    role: Role,
    texts: &[&str],
) -> Result<Array2<f32>, Error> {
    let vectors = embedder.embed(role, texts).map_err(Error::Embedder)?;
    if vectors.nrows() != texts.len() {
        return Err(Error::Rows { texts: texts.len(), rows: vectors.nrows() });
    }
    match embedder.dimension() {
        Some(said) if said != vectors.ncols() && !texts.is_empty() => Err(Error::Embedder(
            format!("it says that its vectors have {said} dimensions, and returned {}", vectors.ncols())
                .into(),
        )),
        _ => check_finite(vectors),
    }
}

/// Refuses vectors that are not finite.
pub(crate) fn check_finite(vectors: Array2<f32>) -> Result<Array2<f32>, Error> {
    if vectors.iter().all(|value| value.is_finite()) {
        Ok(vectors)
    } else {
        Err(Error::Embedder("a vector holds a value that is not finite".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Described;
    use super::*;
    use crate::BoxError;

    #[test]
    fn a_dimension_that_is_not_the_stated_one_is_an_error() {
        let pairs = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 2))) };
        let embed = |said| embed_checked(&Described::new(pairs).dimension(said), Role::Query, &["a"]);
        assert!(embed(2).is_ok());
        let message = embed(3).map_err(|error| error.to_string());
        assert!(message.is_err_and(|message| message.contains("3 dimensions, and returned 2")));
    }
}

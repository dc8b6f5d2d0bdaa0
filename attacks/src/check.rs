//! The checks of what a map is fitted on or applied to, and of what an oracle returns.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::{Error, Image, Oracle, Ranking};

pub(crate) fn check(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<(), Error> {
    if protected.is_empty() || clean.is_empty() {
        return Err(Error::Empty("the set of pairs to fit on"));
    }
    if protected.nrows() != clean.nrows() {
        let (protected, clean) = (protected.nrows(), clean.nrows());
        return Err(Error::Setting(format!(
            "{protected} protected vectors do not pair with {clean} clean ones"
        )));
    }
    check_finite(protected)?;
    check_finite(clean)
}

pub(crate) fn check_finite(vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
    let finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|value| value.is_finite());
    match vectors.axis_iter(Axis(0)).position(|row| !finite(row)) {
        Some(row) => Err(Error::NotFinite { row }),
        None => Ok(()),
    }
}

pub(crate) fn check_dimension(expected: usize, vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
    match vectors.ncols() {
        found if found == expected => Ok(()),
        found => Err(Error::Dimension { expected, found }),
    }
}

/// Vectors of texts, and what is compared with targets.
pub(crate) struct Asked {
    /// `[texts, dimension]`.
    pub(crate) vectors: Array2<f32>,
    /// The vectors in another space, if they are compared there.
    elsewhere: Option<Array2<f32>>,
    images: Option<Array2<f32>>,
}

/// What is compared of one text with a target.
pub(crate) struct Compared {
    is_elsewhere: bool,
    vector: Array1<f32>,
    image: Option<Array1<f32>>,
}

impl Asked {
    /// What is compared of the text in this place.
    pub(crate) fn compared(&self, at: usize) -> Compared {
        let row = |rows: &Array2<f32>| rows.row(at).to_owned();
        Compared {
            is_elsewhere: self.elsewhere.is_some(),
            vector: row(self.elsewhere.as_ref().unwrap_or(&self.vectors)),
            image: self.images.as_ref().map(row),
        }
    }
}

impl Compared {
    /// How well the text explains a target.
    pub(crate) fn likeness(&self, target: ArrayView1<'_, f32>) -> f32 {
        let image = self.image.as_ref().map(|image| image.view());
        if self.is_elsewhere {
            Ranking::likeness_in_space(target, self.vector.view(), image)
        } else {
            Ranking::likeness(target, self.vector.view(), image)
        }
    }
}

/// Refuses targets of another dimension than the attack's, unless they are in another space.
pub(crate) fn check_targets(ranking: &Ranking<'_>, dimension: usize) -> Result<(), Error> {
    if ranking.space.is_none() {
        check_dimension(dimension, ranking.targets)?;
    }
    check_finite(ranking.targets)
}

/// Maps vectors to the space in which they are compared, and checks the result.
pub(crate) fn taken(
    space: &Image<'_>,
    vectors: ArrayView2<'_, f32>,
    dimension: usize,
) -> Result<Array2<f32>, Error> {
    let taken = space(vectors).map_err(Error::Oracle)?;
    if taken.dim() != (vectors.nrows(), dimension) {
        return Err(Error::Oracle("the space of the targets has another shape than the targets".into()));
    }
    Ok(taken)
}

/// Asks an oracle for the vectors of `texts`, of this dimension, and for what the ranking compares of them.
pub(crate) fn ask(
    oracle: &dyn Oracle,
    ranking: &Ranking<'_>,
    texts: &[&str],
    dimension: usize,
) -> Result<Asked, Error> {
    let vectors = embedded(oracle, texts, dimension)?;
    let targets = ranking.targets.ncols();
    let elsewhere = ranking.space.map(|space| taken(space, vectors.view(), targets)).transpose()?;
    let images = ranking.image.map(|image| image(vectors.view())).transpose().map_err(Error::Oracle)?;
    let expected = elsewhere.as_ref().unwrap_or(&vectors).dim();
    if images.as_ref().is_some_and(|images| images.dim() != expected) {
        return Err(Error::Oracle("images have another shape than the vectors they are of".into()));
    }
    Ok(Asked { vectors, elsewhere, images })
}

/// Asks an oracle for the vectors of `texts`, of this dimension.
pub(crate) fn embedded(oracle: &dyn Oracle, texts: &[&str], dimension: usize) -> Result<Array2<f32>, Error> {
    let vectors = oracle.embed(texts).map_err(Error::Oracle)?;
    if vectors.nrows() != texts.len() {
        return Err(Error::Oracle(
            "the oracle returned another number of rows than it was given texts".into(),
        ));
    }
    check_dimension(dimension, vectors.view())?;
    if vectors.iter().any(|value| !value.is_finite()) {
        return Err(Error::Oracle("the oracle returned a value that is not finite".into()));
    }
    Ok(vectors)
}

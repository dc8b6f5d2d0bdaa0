use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayViewMut1, ArrayViewMut2};

use crate::check::check_ids;
use crate::keyed_noise::KeyedNoise;
use crate::normal::add_normals;
use crate::parallel::for_pieces;
use crate::spec::{Part, Value};
use crate::{Defense, Error, Guarantee, Key, Rng, Role, Spec, check_finite};

/// Beyond this, a sum with a coordinate could leave `f32`'s range.
const MAX_SIGMA: f64 = 1e30;

/// Independent Gaussian noise on every coordinate: fresh for every call, or determined by a key.
///
/// # What it does
/// Adds a normal number of standard deviation `sigma` to each coordinate. `sigma` is in the vectors' own unit, and is
/// meant for rows of norm 1; for vectors of another norm, multiply it by that norm. For rows of norm 1, this table
/// gives the noise's norm (about `sigma · √dim`) and the cosine between a vector and what it becomes (about
/// `1 / √(1 + sigma² · dim)`), by dimension and `sigma`:
///
/// | dim | 0.01: norm | cosine | 0.03: norm | cosine | 0.1: norm | cosine |
/// |---|---|---|---|---|---|---|
/// | 384 | 0.20 | 0.981 | 0.59 | 0.862 | 1.96 | 0.455 |
/// | 768 | 0.28 | 0.964 | 0.83 | 0.769 | 2.77 | 0.339 |
/// | 1536 | 0.39 | 0.931 | 1.18 | 0.648 | 3.92 | 0.247 |
/// | 3072 | 0.55 | 0.875 | 1.66 | 0.515 | 5.54 | 0.178 |
///
/// **Fresh** noise, [`new`](Self::new), is drawn from the generator that is passed in.
///
/// **Keyed** noise, [`keyed`](Self::keyed), is the same each time, so that averaging many releases of
/// a row gains nothing. What a key gives never changes between machines and versions, and does not depend on the
/// role.
///
/// - **By id**, in [`protect_with_ids`](Defense::protect_with_ids): the key and the row's id determine the noise.
///   This is the better way where rows have ids.
/// - **By vector**, in `protect`: the key and the vector determine the noise. Since batching changes a vector's last
///   bits, the noise is a continuous function of the vector. Its place along 16 keyed directions and its norm select
///   a cell of a fine grid. Each cell has its own noise, which is blended into the next cell's towards its end. Two
///   versions of a vector that differ by 1e-6 of its norm get noise that differs by 0.015 % of its norm in the median
///   and by 0.13 % in the worst of 400 cases. At 1e-4 the noise differs by a hundred times as much, at 1e-3 by 17 %
///   in the median, and at 1e-2 it is different noise.
///
/// [`on`](Self::on) restricts the noise to documents or queries; the other role's vectors pass unchanged.
/// [`renormalize`](Self::renormalize) scales the noisy rows to norm 1.
///
/// # Who it stops
/// An inverter trained on clean vectors, to a degree that grows with `sigma`. It reads fine differences between
/// vectors, which noise covers first. Keyed noise also stops an attacker who averages releases of the same row.
///
/// # Who it does not
/// - **An attacker who trains on noisy vectors of their own**, or denoises before they invert.
/// - **With fresh noise, an attacker who gets the vector of one text several times.** The mean of `r` releases
///   carries noise of `sigma / √r`. So store a protected vector once, and do not protect it again for each reader.
/// - **With keyed noise, an attacker who has the key**, and subtracts the noise.
/// - **With keyed noise, an attacker who can have a guess protected.** Equal inputs give equal outputs, which
///   confirms the guess.
///
/// Two rows with the same keyed noise differ by exactly as much as their clean vectors:
///
/// - By id, this happens to two texts that are stored under one id. Put the text's version into the id.
/// - By vector, it happens to two texts whose vectors are nearly equal. At a distance of 0.01, one pair in nine
///   shares most of its noise; at 0.02, one in 120; at 0.05, none of 40,000. Versions of one vector that differ by
///   more than `f32` rounding (`f16` or `bf16` arithmetic, another version of the model) get different noise, and can
///   be averaged.
///
/// Hence [`guarantee`](Defense::guarantee) claims nothing for keyed noise.
///
/// # What it costs in retrieval
/// Noise on one side blurs scores by about `sigma`, so neighbours closer than that change places. When that begins to
/// matter depends on the corpus; measure it. Renormalization changes no ranking by cosine. Without it, rankings by
/// inner product or distance favour rows that the noise made long or short.
///
/// # Order in a stack
/// After a [`Rotation`](crate::Rotation), though noise is the same before it, and before a
/// [`Quantization`](crate::Quantization). The guarantee survives whatever comes after the noise. Rounding first would
/// leave the clean vector's levels beneath the noise.
///
/// # Fingerprint
/// Nothing without renormalization. Noisy and clean vectors are in the same space, whatever the `sigma` and the key,
/// and whether the noise is on one role or both. `renormalize` is part of it: rankings by inner product and by
/// distance depend on it.
///
/// # Default
/// None: `sigma` sets the trade-off, and is chosen from a measured curve. Noise is on documents and queries, and rows
/// are not renormalized.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, GaussianNoise, Key, Rng, Role};
/// use ndarray::array;
///
/// let noise = GaussianNoise::new(0.01)?.on(Role::Document);
/// assert_eq!(noise.to_string(), "gaussian(sigma=0.01, on=documents)");
///
/// let mut vectors = array![[0.6_f32, 0.8]];
/// noise.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert_ne!(vectors, array![[0.6, 0.8]]);
///
/// let keyed = GaussianNoise::keyed(&Key::generate()?, 0.01)?;
/// let release = || {
///     let mut vectors = array![[0.6_f32, 0.8]];
///     let ids: [&[u8]; 1] = [b"text 17, version 1"];
///     keyed.protect_with_ids(Role::Document, &ids, vectors.view_mut(), &mut Rng::from_os()?)?;
///     Ok::<_, embosk_defenses::Error>(vectors)
/// };
/// assert_eq!(release()?, release()?);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNoise {
    sigma: f64,
    key: Option<Arc<KeyedNoise>>,
    /// The role that gets noise; both if there is none.
    role: Option<Role>,
    renormalize: bool,
}

impl GaussianNoise {
    /// Creates fresh noise of standard deviation `sigma` on each coordinate of rows of norm 1.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `sigma` is from 0 to 1e30.
    pub fn new(sigma: f64) -> Result<Self, Error> {
        if (0.0..=MAX_SIGMA).contains(&sigma) {
            // A negative zero would print as one.
            Ok(Self { sigma: sigma.abs(), key: None, role: None, renormalize: false })
        } else {
            Err(Error::Setting { name: "sigma", expected: "a number from 0 to 1e30" })
        }
    }

    /// Creates noise that `key` determines, by row id or by vector.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn keyed(key: &Key, sigma: f64) -> Result<Self, Error> {
        let noise = Self::new(sigma)?;
        Ok(Self { key: Some(Arc::new(KeyedNoise::new(key, noise.sigma))), ..noise })
    }

    /// Restricts the noise to vectors of `role`.
    pub fn on(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// Sets whether rows are scaled to norm 1 after the noise is added.
    pub fn renormalize(self, renormalize: bool) -> Self {
        Self { renormalize, ..self }
    }

    fn covers(&self, role: Role) -> bool {
        self.role.is_none_or(|covered| covered == role)
    }

    fn finish(&self, vectors: ArrayViewMut2<'_, f32>) {
        if self.renormalize {
            let dim = vectors.ncols();
            for_pieces(vectors, dim, 1, |_, mut rows| rows.rows_mut().into_iter().for_each(normalize));
        }
    }
}

impl Defense for GaussianNoise {
    fn protect(&self, role: Role, mut vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        if self.covers(role) {
            match &self.key {
                Some(key) => key.add_by_vector(vectors.view_mut()),
                None => add_normals(vectors.view_mut(), self.sigma as f32, rng),
            }
            self.finish(vectors);
        }
        Ok(())
    }

    /// With keyed noise, the key and each row's id determine the noise. Fresh noise does not depend on ids.
    fn protect_with_ids(
        &self,
        role: Role,
        ids: &[&[u8]],
        mut vectors: ArrayViewMut2<'_, f32>,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        check_ids(ids, &vectors)?;
        let Some(key) = &self.key else { return self.protect(role, vectors, rng) };
        check_finite(&vectors)?;
        if self.covers(role) {
            key.add_by_id(ids, vectors.view_mut());
            self.finish(vectors);
        }
        Ok(())
    }

    /// Returns true for keyed noise, on vectors of a role that gets noise.
    fn uses_ids(&self, role: Role) -> bool {
        self.key.is_some() && self.covers(role) && self.sigma > 0.0
    }

    /// Returns true for vectors of a role that gets noise.
    fn assumes_unit_norm(&self, role: Role) -> bool {
        self.covers(role) && self.sigma > 0.0
    }

    fn spec(&self) -> Spec {
        let mut part = Part::new("gaussian").with("sigma", self.sigma);
        if let Some(key) = &self.key {
            part = part.with("key", Value::fingerprint(key.fingerprint()));
        }
        part = match self.role {
            Some(Role::Document) => part.with("on", "documents"),
            Some(Role::Query) => part.with("on", "queries"),
            None => part,
        };
        Spec::from(if self.renormalize { part.with("renormalize", true) } else { part })
    }

    /// Nothing for noise alone: noisy and clean vectors are in the same space. `renormalize` counts, because vectors
    /// that are scaled to norm 1 and vectors that are not rank differently by inner product and by distance.
    fn space(&self) -> Spec {
        if self.renormalize {
            Spec::from(Part::new("gaussian").with("renormalize", true))
        } else {
            Spec::new()
        }
    }

    /// The Gaussian mechanism for fresh noise, normalized afterwards or not. Nothing for keyed noise: equal vectors
    /// get the same noise, so whoever knows one vector's noise knows the other's.
    fn guarantee(&self) -> Guarantee {
        match self.role {
            _ if self.sigma == 0.0 && !self.renormalize => Guarantee::Isometry,
            _ if self.sigma == 0.0 || self.key.is_some() => Guarantee::None,
            None => Guarantee::GaussianMechanism { sigma: self.sigma },
            Some(role) => Guarantee::GaussianMechanismOn { role, sigma: self.sigma },
        }
    }

    /// Returns whether there is a key. It is only in the noise, so there is nothing to undo.
    fn undo_key(&self, _: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        Ok(self.key.is_some())
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        self.key.as_ref()?;
        let noise = KeyedNoise::new(&Key::draw(rng), self.sigma);
        Some(Arc::new(Self { key: Some(Arc::new(noise)), ..self.clone() }))
    }

    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        if self.guarantee() == Guarantee::Isometry {
            return check_finite(&vectors); // no noise at all
        }
        Err(Error::not_invertible(self, "it adds noise, and only the noisy vectors are left"))
    }
}

/// Scales to norm 1; a row of zeros stays one.
fn normalize(mut row: ArrayViewMut1<'_, f32>) {
    let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.mapv_inplace(|x| (f64::from(x) / norm) as f32);
    }
}

impl fmt::Display for GaussianNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

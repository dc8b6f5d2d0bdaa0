//! The defenses of this crate: one line in the table and one function each.

use std::sync::Arc;

use super::{Built, Known, Parameters};
use crate::{
    Dcpe, Error, GaussianNoise, Permutation, ProductQuantization, Quantization, Role, Rotation, Scaling,
};

type Line = (&'static str, &'static [&'static str], fn(&Parameters<'_>) -> Built);

const OURS: [Line; 7] = [
    ("dcpe", &["key", "beta"], dcpe),
    ("gaussian", &["sigma", "key", "on", "renormalize"], gaussian),
    ("permutation", &["key", "dim"], permutation),
    ("product_quantization", &["subspaces", "centroids", "codebook"], product_quantization),
    ("quantization", &["bits", "scale", "dither"], quantization),
    ("rotation", &["key", "dim", "kind"], rotation),
    ("scaling", &["key"], scaling),
];

pub(super) fn all() -> impl Iterator<Item = Known> {
    OURS.into_iter().map(|(name, parameters, build)| Known {
        name: name.to_owned(),
        parameters: parameters.iter().map(|&name| name.to_owned()).collect(),
        build: Arc::new(build),
    })
}

fn dcpe(parameters: &Parameters<'_>) -> Built {
    let beta = parameters.number("beta", "a number")?;
    Ok(Arc::new(Dcpe::new(&parameters.key("key")?, beta)?))
}

fn gaussian(parameters: &Parameters<'_>) -> Built {
    let sigma = parameters.number("sigma", "a number")?;
    let noise = match parameters.find("key") {
        Some(_) => GaussianNoise::keyed(&parameters.key("key")?, sigma)?,
        None => GaussianNoise::new(sigma)?,
    };
    let noise = match parameters.word("on", &["documents", "queries", "both"])? {
        Some("documents") => noise.on(Role::Document),
        Some("queries") => noise.on(Role::Query),
        _ => noise,
    };
    Ok(Arc::new(noise.renormalize(parameters.flag("renormalize")?)))
}

fn permutation(parameters: &Parameters<'_>) -> Built {
    let dim = parameters.number_if_given("dim", "a whole number")?;
    let key = parameters.key("key")?;
    Ok(Arc::new(match dim {
        Some(dim) => Permutation::new(&key, dim)?,
        None => Permutation::deferred(&key),
    }))
}

fn product_quantization(parameters: &Parameters<'_>) -> Built {
    let codebook = parameters.require("codebook")?;
    let Some(path) = parameters.fit_file("codebook")? else {
        return Err(codebook.error("a codebook is named as `file:PATH`"));
    };
    let product = ProductQuantization::load(path)?;
    let (subspaces, centroids, _) = product.codebook().dim();
    for (name, held) in [("subspaces", subspaces), ("centroids", centroids)] {
        if parameters.number_if_given(name, "a whole number")?.is_some_and(|given: usize| given != held) {
            return Err(parameters.error(name, format!("the codebook has {held} {name}")));
        }
    }
    Ok(Arc::new(product))
}

fn quantization(parameters: &Parameters<'_>) -> Built {
    let mut rounding = Quantization::new(parameters.number("bits", "8, 4 or 1")?)?;
    rounding = match parameters.fit_file("scale")? {
        Some(path) => fitted_for(rounding.bits(), Quantization::load(path)?, parameters)?,
        None => match parameters.number_if_given("scale", "a number or `file:PATH`")? {
            Some(scale) => rounding.scale(scale)?,
            None => rounding,
        },
    };
    if parameters.find("dither").is_some() {
        rounding = rounding.dither(&parameters.key("dither")?)?;
    }
    Ok(Arc::new(rounding))
}

/// Scales depend on how many bits they were fitted for.
fn fitted_for(bits: u32, fitted: Quantization, parameters: &Parameters<'_>) -> Result<Quantization, Error> {
    if fitted.bits() == bits {
        Ok(fitted)
    } else {
        Err(parameters.error("scale", format!("the scales were fitted for {} bits", fitted.bits())))
    }
}

fn rotation(parameters: &Parameters<'_>) -> Built {
    let hadamard = parameters.word("kind", &["haar", "hadamard"])? == Some("hadamard");
    let dim = parameters.number_if_given("dim", "a whole number")?;
    let key = parameters.key("key")?;
    Ok(Arc::new(match (dim, hadamard) {
        (Some(dim), false) => Rotation::new(&key, dim)?,
        (Some(dim), true) => Rotation::hadamard(&key, dim)?,
        (None, false) => Rotation::deferred(&key),
        (None, true) => Rotation::deferred_hadamard(&key),
    }))
}

fn scaling(parameters: &Parameters<'_>) -> Built {
    Ok(Arc::new(Scaling::new(&parameters.key("key")?)))
}

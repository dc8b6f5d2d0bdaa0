//! The defenses of this crate: one line in the table and one function each.

use std::sync::Arc;

use super::{Built, Known, Parameters};
use crate::{
    Dcpe, Error, GaussianNoise, Microaggregation, Permutation, Precision, ProductQuantization, Projection,
    Quantization, Rerank, Role, Rotation, Scaling,
};

type Line = (&'static str, &'static [&'static str], fn(&Parameters<'_>) -> Built);

const OURS: [Line; 10] = [
    ("dcpe", &["key", "beta"], dcpe),
    ("gaussian", &["sigma", "key", "on", "renormalize"], gaussian),
    ("microaggregation", &["k", "groups"], microaggregation),
    ("permutation", &["key", "dim"], permutation),
    ("product_quantization", &["subspaces", "centroids", "codebook"], product_quantization),
    ("projection", &["fit", "key", "dims"], projection),
    ("quantization", &["bits", "scale", "dither"], quantization),
    ("rerank", &["candidates", "key", "precision"], rerank),
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

fn microaggregation(parameters: &Parameters<'_>) -> Built {
    let groups = parameters.require("groups")?;
    let Some(path) = parameters.fit_file("groups")? else {
        return Err(groups.error("groups are named as `file:PATH`"));
    };
    let fitted = Microaggregation::load(path)?;
    let held = fitted.size().0;
    if parameters.number_if_given("k", "a whole number")?.is_some_and(|given: usize| given != held) {
        return Err(parameters.error("k", format!("the groups have at least {held} documents")));
    }
    Ok(Arc::new(fitted))
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

fn projection(parameters: &Parameters<'_>) -> Built {
    let dims = parameters.number_if_given("dims", "a whole number")?;
    if let Some(fit) = parameters.find("fit") {
        if parameters.find("key").is_some() {
            return Err(parameters.error("key", "a projection has a `fit` or a `key`, not both"));
        }
        let Some(path) = parameters.fit_file("fit")? else {
            return Err(fit.error("a fit is named as `file:PATH`"));
        };
        let fitted = Projection::load(path)?;
        let Some(dims) = dims else { return Ok(Arc::new(fitted)) };
        let first = fitted.first(dims).map_err(|_| {
            let expected = format!("`dims` should be from 1 to {}, as the fit has", fitted.dims());
            parameters.error("dims", expected)
        });
        return Ok(Arc::new(first?));
    }
    if parameters.find("key").is_none() {
        return Err(parameters.part().error("`projection` needs `fit=file:PATH`, or `key=…` and `dims=…`"));
    }
    let dims = parameters.number("dims", "a whole number")?;
    Ok(Arc::new(Projection::keyed(&parameters.key("key")?, dims)?))
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

fn rerank(parameters: &Parameters<'_>) -> Built {
    let mut rerank = Rerank::new(parameters.number("candidates", "a whole number")?)?;
    if let Some(precision) = parameters.word("precision", &["int8", "f16", "f32"])? {
        rerank = rerank.precision(precision.parse::<Precision>()?);
    }
    if parameters.find("key").is_some() {
        rerank = rerank.key(&parameters.key("key")?);
    }
    Ok(Arc::new(rerank))
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

//! The grammar of specs:
//!
//! ```text
//! spec      = part *("|" part)
//! part      = "none" | name "(" [parameter *("," parameter)] ")"
//! parameter = name "=" value           a value runs to the next "," or ")"
//! ```

use std::str::FromStr;
use std::sync::Arc;

use crate::codes::FIT;
use crate::key::PREFIX;
use crate::{
    Dcpe, Defense, Error, GaussianNoise, Key, Permutation, ProductQuantization, Quantization, Role, Rotation,
    Scaling,
};

type Part = Arc<dyn Defense>;

/// A defense that a spec can name.
struct Known {
    name: &'static str,
    parameters: &'static [&'static str],
    build: fn(&Parameters<'_>) -> Result<Part, Error>,
}

const KNOWN: [Known; 7] = [
    Known { name: "dcpe", parameters: &["key", "beta"], build: dcpe },
    Known { name: "gaussian", parameters: &["sigma", "key", "on", "renormalize"], build: gaussian },
    Known { name: "permutation", parameters: &["key", "dim"], build: permutation },
    Known {
        name: "product_quantization",
        parameters: &["subspaces", "centroids", "codebook"],
        build: product_quantization,
    },
    Known { name: "quantization", parameters: &["bits", "scale", "dither"], build: quantization },
    Known { name: "rotation", parameters: &["key", "dim", "kind"], build: rotation },
    Known { name: "scaling", parameters: &["key"], build: scaling },
];

/// What is fitted on a sample is too long for a spec: what is printed names it, and is not read back.
const NOT_HELD: &str = "this names a fit but does not hold it: give its file as `file:PATH`";

fn gaussian(parameters: &Parameters<'_>) -> Result<Part, Error> {
    let sigma = parameters.number("sigma", "a number")?;
    let noise = match parameters.find("key") {
        Some(_) => GaussianNoise::keyed(sigma, &parameters.key("key")?)?,
        None => GaussianNoise::new(sigma)?,
    };
    let noise = match parameters.find("on").map(|value| (value.text, value)) {
        Some(("documents", _)) => noise.on(Role::Document),
        Some(("queries", _)) => noise.on(Role::Query),
        Some(("both", _)) | None => noise,
        Some((_, value)) => return Err(value.error("`on` should be documents, queries or both")),
    };
    let renormalize =
        parameters.find("renormalize").is_some() && parameters.number("renormalize", "true or false")?;
    Ok(Arc::new(noise.renormalize(renormalize)))
}

fn quantization(parameters: &Parameters<'_>) -> Result<Part, Error> {
    let mut rounding = Quantization::new(parameters.number("bits", "8, 4 or 1")?)?;
    if let Some(scale) = parameters.find("scale") {
        rounding = match scale.file_of_fit()? {
            Some(path) => fitted_for(rounding.bits(), path, scale)?,
            None => rounding.scale(parameters.number("scale", "a number or `file:PATH`")?)?,
        };
    }
    if parameters.find("dither").is_some() {
        rounding = rounding.dither(parameters.key("dither")?)?;
    }
    Ok(Arc::new(rounding))
}

/// Scales depend on how many bits they were fitted for.
fn fitted_for(bits: u32, path: &str, place: Located<'_>) -> Result<Quantization, Error> {
    let fitted = Quantization::load(path)?;
    if fitted.bits() == bits {
        Ok(fitted)
    } else {
        Err(place.error(format!("the scales were fitted for {} bits", fitted.bits())))
    }
}

fn product_quantization(parameters: &Parameters<'_>) -> Result<Part, Error> {
    let codebook = parameters.require("codebook")?;
    let Some(path) = codebook.file_of_fit()? else {
        return Err(codebook.error("a codebook is named as `file:PATH`"));
    };
    let product = ProductQuantization::load(path)?;
    let (subspaces, centroids, _) = product.codebook().dim();
    for (name, held) in [("subspaces", subspaces), ("centroids", centroids)] {
        match parameters.find(name) {
            Some(value) if parameters.number::<usize>(name, "a whole number")? != held => {
                return Err(value.error(format!("the codebook has {held} {name}")));
            }
            _ => {}
        }
    }
    Ok(Arc::new(product))
}

fn rotation(parameters: &Parameters<'_>) -> Result<Part, Error> {
    let hadamard = match parameters.find("kind") {
        None => false,
        Some(kind) => match kind.text {
            "haar" => false,
            "hadamard" => true,
            _ => return Err(kind.error("`kind` should be haar or hadamard")),
        },
    };
    let (key, dim) = parameters.key_and_dim()?;
    Ok(Arc::new(match (dim, hadamard) {
        (Some(dim), false) => Rotation::new(&key, dim)?,
        (Some(dim), true) => Rotation::hadamard(&key, dim)?,
        (None, false) => Rotation::deferred(key),
        (None, true) => Rotation::deferred_hadamard(key),
    }))
}

fn permutation(parameters: &Parameters<'_>) -> Result<Part, Error> {
    let (key, dim) = parameters.key_and_dim()?;
    Ok(Arc::new(match dim {
        Some(dim) => Permutation::new(&key, dim)?,
        None => Permutation::deferred(key),
    }))
}

fn scaling(parameters: &Parameters<'_>) -> Result<Part, Error> {
    Ok(Arc::new(Scaling::new(&parameters.key("key")?)))
}

fn dcpe(parameters: &Parameters<'_>) -> Result<Part, Error> {
    let beta = parameters.number("beta", "a number")?;
    Ok(Arc::new(Dcpe::new(&parameters.key("key")?, beta)?))
}

/// Reads the parts of a spec.
pub(crate) fn parse(spec: &str) -> Result<Vec<Part>, Error> {
    let mut cursor = Cursor { spec, at: 0 };
    let mut parts = Vec::new();
    loop {
        parts.extend(part(&mut cursor)?);
        if !cursor.eat('|') {
            break;
        }
    }
    if cursor.rest().is_empty() { Ok(parts) } else { Err(cursor.error("expected `|` or the end")) }
}

fn part(cursor: &mut Cursor<'_>) -> Result<Option<Part>, Error> {
    let name = cursor.name();
    if name.text == "none" {
        return Ok(None);
    }
    let Some(known) = KNOWN.iter().find(|known| known.name == name.text) else {
        let names: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
        return Err(name.unknown("defense", &names, "; `none` is the empty stack"));
    };
    let parameters = parameters(cursor, known)?;
    (known.build)(&Parameters { of: name, list: parameters }).map(Some)
}

fn parameters<'a>(cursor: &mut Cursor<'a>, known: &Known) -> Result<Vec<(&'a str, Located<'a>)>, Error> {
    let mut list: Vec<(&str, Located<'_>)> = Vec::new();
    if !cursor.eat('(') {
        return Err(cursor.error(format!("expected `(` after `{}`", known.name)));
    }
    if cursor.eat(')') {
        return Ok(list);
    }
    loop {
        let name = cursor.name();
        if !known.parameters.contains(&name.text) {
            let of = format!(" (of `{}`)", known.name);
            return Err(name.unknown("parameter", known.parameters, &of));
        }
        if list.iter().any(|(earlier, _)| *earlier == name.text) {
            return Err(name.error(format!("`{}` is given twice", name.text)));
        }
        if !cursor.eat('=') {
            return Err(cursor.error(format!("expected `=` after `{}`", name.text)));
        }
        list.push((name.text, cursor.value()));
        if cursor.eat(')') {
            return Ok(list);
        }
        if !cursor.eat(',') {
            return Err(cursor.error("expected `,` or `)`"));
        }
    }
}

/// The parameters of one part, names known and none twice.
struct Parameters<'a> {
    of: Located<'a>,
    list: Vec<(&'a str, Located<'a>)>,
}

impl<'a> Parameters<'a> {
    fn find(&self, name: &str) -> Option<Located<'a>> {
        self.list.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn require(&self, name: &str) -> Result<Located<'a>, Error> {
        self.find(name).ok_or_else(|| self.of.error(format!("`{}` needs `{name}=…`", self.of.text)))
    }

    fn number<N: FromStr>(&self, name: &str, expected: &str) -> Result<N, Error> {
        let value = self.require(name)?;
        value.text.parse().map_err(|_| value.error(format!("`{name}` should be {expected}")))
    }

    /// The key, and the dimension where one is given.
    fn key_and_dim(&self) -> Result<(Key, Option<usize>), Error> {
        let dim = self.find("dim").map(|_| self.number("dim", "a whole number")).transpose()?;
        Ok((self.key("key")?, dim))
    }

    /// Reads the key that a value names. No message repeats the value: it may be a key.
    fn key(&self, name: &str) -> Result<Key, Error> {
        let value = self.require(name)?;
        if looks_like_key(value.text) {
            return Err(value.error("a key does not belong in a spec: name it as `env:NAME` or `file:PATH`"));
        }
        match value.text.split_once(':') {
            Some(("env", variable)) => Key::from_env(variable),
            Some(("file", path)) => Key::from_file(path),
            Some(("fingerprint", _)) => Err(value.error(
                "a fingerprint names a key but does not hold it: give the key as `env:NAME` or `file:PATH`",
            )),
            _ => Err(value.error("a key is named as `env:NAME` or `file:PATH`")),
        }
    }
}

fn looks_like_key(value: &str) -> bool {
    let digits = value.rsplit(':').next().unwrap_or(value);
    value.contains(PREFIX) || (digits.len() >= 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Where the reader stands.
struct Cursor<'a> {
    spec: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// What is left, without leading white space.
    fn rest(&mut self) -> &'a str {
        let rest = self.spec[self.at..].trim_start();
        self.at = self.spec.len() - rest.len();
        rest
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len_utf8();
        }
        found
    }

    fn name(&mut self) -> Located<'a> {
        self.take_until(|c| !c.is_ascii_alphanumeric() && c != '_')
    }

    fn value(&mut self) -> Located<'a> {
        self.take_until(|c| c == ',' || c == ')')
    }

    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> Located<'a> {
        let rest = self.rest();
        let text = &rest[..rest.find(stop).unwrap_or(rest.len())];
        let found = Located { spec: self.spec, at: self.at, text: text.trim_end() };
        self.at += text.len();
        found
    }

    fn error(&mut self, message: impl Into<String>) -> Error {
        self.rest();
        Located { spec: self.spec, at: self.at, text: "" }.error(message)
    }
}

/// A piece of the spec and where it stands.
#[derive(Clone, Copy)]
struct Located<'a> {
    spec: &'a str,
    at: usize,
    text: &'a str,
}

impl<'a> Located<'a> {
    /// The path of a file that holds a fit, where this names one.
    fn file_of_fit(self) -> Result<Option<&'a str>, Error> {
        if looks_like_key(self.text) {
            return Err(self.error("a key does not belong in a spec, and not here"));
        }
        if self.text.starts_with(FIT) {
            Err(self.error(NOT_HELD))
        } else {
            Ok(self.text.strip_prefix("file:"))
        }
    }

    fn error(self, message: impl Into<String>) -> Error {
        Error::Spec { position: self.spec[..self.at].chars().count() + 1, message: message.into() }
    }

    fn unknown(self, kind: &str, known: &[&str], more: &str) -> Error {
        let known = known.join(", ");
        // A long word is not repeated: it may be a key in the wrong place.
        self.error(match self.text {
            "" => format!("expected a {kind}: known are {known}{more}"),
            word if word.len() > 24 => format!("unknown {kind}; known are {known}{more}"),
            word => format!("unknown {kind} `{word}`; known are {known}{more}"),
        })
    }
}

//! A user's own command: it does all that `embosk` does, and adds a defense, an adversary and a metric.
//!
//! ```text
//! cargo run --release --features cli --example own_command -- \
//!     evaluate --attack none --corpus records:500 --defense "reversal(scale=2) | gaussian(sigma=0.1)"
//! ```

use std::fmt;
use std::process::ExitCode;

use embosk::cli::Program;
use embosk::defenses::spec::Part;
use embosk::defenses::{self, check_finite};
use embosk::evaluate::adversaries::{
    self, Adversary, Argument, Knowledge, Mapped, NamedAdversary, Needs, Restored,
};
use embosk::evaluate::{Metric, adversaries::KnownDefense};
use embosk::{Defense, Error, Guarantee, Registry, Rng, Role, Spec};
use ndarray::{Array2, ArrayViewMut2, s};

fn main() -> ExitCode {
    match program() {
        Ok(program) => program.main(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns the command, with the names that it knows besides ours.
fn program() -> Result<Program, defenses::Error> {
    let mut defenses = Registry::default();
    defenses.register("reversal", &["scale"], |parameters| {
        let scale: f32 = parameters.number("scale", "a number above 0")?;
        if scale > 0.0 && scale.is_finite() {
            Ok(Reversal { scale })
        } else {
            Err(parameters.error("scale", "`scale` should be a number above 0"))
        }
    })?;
    let adversaries = adversaries::Registry::default().with::<Reversing>();
    Ok(Program::new().defenses(defenses).adversaries(adversaries).metric(same_length()))
}

/// The share of outputs that are as long as their text.
fn same_length() -> Metric {
    Metric::mean("same_length", |pair| {
        Some(f64::from(u8::from(pair.output.chars().count() == pair.truth.chars().count())))
    })
}

/// Reverses the order of coordinates and multiplies them. A toy: it keeps no secret.
#[derive(Debug)]
struct Reversal {
    scale: f32,
}

impl Defense for Reversal {
    fn protect(
        &self,
        _: Role,
        mut vectors: ArrayViewMut2<'_, f32>,
        _: &mut Rng,
    ) -> Result<(), defenses::Error> {
        check_finite(&vectors)?;
        let reversed = vectors.slice(s![.., ..;-1]).mapv(|value| value * self.scale);
        vectors.assign(&reversed);
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn spec(&self) -> Spec {
        Part::new("reversal").with("scale", self.scale).into()
    }
}

impl fmt::Display for Reversal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

/// Reads the coordinates from the last to the first.
#[derive(Debug)]
struct Reversing;

impl Adversary for Reversing {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        let attacked: Array2<f32> = knowledge.attacked()?;
        Ok(Restored::same(Mapped::by("reversed", attacked.slice(s![.., ..;-1]).to_owned())))
    }

    fn can_gain(&self, _: &KnownDefense<'_>) -> Result<bool, Error> {
        Ok(true)
    }
}

impl fmt::Display for Reversing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reversing")
    }
}

impl NamedAdversary for Reversing {
    const NAME: &'static str = "reversing";
    const USAGE: &'static str = "reversing";
    const SUMMARY: &'static str = "reads the coordinates from the last to the first";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.nothing().map(|()| Self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use ndarray::array;
    use ndarray_npy::{read_npy, write_npy};

    use super::*;

    /// Runs the command in this process; the arguments are separated by white space, and `DIR` is the folder.
    fn run(folder: &tempfile::TempDir, line: &str) -> ExitCode {
        let path = folder.path().display().to_string();
        let words = std::iter::once("own_command").chain(line.split_whitespace());
        program().unwrap().run(words.map(|word| word.replace("DIR", &path)))
    }

    #[test]
    fn every_verb_knows_the_names_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let clean = folder.path().join("clean.npy");
        write_npy(&clean, &array![[1.0_f32, 2.0, 3.0]]).unwrap();
        let protect = "protect --quiet --role document --defense reversal(scale=2) DIR/clean.npy DIR/out.npy";
        assert_eq!(run(&folder, protect), ExitCode::SUCCESS);
        let protected: Array2<f32> = read_npy(folder.path().join("out.npy")).unwrap();
        assert_eq!(protected, array![[6.0, 4.0, 2.0]]);

        let evaluate = "evaluate --quiet --attack none --corpus records:200 --samples 20 --cache DIR/cache \
                        --defense reversal(scale=2) --format json --output DIR/report.json";
        assert_eq!(run(&folder, evaluate), ExitCode::SUCCESS);
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
        assert_eq!(report["rows"][0]["defense"], "reversal(scale=2)");

        // both are known before anything is loaded
        for refused in ["--adversary nobody", "--adversary reversing(3)", "--defense reversal(scale=0)"] {
            assert_eq!(run(&folder, &format!("evaluate {refused}")), ExitCode::from(2), "{refused}");
        }
    }
}

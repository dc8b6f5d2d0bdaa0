//! What the attack of `retrained` was trained on, and whether that is what it is run on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::error::CliError;
use super::models;
use super::terminal::Terminal;
use crate::attacks::vec2text::shipped;
use crate::defenses::Spec;
use crate::evaluate::Adversary;
use crate::evaluate::adversaries::TrainedOn;
use crate::models::Location;
use crate::{Defense, Stack};

/// For each model of the attack, the stacks that it was trained on, as its `manifest.json` names them; `None` if
/// there is no such file.
pub(super) fn trained_on(
    name: &str,
    terminal: Terminal,
) -> Result<BTreeMap<&'static str, Vec<String>>, CliError> {
    let parts = match (Path::new(name), models::two(name)) {
        (path, _) if path.is_dir() => ["inverter", "corrector"].map(|part| Location::from(path).join(part)),
        (_, Some((inverter, corrector))) => {
            let folder = |name, part| models::folder(name, part, terminal);
            [folder(inverter, "inverter")?, folder(corrector, "corrector")?]
        }
        _ => {
            let folder = shipped(name)?;
            ["inverter", "corrector"].map(|part| folder.join(part))
        }
    };
    let named = ["inverter", "corrector"].into_iter().zip(parts);
    Ok(named.filter_map(|(part, model)| Some((part, read(&model)?))).collect())
}

fn read(model: &Location) -> Option<Vec<String>> {
    let manifest: Value = serde_json::from_slice(&model.join("manifest.json").read().ok()?).ok()?;
    let stacks = manifest["settings"]["defenses"].as_array()?;
    Some(stacks.iter().filter_map(|stack| stack.as_str().map(str::to_owned)).collect())
}

/// A warning about stacks that the attack was not trained on, though `adversaries` run it on them. A stack under
/// another key counts as the same: nobody could train on the right key.
pub(super) fn warning(
    trained_on: &BTreeMap<&'static str, Vec<String>>,
    adversaries: &[Arc<dyn Adversary>],
    stacks: &[Stack],
) -> Option<String> {
    if trained_on.is_empty() {
        return Some("warning: the retrained attack does not say which defenses it was trained on".into());
    }
    let of_each = trained_on.iter().filter_map(|(model, on)| warning_of(model, on, adversaries, stacks));
    let warnings: Vec<String> = of_each.collect();
    (!warnings.is_empty()).then(|| warnings.join("\n"))
}

/// The same for the inverter or the corrector.
fn warning_of(
    model: &str,
    trained_on: &[String],
    adversaries: &[Arc<dyn Adversary>],
    stacks: &[Stack],
) -> Option<String> {
    let read = |spec: &String| spec.parse::<Spec>().ok().map(|spec| spec.without_keys());
    let known: Vec<Spec> = trained_on.iter().filter_map(read).collect();
    let seen = |stack: &Stack, adversary: &Arc<dyn Adversary>| {
        let stack = stack.spec().without_keys();
        let is_undone = adversary.needs().attack == TrainedOn::KeyUndone;
        let left = if is_undone { without_maps(&stack) } else { stack };
        left.is_empty() || known.contains(&left)
    };
    let unseen = stacks.iter().filter(|stack| adversaries.iter().any(|adversary| !seen(stack, adversary)));
    let unseen: Vec<String> = unseen.map(ToString::to_string).collect();
    let known = if trained_on.is_empty() { "undefended vectors".into() } else { trained_on.join(", ") };
    (!unseen.is_empty()).then(|| {
        format!("warning: the retrained {model} was trained on {known}, and not on {}", unseen.join(", "))
    })
}

/// The spec without what pairs and clouds undo.
fn without_maps(spec: &Spec) -> Spec {
    let is_undone = |name: &str| ["rotation", "permutation", "scaling"].contains(&name);
    spec.parts().iter().filter(|part| !is_undone(part.name())).cloned().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::evaluate::adversaries::{Leaked, Retrained};
    use crate::{GaussianNoise, Key, Rotation};

    use super::*;

    #[test]
    fn stacks_that_the_attack_was_not_trained_on_are_named() {
        let noise = |sigma| GaussianNoise::new(sigma).unwrap();
        let turned = |key| Stack::new().with(Rotation::new(&Key::from_bytes([key; 32]), 8).unwrap());
        let stacks = [Stack::new(), Stack::new().with(noise(0.1)), turned(1).with(noise(0.1))];
        let [alone, after] = [Retrained::new(), Retrained::after(Leaked(9))]
            .map(|adversary| -> [Arc<dyn Adversary>; 1] { [Arc::new(adversary)] });
        let warned = |trained: &[String], adversaries: &[Arc<dyn Adversary>]| {
            warning(&BTreeMap::from([("inverter", trained.to_vec())]), adversaries, &stacks)
                .unwrap_or_default()
        };
        let on_noise = ["none".to_owned(), "gaussian(sigma=0.1)".to_owned()];
        let warning_of = warned(&on_noise, &alone);
        assert!(warning_of.ends_with(&format!("not on {}", stacks[2])), "{warning_of}");
        assert_eq!(warned(&on_noise, &after), "");
        // keyed noise is no fresh noise
        let keyed = Stack::new().with(GaussianNoise::keyed(&Key::from_bytes([1; 32]), 0.1).unwrap());
        let on_fresh = BTreeMap::from([("inverter", on_noise.to_vec())]);
        assert!(warning(&on_fresh, &after, &[keyed]).is_some());
        // another key, and nobody has the right one
        let on_both = [on_noise[1].clone(), turned(2).with(noise(0.1)).to_string()];
        assert_eq!(warned(&on_both, &alone), "");
        assert!(
            warned(&[], &after).contains("trained on undefended vectors, and not on gaussian(sigma=0.1), ")
        );
        assert!(warning(&BTreeMap::new(), &after, &stacks).unwrap().contains("does not say"));
    }
}

//! Embedders distilled from made-up vectors.

use super::*;

fn distilling(steps: usize) -> Settings {
    let preset = Preset { encoder_layers: 2, vocabulary: 300, ..PRESET };
    Settings { preset, learning_rate: 3e-3, checkpoint_every: Duration::ZERO, ..settings(steps) }
}

fn pair(from: usize, count: usize) -> Examples {
    Examples { hypotheses: None, ..examples(from, count) }
}

/// Losses step by step, and at each look at the held-out texts the loss and the mean cosine to the teacher.
#[derive(Default)]
struct Heard {
    losses: BTreeMap<usize, f32>,
    looks: Vec<(f32, f32)>,
}

fn distil(settings: &Settings, out: &Path, kill: Option<usize>) -> Result<Heard, Error> {
    let (held_out, mut heard) = (pair(60, 12), Heard::default());
    embedder(settings, &pair(0, 60), &held_out, out, &mut |event| match event {
        Event::Step { step, .. } if kill == Some(step) => std::panic::panic_any("killed"),
        Event::Step { step, loss, .. } => drop(heard.losses.insert(step, loss)),
        Event::HeldOut { loss, outputs: Outputs::Vectors(vectors), .. } => {
            let cosines = (vectors * &held_out.vectors).sum_axis(ndarray::Axis(1));
            assert!(vectors.rows().into_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-4));
            heard.looks.push((loss, cosines.mean().unwrap()));
        }
        Event::HeldOut { .. } => panic!("an embedder writes no texts"),
        _ => {}
    })?;
    Ok(heard)
}

#[test]
fn an_embedder_comes_nearer_to_its_teacher() {
    let place = tempfile::tempdir().unwrap();
    let settings = Settings { held_out_every: 20, ..distilling(60) };
    let heard = distil(&settings, place.path(), None).unwrap();
    assert!(heard.losses[&60] < 0.7 * heard.losses[&1], "{:?}", heard.losses);
    let (first, last) = (heard.looks[0], heard.looks[2]);
    assert!(last.0 < first.0 && last.1 > first.1, "{:?}", heard.looks);
    for (loss, cosine) in heard.looks {
        assert!((1.0 - cosine - loss).abs() < 1e-4, "the loss is 1 less the cosine");
    }
}

#[test]
fn an_embedder_that_was_killed_goes_on_as_one_that_was_not() {
    let place = tempfile::tempdir().unwrap();
    let straight = Settings { patience: Some(9), held_out_every: 5, ..distilling(14) };
    let whole = distil(&straight, &place.path().join("whole"), None).unwrap();
    for kill in [2, 9, 13] {
        let out = place.path().join(format!("killed-{kill}"));
        let run = || distil(&straight, &out, Some(kill)).map(|_| ());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        let rest = distil(&Settings { resume: true, ..straight.clone() }, &out, None).unwrap();
        assert!(rest.losses.len() > 14 - kill && rest.losses.contains_key(&14));
        for (step, loss) in rest.losses {
            assert_eq!(loss.to_bits(), whole.losses[&step].to_bits(), "step {step} after a kill at {kill}");
        }
    }
    let weights = |out: &str, file: &str| fs::read(place.path().join(out).join(file)).unwrap();
    for file in ["model.safetensors", "2_Dense/model.safetensors", "tokenizer.json"] {
        assert!(weights("whole", file) == weights("killed-9", file), "{file}");
    }
    let other = Preset { vocabulary: 290, ..Preset::EMBEDDER };
    let other = Settings { resume: true, preset: other, ..straight };
    assert!(distil(&other, &place.path().join("whole"), None).is_err());
}

/// Parts of a batch are added up, so that memory does not grow with the batch.
#[test]
fn the_loss_is_a_mean_over_texts() {
    let place = tempfile::tempdir().unwrap();
    let of = |micro_batch: usize| {
        let settings = Settings { micro_batch, ..distilling(4) };
        distil(&settings, &place.path().join(micro_batch.to_string()), None).unwrap().losses
    };
    let (whole, parts) = (of(8), of(3));
    for (step, loss) in whole {
        assert!((0.0..=2.0).contains(&loss) && (loss - parts[&step]).abs() < 1e-4, "step {step}");
    }
}

#[test]
fn what_no_embedder_can_be_made_of_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let refused = |settings: &Settings, examples: &Examples, held_out: &Examples| {
        let out = place.path().join("never");
        let error = embedder(settings, examples, held_out, &out, &mut |_| {}).unwrap_err();
        assert!(!out.exists());
        error.to_string()
    };
    let good = pair(0, 20);
    let narrow = Examples { vectors: Array2::ones((20, 3)), ..good.clone() };
    let settings = distilling(2);
    assert!(refused(&settings, &good, &narrow).contains('3'));
    let begun = Settings { init: Some("nowhere".into()), ..settings.clone() };
    assert!(refused(&begun, &good, &good).contains("nowhere"));
    let smooth = Settings { label_smoothing: 0.1, ..settings.clone() };
    assert!(refused(&smooth, &good, &good).contains("smoothed"));
    let in_8_bits = Settings { stored: Stored::Q8, ..settings.clone() };
    assert!(refused(&in_8_bits, &good, &good).contains("16 bits"));
    let few = Examples { vectors: Array2::ones((19, DIM)), ..good.clone() };
    assert!(refused(&settings, &few, &good).contains("19 vectors"));

    distil(&settings, &place.path().join("taken"), None).unwrap();
    let again = distil(&settings, &place.path().join("taken"), None).err().unwrap();
    assert!(again.to_string().contains("a trained model is here already"));
}

/// What was learned before is where a new training begins, and an embedder of another shape is refused.
#[test]
fn a_training_begins_with_a_former_embedder() {
    let place = tempfile::tempdir().unwrap();
    let before = place.path().join("before");
    let first = distil(&distilling(14), &before, None).unwrap().losses;
    let begun = Settings { init: Some(before.clone().into()), ..distilling(3) };
    let after = place.path().join("after");
    let losses = distil(&begun, &after, None).unwrap().losses;
    assert!(losses[&1] < 0.9 * first[&1], "{} {}", losses[&1], first[&1]);
    assert!(
        fs::read(before.join("tokenizer.json")).unwrap() == fs::read(after.join("tokenizer.json")).unwrap()
    );
    let wide = Preset { feed_forward: 2 * begun.preset.feed_forward, ..begun.preset };
    let error = distil(&Settings { preset: wide, ..begun }, &place.path().join("wide"), None).err().unwrap();
    assert!(error.to_string().contains("a new embedder's"), "{error}");
}

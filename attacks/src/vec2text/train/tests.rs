//! Training as a whole, on made-up texts and vectors: what each setting does, and resuming.

mod embedder;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use embosk_models::weights::Stored;
use ndarray::Array2;
use tempfile::TempDir;

use super::*;
use crate::alignment::SpaceMap;
use crate::vec2text::Vec2Text;
use crate::vec2text::config::Preset;
use crate::vec2text::{TRAINING_TEXTS, TrainingTexts};
use crate::{Attack, Resources};

const PRESET: Preset = Preset {
    name: "test",
    width: 16,
    feed_forward: 24,
    heads: 2,
    encoder_layers: 1,
    decoder_layers: 1,
    pseudo_tokens: 2,
    vocabulary: 60,
    max_length: 8,
};
const DIM: usize = 12;

/// An [`Embed`] whose vectors are similar if texts share words.
#[allow(clippy::unnecessary_wraps)]
fn embed(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), DIM));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for (place, word) in text.split_whitespace().enumerate() {
            let hash =
                word.bytes().fold(7usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
            row[hash % DIM] += 1.0;
            row[(hash / DIM + place) % DIM] -= 0.5;
        }
        let norm = row.dot(&row).sqrt().max(1e-6);
        row /= norm;
    }
    Ok(vectors)
}

fn texts(from: usize, count: usize) -> Vec<String> {
    let (who, what) = (["ann", "bob", "cy", "dee", "eve"], ["pays", "owes", "gets", "lost"]);
    let text = |n: usize| format!("{} {} {} {}", who[n % 5], what[n / 5 % 4], n % 7, who[n / 3 % 5]);
    (from..from + count).map(text).collect()
}

/// Hypotheses that are right for every fourth text.
fn examples(from: usize, count: usize) -> Examples {
    let texts = texts(from, count);
    let guess = |(at, text): (usize, &String)| {
        if at % 4 == 0 { text.clone() } else { text.replace("pays", "owes").replace("ann", "bob") + " 0" }
    };
    let hypotheses: Vec<String> = texts.iter().enumerate().map(guess).collect();
    let vectors = |texts: &[String]| embed(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    Examples { vectors: vectors(&texts), hypotheses: Some((hypotheses.clone(), vectors(&hypotheses))), texts }
}

fn settings(steps: usize) -> Settings {
    Settings {
        preset: PRESET,
        length: TrainingLength::Steps(steps),
        batch: 8,
        micro_batch: 4,
        warm_up: 2,
        held_out_every: 1000,
        checkpoint_every: Duration::from_hours(1),
        ..Settings::default()
    }
}

#[derive(Default)]
struct Told {
    losses: BTreeMap<usize, f32>,
    held_out: Vec<(usize, f32)>,
    refreshed: Vec<(usize, usize, usize)>,
}

impl Told {
    fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { step, loss, .. } => drop(self.losses.insert(*step, *loss)),
            Event::HeldOut { step, loss, .. } => self.held_out.push((*step, *loss)),
            Event::Refreshed { step, examples, own } => self.refreshed.push((*step, *examples, *own)),
            Event::Saved { .. } => {}
        }
    }
}

fn an_inverter(place: &Path) {
    let settings = settings(30);
    inverter(&settings, &examples(0, 60), &examples(60, 10), &place.join("inverter"), &mut |_| {}).unwrap();
}

fn correct(settings: &Settings, place: &Path, out: &str) -> Result<(Told, Trained), Error> {
    let mut told = Told::default();
    let (inverter, out) = (place.join("inverter"), place.join(out));
    let outcome = corrector(
        settings,
        &inverter,
        &examples(0, 60),
        &examples(60, 10),
        Some(&embed),
        &out,
        &mut |event| told.hear(&event),
    )?;
    Ok((told, outcome))
}

fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    an_inverter(place.path());
    place
}

#[test]
fn right_hypotheses_are_left_out_and_later_ones_come_in_rounds() {
    let place = place();
    let (told, _) = correct(&settings(8), place.path(), "one").unwrap();
    assert_eq!(told.refreshed, [(0, 45, 0)], "15 of 60 hypotheses are right");

    let several = Settings { depths: 3, refresh_every: 4, ..settings(18) };
    let folder = place.path().join("several");
    let others = ["round-0.safetensors", "round-01.safetensors"];
    fs::create_dir(&folder).unwrap();
    for name in others {
        fs::write(folder.join(name), "someone's").unwrap();
    }
    let (told, _) = correct(&several, place.path(), "several").unwrap();
    let steps: Vec<usize> = told.refreshed.iter().map(|it| it.0).collect();
    assert_eq!(steps, [0, 4, 8, 12, 16]);
    assert_eq!((told.refreshed[0].2, told.refreshed[1].2), (0, 0), "the inverter's");
    for (_, examples, own) in &told.refreshed[2..] {
        assert!(*own > 3 && own < examples && *examples <= 32, "{:?}", told.refreshed);
    }
    let files = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = files.filter(|name| name.contains("round")).collect();
    left.sort();
    assert_eq!(left, others, "the weights of rounds go, and nothing else");
}

/// What a kill leaves: the folder as it was after some step.
fn killed_after(settings: &Settings, place: &Path, out: &str, kill: usize) {
    struct Killed;
    let (inverter, out) = (place.join("inverter"), place.join(out));
    let run = || {
        let _ = corrector(
            settings,
            &inverter,
            &examples(0, 60),
            &examples(60, 10),
            Some(&embed),
            &out,
            &mut |event| {
                if matches!(event, Event::Step { step, .. } if step == kill) {
                    std::panic::panic_any(Killed);
                }
            },
        );
    };
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(killed.is_err(), "it was over before step {kill}");
}

#[test]
fn a_run_that_was_killed_in_any_round_goes_on_as_one_that_was_not() {
    let place = place();
    let straight = Settings {
        depths: 3,
        refresh_every: 4,
        checkpoint_every: Duration::ZERO,
        label_smoothing: 0.1,
        schedule: Schedule::Linear,
        ..settings(18)
    };
    let (whole, _) = correct(&straight, place.path(), "whole").unwrap();
    for kill in [2, 4, 8, 9, 11, 17] {
        let out = format!("killed-{kill}");
        killed_after(&straight, place.path(), &out, kill);
        let resumed = Settings { resume: true, ..straight.clone() };
        let (rest, outcome) = correct(&resumed, place.path(), &out).unwrap();
        assert_eq!(outcome.steps, 18);
        assert!(rest.losses.len() >= 18 - kill);
        for (step, loss) in rest.losses {
            assert_eq!(loss.to_bits(), whole.losses[&step].to_bits(), "step {step} after a kill at {kill}");
        }
    }
    let other = Settings { resume: true, depths: 2, ..straight };
    assert!(correct(&other, place.path(), "killed-2").is_err());
}

#[test]
fn a_model_that_a_kill_left_unwritten_is_written_on_resuming() {
    let place = place();
    for patience in [None, Some(9)] {
        let straight = Settings { patience, ..settings(6) };
        let out = format!("patience {patience:?}");
        correct(&straight, place.path(), &out).unwrap();
        let model = place.path().join(&out).join("model.safetensors");
        let whole = fs::read(&model).unwrap();
        fs::remove_file(&model).unwrap();
        correct(&Settings { resume: true, ..straight }, place.path(), &out).unwrap();
        assert!(fs::read(&model).unwrap() == whole, "{out}");
    }
}

#[test]
fn what_a_kill_left_half_written_is_removed_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("inverter");
    fs::create_dir(&out).unwrap();
    let [left, other] = [".embosk-abcdefABCDEF.part", "notes.part"].map(|name| out.join(name));
    for path in [&left, &other] {
        let file = fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_mins(2)).unwrap();
    }
    an_inverter(place.path());
    assert!(!left.exists() && other.exists());
}

/// A model in 8 bits has half the size and nearly the same weights, and inverts like any other.
#[test]
fn a_model_in_8_bits_is_near_the_one_in_16_and_inverts() {
    let place = tempfile::tempdir().unwrap();
    let wide = Preset { width: 64, feed_forward: 96, ..PRESET };
    let (given, held_out) = (examples(0, 60), examples(60, 10));
    let train = |stored| {
        let place = place.path().join(format!("{stored:?}"));
        let settings = Settings { preset: wide, stored, ..settings(60) };
        inverter(&settings, &given, &held_out, &place.join("inverter"), &mut |_| {}).unwrap();
        let (from, to) = (place.join("inverter"), place.join("corrector"));
        corrector(&settings, &from, &given, &held_out, Some(&embed), &to, &mut |_| {}).unwrap();
        place
    };
    let (full, small) = (train(Stored::F16), train(Stored::Q8));
    let size = |place: &Path| fs::metadata(place.join("inverter/model.safetensors")).unwrap().len() as f64;
    assert!(size(&small) < 0.65 * size(&full), "{} of {}", size(&small), size(&full));
    let read = |place: &Path| Checkpoint::read(place.join("inverter"), &Device::Cpu).unwrap().tensors;
    let near = read(&small);
    for (name, exact) in read(&full) {
        let far = (&exact - &near[&name]).unwrap().abs().unwrap().flatten_all().unwrap();
        let most = exact.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        let far = far.max(0).unwrap().to_scalar::<f32>().unwrap();
        // half a step of 8 bits, and half one of the 16 that it is compared with
        assert!(far <= most / 254.0 * (1.0 + 1.0 / 1024.0) + most / 2048.0, "{name}: {far} of {most}");
    }
    let cosine = |place: &Path| {
        let attack = Vec2Text::load(place).unwrap().steps(2).beam_width(2).local_queries(0);
        let inversions = attack.invert(held_out.vectors.view(), &Resources::new(&embed)).unwrap();
        inversions.iter().map(|inversion| inversion.cosine).sum::<f32>() / inversions.len() as f32
    };
    let (full, small) = (cosine(&full), cosine(&small));
    assert!(small > 0.4 && (small - full).abs() < 0.1, "{small} in 8 bits, {full} in 16");

    // how it is stored is no part of the course
    let straight = Settings { checkpoint_every: Duration::ZERO, ..settings(6) };
    an_inverter(place.path());
    correct(&straight, place.path(), "straight").unwrap();
    killed_after(&Settings { stored: Stored::Q8, ..straight.clone() }, place.path(), "killed", 3);
    correct(&Settings { resume: true, ..straight }, place.path(), "killed").unwrap();
    let bytes = |out: &str| fs::read(place.path().join(out).join("model.safetensors")).unwrap();
    assert_eq!(bytes("straight"), bytes("killed"));
}

#[test]
fn parts_of_a_batch_are_added_up() {
    let place = place();
    let whole = correct(&Settings { micro_batch: 8, ..settings(6) }, place.path(), "whole").unwrap().0;
    let parts = correct(&Settings { micro_batch: 3, ..settings(6) }, place.path(), "parts").unwrap().0;
    for (step, loss) in whole.losses {
        assert!((loss - parts.losses[&step]).abs() < 1e-4, "step {step}");
    }
}

#[test]
fn each_setting_changes_the_course() {
    let place = place();
    let usual = correct(&settings(6), place.path(), "usual").unwrap().0.losses;
    for (name, other) in [
        ("linear", Settings { schedule: Schedule::Linear, ..settings(6) }),
        ("warm-up", Settings { warm_up: 5, ..settings(6) }),
        ("clip", Settings { clip: 1e-7, ..settings(6) }),
        ("smoothing", Settings { label_smoothing: 0.2, ..settings(6) }),
    ] {
        let losses = correct(&other, place.path(), name).unwrap().0.losses;
        assert!((losses[&6] - usual[&6]).abs() > 1e-6, "{name}");
    }
}

#[test]
fn training_stops_when_held_out_texts_gain_nothing_and_keeps_the_best() {
    let place = place();
    let patient = Settings { patience: Some(2), held_out_every: 3, learning_rate: 0.3, ..settings(300) };
    let (told, outcome) = correct(&patient, place.path(), "early").unwrap();
    assert!(outcome.steps < 300, "no such rate is any good");
    let best = told.held_out.iter().map(|(_, loss)| *loss).fold(f32::INFINITY, f32::min);
    let last: Vec<f32> = told.held_out.iter().rev().take(2).map(|(_, loss)| *loss).collect();
    assert!(last.iter().all(|loss| *loss > best), "{:?}", told.held_out);
    // the model in the folder is the best one: begin with it, and be as good
    let again = Settings {
        init: Some(place.path().join("early").into()),
        held_out_every: 1,
        learning_rate: 1e-12,
        ..settings(1)
    };
    let (told, _) = correct(&again, place.path(), "again").unwrap();
    assert!((told.held_out[0].1 - best).abs() < 0.02, "{:?} is not {best}", told.held_out);

    let resumed = Settings { resume: true, ..patient };
    assert_eq!(correct(&resumed, place.path(), "early").unwrap().1.steps, outcome.steps, "it is over");
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let place = place();
    let calls = AtomicUsize::new(0);
    let mut right = examples(0, 20);
    right.hypotheses = Some((right.texts.clone(), right.vectors.clone()));
    let train = |settings: &Settings, examples: &Examples, embed: &Embed<'_>, out: &str| {
        let (inverter, out) = (place.path().join("inverter"), place.path().join(out));
        corrector(settings, &inverter, examples, examples, Some(embed), &out, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert!(train(&settings(2), &right, &embed, "right").contains("wrong"));
    let failing = |_: &[&str]| -> Result<Array2<f32>, BoxError> {
        calls.fetch_add(1, Ordering::Relaxed);
        Err("no".into())
    };
    let several = Settings { depths: 2, refresh_every: 2, ..settings(9) };
    assert!(train(&several, &examples(0, 60), &failing, "failing").contains("embedding function failed"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let narrow = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::zeros((texts.len(), 2))) };
    assert!(train(&several, &examples(0, 60), &narrow, "narrow").contains("dimensions"));
}

/// It takes a Hugging Face T5's weights and tokenizer, and draws a transform.
#[test]
fn training_begins_with_a_language_model_alone() {
    let place = place();
    let t5 = place.path().join("t5");
    fs::create_dir(&t5).unwrap();
    let from = place.path().join("inverter");
    fs::copy(from.join("tokenizer.json"), t5.join("tokenizer.json")).unwrap();
    fs::write(t5.join("config.json"), r#"{"model_type": "t5", "d_model": 16, "decoder_start_token_id": 0}"#)
        .unwrap();
    let tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu)
            .unwrap()
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("encoder_decoder.")?.to_owned(), tensor)))
            .collect();
    candle_core::safetensors::save(&tensors, t5.join("model.safetensors")).unwrap();

    let out = place.path().join("begun");
    let begun = Settings { init: Some(t5.clone().into()), ..settings(1) };
    inverter(&begun, &examples(0, 60), &examples(60, 10), &out, &mut |_| {}).unwrap();
    let config = fs::read_to_string(out.join("config.json")).unwrap();
    assert!(config.contains(r#""model_name_or_path": "t5""#), "{config}");
    assert_eq!(fs::read(out.join("tokenizer.json")).unwrap(), fs::read(t5.join("tokenizer.json")).unwrap());
    let made = candle_core::safetensors::load(out.join("model.safetensors"), &Device::Cpu).unwrap();
    let (shared, of_t5) = (&made["encoder_decoder.shared.weight"], &tensors["shared.weight"]);
    let moved = (shared - of_t5).unwrap().to_dtype(DType::F32).unwrap();
    let moved = moved.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(moved < 0.01, "one step from T5's weights, not {moved}");
    assert_eq!(made["embedding_transform.3.weight"].dims(), [2 * 16, DIM]);
    let corrected = correct(&begun, place.path(), "corrector").unwrap();
    assert_eq!(corrected.1.steps, 1);
}

#[test]
fn a_folder_lists_what_its_model_was_trained_on() {
    let place = place();
    let read = |out: &str| TrainingTexts::read(place.path().join(out)).unwrap().unwrap();
    let of_inverter = read("inverter");
    // the texts repeat after 420
    assert!(of_inverter.is_complete() && texts(0, 60).iter().all(|text| of_inverter.contains(text)));
    assert!(texts(60, 10).iter().all(|text| of_inverter.is_held_out(text) && !of_inverter.contains(text)));

    // a corrector begins with its inverter, and a further inverter with the one before
    correct(&settings(1), place.path(), "corrector").unwrap();
    assert_eq!(read("corrector"), of_inverter);
    let attack = Vec2Text::load(place.path()).unwrap();
    let known = |text: &str| attack.trained_on(text);
    assert_eq!((known(&texts(0, 1)[0].to_uppercase()), known("another text")), (Some(true), Some(false)));
    let begun = Settings { init: Some(place.path().join("inverter").into()), ..settings(1) };
    inverter(&begun, &examples(70, 30), &examples(60, 10), &place.path().join("further"), &mut |_| {})
        .unwrap();
    let further = read("further");
    assert!(texts(0, 60).iter().chain(&texts(70, 30)).all(|text| further.contains(text)));

    // without the list of one model, other texts may have been trained on
    fs::remove_file(place.path().join("corrector").join(TRAINING_TEXTS)).unwrap();
    let attack = Vec2Text::load(place.path()).unwrap();
    assert_eq!((attack.trained_on(&texts(0, 1)[0]), attack.trained_on("another text")), (Some(true), None));
}

/// As [`examples`], with vectors of another dimension.
fn wider(from: usize, count: usize) -> Examples {
    let Examples { texts, vectors, hypotheses } = examples(from, count);
    let wider = |narrow: Array2<f32>| ndarray::concatenate![ndarray::Axis(1), narrow, narrow];
    Examples { texts, vectors: wider(vectors), hypotheses: hypotheses.map(|(texts, it)| (texts, wider(it))) }
}

#[test]
fn training_begins_with_a_model_for_vectors_of_another_dimension() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    correct(&settings(1), place.path(), "corrector").unwrap();
    let tensors = |name: &str| {
        candle_core::safetensors::load(path(name).join("model.safetensors"), &Device::Cpu).unwrap()
    };
    let moved = |a: &Tensor, b: &Tensor| {
        let far = (a.to_dtype(DType::F32).unwrap() - b.to_dtype(DType::F32).unwrap()).unwrap();
        far.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    };
    let begun = |model: &str| Settings { init: Some(path(model).into()), max_length: Some(6), ..settings(1) };
    let (given, held_out) = (wider(0, 60), wider(60, 10));
    inverter(&begun("inverter"), &given, &held_out, &path("wide"), &mut |_| {}).unwrap();
    corrector(
        &begun("corrector"),
        path("wide"),
        &given,
        &held_out,
        None,
        &path("wide-corrector"),
        &mut |_| {},
    )
    .unwrap();
    for (before, after, transform) in [
        ("inverter", "wide", "embedding_transform"),
        ("corrector", "wide-corrector", "embedding_transform_2"),
    ] {
        let (before, after) = (tensors(before), tensors(after));
        let word = "encoder_decoder.shared.weight";
        assert!(moved(&before[word], &after[word]) < 0.01, "the language model is kept");
        assert_eq!(after[&format!("{transform}.0.weight")].dims(), [2 * DIM, 2 * DIM]);
        assert_eq!(after[&format!("{transform}.3.weight")].dims(), [2 * 16, 2 * DIM]);
    }
    let config = fs::read_to_string(path("wide").join("config.json")).unwrap();
    assert!(config.contains("\"max_seq_length\": 6"), "{config}");
    let near = loss(path("inverter"), &examples(60, 10)).unwrap();
    assert!(near.is_finite() && loss(path("inverter"), &held_out).is_err());
}

/// A model for one embedder reads another one's vectors through a map, before it has learned anything.
#[test]
fn training_begins_with_a_model_for_another_embedder_through_a_map() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    correct(&settings(4), place.path(), "corrector").unwrap();
    // turned, stretched and shifted, in more dimensions
    let other = |from: usize, count: usize| {
        let Examples { texts, vectors, hypotheses } = wider(from, count);
        let other = |mut wide: Array2<f32>| {
            wide.invert_axis(ndarray::Axis(1));
            wide * 3.0 + 0.5
        };
        Examples {
            texts,
            vectors: other(vectors),
            hypotheses: hypotheses.map(|(texts, it)| (texts, other(it))),
        }
    };
    let (given, held_out) = (other(0, 60), other(60, 10));
    let space = SpaceMap::fit(given.vectors.view(), examples(0, 60).vectors.view()).unwrap();
    let begun = |model: &str, space: &SpaceMap| Settings {
        init: Some(path(model).into()),
        space: Some(space.clone()),
        learning_rate: 1e-12,
        ..settings(1)
    };
    let mut loss_of = BTreeMap::new();
    inverter(&begun("inverter", &space), &given, &held_out, &path("other"), &mut |event| {
        if let Event::HeldOut { loss, .. } = event {
            loss_of.insert("inverter", loss);
        }
    })
    .unwrap();
    corrector(
        &begun("corrector", &space),
        path("other"),
        &given,
        &held_out,
        None,
        &path("more"),
        &mut |event| {
            if let Event::HeldOut { loss, .. } = event {
                loss_of.insert("corrector", loss);
            }
        },
    )
    .unwrap();
    let same = loss(path("inverter"), &examples(60, 10)).unwrap();
    assert!((loss_of["inverter"] - same).abs() < 0.02, "{loss_of:?}, {same}");
    let (told, _) = {
        let begun = Settings { init: Some(path("corrector").into()), learning_rate: 1e-12, ..settings(1) };
        correct(&begun, place.path(), "as-it-is").unwrap()
    };
    assert!((loss_of["corrector"] - told.held_out[0].1).abs() < 0.02, "{loss_of:?}, {:?}", told.held_out);
    // a map to other dimensions
    let narrow = SpaceMap::fit(given.vectors.view(), given.vectors.slice(ndarray::s![.., ..3])).unwrap();
    let refused = inverter(&begun("inverter", &narrow), &given, &held_out, &path("never"), &mut |_| {});
    assert!(refused.unwrap_err().to_string().contains("the map leads to 3 dimensions"));
}

#[test]
fn tokens_are_counted_as_the_model_reads_them() {
    let place = place();
    let counted =
        count_tokens(place.path().join("inverter"), &["ann pays".into(), "ann Zoë".into()]).unwrap();
    assert_eq!((counted.lengths.len(), counted.unknown), (2, 1), "{counted:?}");
    assert!(counted.lengths[0] >= 3);
    assert!(is_begun(&place.path().join("inverter")) && !is_begun(place.path()));
}

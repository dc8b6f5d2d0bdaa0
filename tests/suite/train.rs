//! `embosk train` on the reference embedder, small: killed and resumed, then used and damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::command::{self, refused};

/// Trained for so few steps that the test is quick; the models are bad, and what uses them must say so.
const STEPS: usize = 12;

fn embosk(folder: &Path, line: &str) -> Command {
    let mut command = command::embosk(folder, line);
    command.env("EMBOSK_CACHE", folder.join("cache"));
    command
}

fn train(model: &str, out: &str, more: &str) -> String {
    format!(
        "train {model} --corpus records:300 --out {out} --steps {STEPS} --batch-size 32 \
         --checkpoint-every 0 --held-out-every 1000 {more}"
    )
}

#[track_caller]
fn succeeds(folder: &Path, line: &str) -> Output {
    let output = embosk(folder, line).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The loss at each step that was logged.
fn losses(folder: &Path, out: &str) -> BTreeMap<usize, f64> {
    let log = fs::read_to_string(folder.join(out).join("log.csv")).unwrap_or_default();
    let rows = log.lines().skip(1).filter_map(|line| {
        let mut fields = line.split(',');
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    rows.collect()
}

/// Starts `line` outside cargo's settings, and kills it with SIGKILL once `out` has logged `steps` steps. Until then,
/// it has no threads of candle's.
fn kill_after(folder: &Path, line: &str, out: &str, steps: usize) {
    let mut command = embosk(folder, line);
    command.env_remove("CANDLE_NUM_THREADS").env("RAYON_NUM_THREADS", "2");
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while losses(folder, out).len() < steps {
        assert!(began.elapsed() < Duration::from_mins(5), "no step in five minutes");
        assert!(child.try_wait().unwrap().is_none(), "{line} ended before it could be killed");
        sleep(Duration::from_millis(5));
    }
    let threads = threads(child.id());
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!threads.iter().any(|name| name.starts_with("candle")), "candle's threads spin: {threads:?}");
}

/// The names of a process' threads, where the system tells (Linux).
fn threads(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).collect()
}

#[track_caller]
fn same_course(folder: &Path, steps: usize, straight: &str, resumed: &str) {
    let (straight, resumed) = (losses(folder, straight), losses(folder, resumed));
    assert!(straight.keys().copied().eq(1..=steps), "every step is logged once");
    assert!(resumed.keys().eq(straight.keys()));
    for (step, loss) in &straight {
        let other = resumed[step];
        assert!((loss - other).abs() < 1e-4, "step {step}: {loss} straight through, {other} resumed");
    }
    assert!(straight[&steps] < straight[&1], "nothing was learned");
}

fn manifest(folder: &Path, out: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(out).join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_killed_training_resumes_and_its_models_attack() {
    let place = TempDir::new().unwrap();
    let folder = place.path();

    succeeds(folder, &train("inverter", "straight/inverter", ""));
    let resumed = train("inverter", "resumed/inverter", "");
    kill_after(folder, &resumed, "resumed/inverter", 5);
    refused(folder, &train("inverter", "resumed/inverter", "--resume --learning-rate 0.1"), "other settings");
    refused(folder, &resumed, "a trained model is here already");
    succeeds(folder, &format!("{resumed} --resume"));
    same_course(folder, STEPS, "straight/inverter", "resumed/inverter");

    succeeds(folder, &train("inverter", "further/inverter", "--init straight/inverter --store q8"));
    assert!(losses(folder, "further/inverter")[&1] < losses(folder, "straight/inverter")[&1]);

    let size = |out: &str| fs::metadata(folder.join(out).join("model.safetensors")).unwrap().len();
    assert!(10 * size("further/inverter") < 6 * size("straight/inverter"), "8 bits and scales for 16");
    assert_eq!(manifest(folder, "further/inverter")["settings"]["store"], "q8");

    let noisy = train("inverter", "noisy/inverter", "--defense none --defense gaussian(sigma=0.1)");
    succeeds(folder, &noisy);
    let second = |out: &str| losses(folder, out)[&2];
    assert!(
        (second("noisy/inverter") - second("straight/inverter")).abs() > 1e-4,
        "the vectors are the same"
    );
    assert_eq!(
        manifest(folder, "noisy/inverter")["settings"]["defenses"],
        serde_json::json!(["none", "gaussian(sigma=0.1)"])
    );
    refused(folder, &train("inverter", "never", "--defense gaussian(sigma=high)"), "sigma");

    // three rounds, the last with hypotheses of the corrector's own
    let corrector =
        |out: &str| train("corrector", out, "--inverter further/inverter --depths 2 --refresh-every 4");
    succeeds(folder, &corrector("straight/corrector"));
    kill_after(folder, &corrector("resumed/corrector"), "resumed/corrector", 5);
    succeeds(folder, &format!("{} --resume", corrector("resumed/corrector")));
    same_course(folder, STEPS, "straight/corrector", "resumed/corrector");

    let (inverter, corrector) =
        (manifest(folder, "straight/inverter"), manifest(folder, "straight/corrector"));
    assert_eq!(inverter["settings"]["steps"], STEPS);
    assert_eq!(inverter["corpus"]["hash"], corrector["corpus"]["hash"]);
    assert_eq!([&inverter["settings"]["depths"], &corrector["settings"]["depths"]], [1, 2]);
    let picture = fs::read_to_string(folder.join("resumed/corrector/log.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("training"));
    assert!(inverter["held_out"]["bleu"].as_f64().unwrap() < 50.0, "no twelve steps do that");

    a_bad_attack_proves_nothing(folder);
    damaged_weights_are_named(folder);
}

#[test]
fn the_recipe_trains_both_models_and_says_what_to_run() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    let texts = embosk::evaluate::Corpus::records(300, 5).texts().join("\n");
    fs::write(folder.join("mine.txt"), texts).unwrap();
    let steps = 5;
    let line = |out: &str| format!("train attack --corpus mine.txt --init none --steps {steps} --out {out}");

    let output = succeeds(folder, &line("straight"));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains(" held-out texts") && told.contains("BLEU"), "{told}");
    assert!(!told.contains("before"), "it began with nothing: {told}");
    let next = told.lines().last().unwrap().trim();
    assert!(next.contains("--attack auto:straight") && next.contains("--corpus mine.txt"), "{next}");
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warning.contains("near chance"), "{steps} steps teach next to nothing: {warning}");

    kill_after(folder, &line("resumed"), "resumed/inverter", 2);
    refused(folder, &line("resumed"), "--resume");
    refused(folder, &format!("{} --seed 9 --resume", line("resumed")), "seed");
    succeeds(folder, &format!("{} --resume", line("resumed")));
    for model in ["inverter", "corrector"] {
        same_course(folder, steps, &format!("straight/{model}"), &format!("resumed/{model}"));
        let trained = manifest(folder, &format!("straight/{model}"));
        assert!(trained["corpus"]["texts"].as_u64().unwrap() < 300, "some are held out: {trained}");
    }
    // what was trained on is not attacked; what is advised runs, here with fewer queries
    let advised = next.strip_prefix("embosk ").unwrap();
    let few = "--beam-width 1 --steps 2 --queries 60 --attacker-corpus records:100";
    let line = format!("{advised} {few} --guess-candidates 0 --adversary naive --defense none --format json");
    let output = embosk(folder, &line).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let attack = report["signature"]["attack"].as_str().unwrap();
    assert!(attack.starts_with("vec2text(steps=2") && attack.contains(" + guided("), "{attack}");
    assert_eq!(report["signature"]["attack_name"], "straight");
}

#[test]
fn a_killed_embedder_resumes_and_is_attacked_like_any_other() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    let distil = |out: &str, more: &str| {
        format!(
            "train embedder --teacher reference --corpus records:300 --vocabulary 600 --out {out} --steps {STEPS} \
             --batch-size 32 --checkpoint-every 0 --held-out-every 6 --warmup 4 {more}"
        )
    };
    succeeds(folder, &distil("straight", ""));
    kill_after(folder, &distil("resumed", ""), "resumed", 5);
    refused(folder, &distil("resumed", "--resume --learning-rate 0.1"), "other settings");
    succeeds(folder, &distil("resumed", "--resume"));
    same_course(folder, STEPS, "straight", "resumed");

    let log = fs::read_to_string(folder.join("straight/log.csv")).unwrap();
    let head = "step,loss,samples_per_second,held_out_cosine,held_out_spearman,held_out_loss,learning_rate\n";
    assert!(log.starts_with(head), "{log}");
    let of = |step: &str| {
        let mut looks = log.lines().filter(|line| line.starts_with(&format!("{step},,,")));
        let fields: Vec<f64> = looks.next().unwrap().split(',').flat_map(str::parse).collect();
        (fields[1], fields[2], fields[3])
    };
    let (first, last) = (of("6"), of("12"));
    assert!(last.0 > first.0 && (1.0 - last.0 - last.2).abs() < 1e-4, "{log}");
    assert!((-1.0..=1.0).contains(&last.1) && fs::read_to_string(folder.join("straight/log.svg")).is_ok());
    let manifest = manifest(folder, "straight");
    assert_eq!([&manifest["model"], &manifest["settings"]["preset"]], ["embedder", "embedder"]);
    assert_eq!([&manifest["teacher"]["dimension"], &manifest["settings"]["vocabulary"]], [384, 600]);
    assert!((manifest["held_out"]["cosine"].as_f64().unwrap() - last.0).abs() < 1e-4, "{manifest}");

    let line =
        "train inverter --corpus records:300 --embedder straight --out inverter --steps 1 --batch-size 8";
    succeeds(folder, line);
    refused(folder, &distil("new", "--label-smoothing 0.1").replace("--steps 12", ""), "--label-smoothing");
    refused(folder, &distil("new", "").replace("--teacher reference", "--teacher nowhere"), "nowhere");
}

/// An attack that fails without a defense must not make a defense look good.
fn a_bad_attack_proves_nothing(folder: &Path) {
    let line = "evaluate --attack straight --retrained noisy --corpus records:40 --samples 3 \
                --steps 1 --beam-width 1 --defense gaussian(sigma=0.1) --adversary naive --adversary retrained --guess-candidates 0 \
                --format json";
    let output = embosk(folder, line).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("inconclusive"), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["conclusive"], serde_json::json!([]));
    assert_eq!(report["rows"][1]["adversary"], "retrained");
    assert!(report["rows"][0]["leak"].is_null() && report["rows"][1]["leak"].is_null());
}

fn damaged_weights_are_named(folder: &Path) {
    fs::remove_file(folder.join("straight/inverter/training.safetensors")).unwrap();
    refused(folder, &train("inverter", "straight/inverter", "--resume"), "no checkpoint to resume from");
    let weights = folder.join("straight/inverter/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let evaluate = "evaluate --attack straight --corpus records:40 --samples 3";
    let invert = "invert --inverter straight/inverter --input texts.txt";
    fs::write(folder.join("texts.txt"), "one text\n").unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..100], &[]] {
        fs::write(&weights, damaged).unwrap();
        refused(folder, evaluate, "straight/inverter/model.safetensors");
        refused(folder, invert, "straight/inverter/model.safetensors");
    }
    fs::remove_file(&weights).unwrap();
    refused(folder, evaluate, "straight/inverter/model.safetensors");
    fs::write(&weights, &whole).unwrap();
    fs::remove_file(folder.join("straight/corrector/config.json")).unwrap();
    refused(folder, evaluate, "straight/corrector/config.json");
}

/// The script that trains what ships, on little: it trains all models, goes on with what is there, and replaces nothing
/// that is not better on every line. A small embedder stands in for all-MiniLM-L6-v2, which is not needed for that.
#[test]
fn the_script_for_the_shipped_attacks_runs() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = embosk::evaluate::Corpus::records(520, 6);
    let line = |(at, text): (usize, &String)| format!("source-{}\t{text}\n", at % 2);
    let lines: Vec<String> = texts.texts().iter().enumerate().map(line).collect();
    fs::create_dir(folder.join("texts")).unwrap();
    fs::write(folder.join("texts/train.tsv"), lines[..500].concat()).unwrap();
    fs::write(folder.join("texts/test.tsv"), lines[500..].concat()).unwrap();
    let stand_in = root.join("attacks/models/reference/embedder");
    let run = |more: &[&str]| {
        let output = Command::new(root.join("scripts/train-shipped"))
            .args([folder.join("texts").as_os_str(), "--work".as_ref(), folder.join("work").as_os_str()])
            .args("--steps 1 --of 0.01 --sentences 1 --records 4".split(' '))
            .args(more)
            .env("EMBOSK", env!("CARGO_BIN_EXE_embosk"))
            .env("EMBOSK_MINILM", &stand_in)
            .env("EMBOSK_CACHE", folder.join("cache"))
            .env("CANDLE_NUM_THREADS", "1")
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        told
    };
    let weights = |attack: &str| {
        fs::read(root.join("attacks/models").join(attack).join("inverter/model.safetensors")).unwrap()
    };
    let shipped = ["reference", "minilm"].map(weights);
    let told = run(&[]);
    for part in
        ["== embedder in", "== corrector in", "\n== reference\n", "\n== minilm\n", "| – | records | 4 |"]
    {
        assert!(told.contains(part), "{told}");
    }
    for model in ["reference/embedder", "reference/inverter", "minilm/inverter", "minilm/corrector"] {
        assert!(folder.join("work").join(model).join("manifest.json").exists(), "{model}");
    }
    let again = run(&["--models", "minilm"]);
    assert!(
        again.contains("minilm/corrector: trained already") && !again.contains("== corrector in"),
        "{again}"
    );
    assert!(shipped == ["reference", "minilm"].map(weights), "what ships has changed");
}

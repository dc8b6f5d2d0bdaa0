//! The grammar of sweeps, an evaluation that is followed row by row, and `embosk curve` from outside: its
//! page as a browser sees it, its resumption, its search.
#![allow(clippy::float_cmp, clippy::case_sensitive_file_extension_comparisons)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use embosk::evaluate::adversaries::{Leaked, Naive};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Corpus, Evaluation, Journal, Report, Row, Sweep, Undefended};
use embosk::{BoxError, Error, Key, Stack};
use ndarray::Array2;
use proptest::prelude::*;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::common::command::{embosk, exits, refused};

use crate::common::lookup::Lookup;
use crate::common::skip;

fn values(spec: &str) -> Vec<f64> {
    spec.parse::<Sweep>().unwrap().ranges()[0].values.clone()
}

#[test]
fn ranges_are_expanded() {
    let cases: [(&str, &[f64]); 7] = [
        ("gaussian(sigma=0.001..0.1/7log)", &[0.001, 0.002_154, 0.004_642, 0.01, 0.02154, 0.04642, 0.1]),
        ("gaussian( sigma = 0.1 .. 0.5 / 3 )", &[0.1, 0.3, 0.5]),
        ("gaussian(sigma=1e-3..1e-1/3 log, on=queries)", &[0.001, 0.01, 0.1]),
        ("gaussian(sigma=.5..1/2)", &[0.5, 1.0]),
        ("gaussian(sigma=1..3)", &[1.0, 2.0, 3.0]),
        ("quantization(bits=1..8)", &[1.0, 4.0, 8.0]),
        ("quantization(bits=2..8)", &[4.0, 8.0]),
    ];
    for (spec, expected) in cases {
        assert_eq!(values(spec), expected, "{spec}");
    }
    let narrow = values("gaussian(sigma=0.10001..0.10002/3)");
    assert!(narrow[0] < narrow[1] && narrow[1] < narrow[2]);
}

#[test]
fn without_a_range_a_spec_is_one_stack() {
    for spec in ["none", "quantization(bits=8)", "gaussian(sigma=0.01) | quantization(bits=4)"] {
        let sweep: Sweep = spec.parse().unwrap();
        assert_eq!((sweep.points().len(), sweep.ranges().len()), (1, 0));
        assert_eq!(sweep.points()[0].stack.to_string(), spec);
        assert_eq!(sweep.to_string(), spec);
    }
}

#[test]
fn a_keys_file_is_no_range_and_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("3..5");
    fs::write(&path, Key::from_bytes([3; 32]).to_text().as_str()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let path = path.to_str().unwrap();
    let sweep: Sweep = format!("rotation(key=file:{path}) | gaussian(sigma=0.1..0.2/2)").parse().unwrap();
    assert_eq!(sweep.points().len(), 2);
    assert_eq!(sweep.to_string(), "rotation(key=…) | gaussian(sigma=0.1..0.2/2)");
    assert!(sweep.points()[1].stack.to_string().starts_with("rotation(key=fingerprint:"));
}

#[test]
fn several_ranges_give_every_combination() {
    let sweep: Sweep = "gaussian(sigma=0.1..0.3/3) | quantization(bits=4..8)".parse().unwrap();
    let values: Vec<_> = sweep.points().iter().map(|point| point.values.clone()).collect();
    assert_eq!(values, [[0.1, 4.0], [0.1, 8.0], [0.2, 4.0], [0.2, 8.0], [0.3, 4.0], [0.3, 8.0]]);
    assert_eq!(sweep.at(&[0.5, 1.0]).unwrap().to_string(), "gaussian(sigma=0.5) | quantization(bits=1)");
    assert!(sweep.at(&[0.5]).is_err() && sweep.at(&[0.5, 3.0]).is_err());
}

#[test]
fn what_is_no_range_is_refused_at_its_place() {
    let cases = [
        ("gaussian(sigma=0.1..)", "character 16: a range is"),
        ("gaussian(sigma=0.1..0.2)", "character 16: a range needs a number of values"),
        ("gaussian(sigma=0.2..0.1/3)", "smaller number to a larger"),
        ("gaussian(sigma=0.1..0.1/3)", "smaller number to a larger"),
        ("gaussian(sigma=0.1..0.2/1)", "2 to 1000"),
        ("gaussian(sigma=0.1..0.2/1001)", "2 to 1000"),
        ("gaussian(sigma=0.1..0.2/x)", "a range is"),
        ("gaussian(sigma=0.1..0.2/3 steps)", "a range is"),
        ("gaussian(sigma=0..0.2/3log)", "begins above 0"),
        ("gaussian(sigma=1..9999)", "2 to 1000"),
        ("gaussian(sigma=1..inf/3)", "a range is"),
        ("quantization(bits=2..3)", "bits"),
        ("quantization(bits=1..8/3)", "`bits` should be 8, 4 or 1"),
        ("gaussian(sigma=0.1..0.2/3) | rotate(key=env:K)", "character 30: unknown defense"),
        ("gaussian(sigma=0.1..0.9/40) | gaussian(sigma=0.1..0.9/40)", "more than 1000"),
        ("gaussian(sigma=-1..1/3)", "sigma"),
    ];
    for (spec, part) in cases {
        let message = spec.parse::<Sweep>().unwrap_err().to_string();
        assert!(message.contains(part), "{spec}: {message}");
    }
}

proptest! {
    #[test]
    fn a_range_rises_from_end_to_end(from in 1e-6..1.0_f64, more in 1e-6..10.0_f64, count in 2..40_usize, log: bool) {
        let to = from + more;
        let log_written = if log { "log" } else { "" };
        let values = values(&format!("gaussian(sigma={from}..{to}/{count}{log_written})"));
        prop_assert_eq!(values.len(), count);
        prop_assert_eq!((values[0], values[count - 1]), (from, to));
        prop_assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// Neither a panic nor a word of what was written, which may be a key.
    #[test]
    fn anything_is_read_or_refused(spec in "[a-z0-9.=(),/| …-]{0,40}|(gaussian|quantization)\\((sigma|bits|key)=[0-9.e/log…-]{0,12}\\)?") {
        if let Err(error) = spec.parse::<Sweep>() {
            prop_assert!(error.to_string().len() < 400);
        }
    }

    #[test]
    fn a_key_in_a_sweep_is_not_repeated(digits in "[0-9a-f]{64}") {
        for spec in [
            format!("rotation(key={digits}) | gaussian(sigma=0.1..0.2/2)"),
            format!("gaussian(sigma=0.1..{digits}/2)"),
            format!("gaussian(sigma=0.1..0.2/{digits})"),
            format!("rotation(key=1..{digits})"),
        ] {
            if let Err(error) = spec.parse::<Sweep>() {
                prop_assert!(!error.to_string().contains(&digits[..16]));
            }
        }
    }
}

// An evaluation that is followed, with an embedder and an attack that need no model.

/// A unit vector of each text's words. The weights are no small whole numbers: these would tie.
#[allow(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn words(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), 48));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            for index in 0..6_u64 {
                let hash = word
                    .bytes()
                    .fold(index + 1, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
                let hash = (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                row[(hash >> 20) as usize % 48] += (hash >> 40) as f32 / 8_388_608.0 - 1.0;
            }
        }
        let norm = row.dot(&row).sqrt().max(1e-12);
        row /= norm;
    }
    Ok(vectors)
}

/// Keeps everything, and asks for `more`.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    settings: Map<String, Value>,
    rows: Vec<Row>,
    undefended: Option<Undefended>,
    /// How often something was measured.
    measured: usize,
    more: Vec<Stack>,
    /// After so many rows the journal refuses to go on, as a full disk would.
    fails_after: Option<usize>,
}

impl Journal for Kept {
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        assert!(rows > 0 && settings.contains_key("corpus_sha256") && !settings.contains_key("defenses"));
        self.0.lock().unwrap().settings.clone_from(settings);
        Ok(())
    }

    fn undefended(&mut self) -> Option<Undefended> {
        self.0.lock().unwrap().undefended.clone()
    }

    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        let mut pages = self.0.lock().unwrap();
        pages.measured += 1;
        pages.undefended = Some(undefended.clone());
        Ok(())
    }

    fn known(&mut self, defense: &str, adversary: &str) -> Option<Row> {
        let pages = self.0.lock().unwrap();
        pages.rows.iter().find(|row| row.defense == defense && row.adversary == adversary).cloned()
    }

    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        let mut pages = self.0.lock().unwrap();
        pages.measured += 1;
        pages.rows.push(row.clone());
        match pages.fails_after {
            Some(most) if pages.rows.len() >= most => Err(Error::Setting("the disk is full".into())),
            _ => Ok(()),
        }
    }

    fn next(&mut self, rows: &[Row]) -> Result<Option<Stack>, Error> {
        assert!(!rows.is_empty());
        Ok(self.0.lock().unwrap().more.pop())
    }
}

const SWEEP: &str = "gaussian(sigma=0.05..0.4/4log)";

fn evaluation(stacks: &[Stack], journal: Kept) -> Result<Report, Error> {
    let corpus = Corpus::records(300, 1);
    let texts = corpus.texts().to_vec();
    let mut evaluation = Evaluation::new(words)
        .corpus(corpus)
        .attack(Lookup(texts))
        .samples(30)
        .adversary(Naive)
        .adversary(Leaked(100))
        .journal(journal);
    for stack in stacks {
        evaluation = evaluation.defense(stack.clone());
    }
    evaluation.run()
}

fn stacks() -> Vec<Stack> {
    SWEEP.parse::<Sweep>().unwrap().points().iter().map(|point| point.stack.clone()).collect()
}

#[test]
fn point_by_point_gives_the_numbers_of_one_evaluation() {
    let whole = evaluation(&stacks(), Kept::default()).unwrap();
    let journal = Kept::default();
    for stack in stacks() {
        evaluation(&[stack], journal.clone()).unwrap();
    }
    assert_eq!(journal.0.lock().unwrap().measured, 1 + 4 * 2, "the undefended attack is made once");
    let journaled = evaluation(&stacks(), journal.clone()).unwrap();
    assert_eq!(journal.0.lock().unwrap().measured, 9, "nothing is measured twice");
    assert_eq!(whole.to_json().unwrap(), journaled.to_json().unwrap());
}

#[test]
fn an_evaluation_that_broke_off_goes_on() {
    let whole = evaluation(&stacks(), Kept::default()).unwrap();
    let journal = Kept::default();
    journal.0.lock().unwrap().fails_after = Some(3);
    assert!(evaluation(&stacks(), journal.clone()).unwrap_err().to_string().contains("the disk is full"));
    assert_eq!(journal.0.lock().unwrap().rows.len(), 3);
    journal.0.lock().unwrap().fails_after = None;
    let resumed = evaluation(&stacks(), journal.clone()).unwrap();
    assert_eq!(journal.0.lock().unwrap().measured, 9);
    assert_eq!(whole.to_json().unwrap(), resumed.to_json().unwrap());
}

#[test]
fn a_journal_may_ask_for_more() {
    let journal = Kept::default();
    let more: Stack = "gaussian(sigma=0.123)".parse().unwrap();
    journal.0.lock().unwrap().more = vec![more.clone()];
    let asked = evaluation(&stacks()[..1], journal).unwrap();
    let given = evaluation(&[stacks()[0].clone(), more], Kept::default()).unwrap();
    assert_eq!(asked.to_json().unwrap(), given.to_json().unwrap());
}

#[test]
fn examples_are_shown_where_they_are_asked_for() {
    let run = |examples: usize| {
        let corpus = Corpus::records(100, 1);
        let attack = Lookup(corpus.texts().to_vec());
        let evaluation = Evaluation::new(words).corpus(corpus).attack(attack).samples(10).examples(examples);
        evaluation.adversary(Naive).run().unwrap()
    };
    assert!(run(0).rows[0].examples.is_empty() && !run(0).to_json().unwrap().contains("examples"));
    let report = run(3);
    assert_eq!(report.rows[0].examples.len(), 3);
    assert!(report.rows[0].examples.iter().all(|example| example.text == example.recovered));
    assert_eq!(run(99).rows[0].examples.len(), 10);
}

// The command from outside.

fn workplace() -> TempDir {
    TempDir::new().unwrap()
}

/// Retrieval alone: quick.
const SEARCHED: &str = "curve --attack none --corpus records:150 \
                        --defense gaussian(sigma=0.01..0.2/5log) --defense quantization(bits=1..8)";

/// With the shipped attack, on few texts and with a short search.
const ATTACKED: &str = "curve --corpus records:60 --samples 6 --steps 0 --beam-width 1 --local-queries 0 \
                        --adversary naive --adversary leaked(40) --attacker-corpus records:300";

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("curve.json")).unwrap()).unwrap()
}

/// A tag, its attributes, and the text up to the next one.
struct Element {
    name: String,
    class: Vec<String>,
    text: String,
}

/// All elements, in order. Fails where tags are not closed in the order in which they were opened: the
/// page is written so that HTML's exceptions are not needed.
fn elements(markup: &str) -> Vec<Element> {
    let (mut all, mut open): (Vec<Element>, Vec<String>) = (Vec::new(), Vec::new());
    for piece in markup.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        if tag.starts_with('!') {
            continue;
        }
        assert!(!text.contains('>') || open.last().is_some_and(|name| name == "style"), "a stray >: {text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
        } else {
            let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap();
            let class = tag.split_once("class=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap());
            let class = class.split(' ').map(str::to_owned).collect();
            all.push(Element { name: name.to_owned(), class, text: text.trim().to_owned() });
            if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    all
}

fn count(elements: &[Element], name: &str, class: &str) -> usize {
    let has = |element: &&Element| {
        element.name == name && (class.is_empty() || element.class.iter().any(|c| c == class))
    };
    elements.iter().filter(has).count()
}

/// Axes with ticks, a mark with a title for each point, in both sizes, and the table.
fn check_page(page: &str, figures: usize, marks: usize, rows: usize) {
    let elements = elements(page);
    for size in ["wide", "narrow"] {
        assert_eq!(count(&elements, "svg", size), figures, "{size}");
    }
    assert_eq!(count(&elements, "g", "axes"), 2 * figures);
    assert_eq!(count(&elements, "g", "mark"), 2 * marks);
    let titles = elements.windows(2).filter(|pair| pair[0].class.iter().any(|class| class == "mark"));
    assert!(
        titles.clone().count() == 2 * marks
            && titles.clone().all(|pair| pair[1].name == "title" && !pair[1].text.is_empty())
    );
    assert!(count(&elements, "text", "tick") >= 2 * figures * 6, "each axis has ticks");
    assert_eq!(count(&elements, "table", ""), 1);
    assert_eq!(count(&elements, "tr", ""), rows + 1);
    assert!(count(&elements, "th", "") > rows && count(&elements, "td", "number") >= 2 * rows);
    for forbidden in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "the page needs nothing but itself: {forbidden}");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("width=device-width"));
}

/// A Chromium on the PATH, or the one that `EMBOSK_CHROMIUM` names.
fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("EMBOSK_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

/// The page once more as a browser has read it, at the width of a desk and of a phone, in light and in dark.
fn check_in_browser(page: &Path, marks: usize, rows: usize) {
    let Some(browser) = chromium() else {
        return skip("no Chromium on the PATH nor in EMBOSK_CHROMIUM; the page was read as text alone");
    };
    for width in [1280, 390] {
        let [light, dark] = [false, true].map(|dark| {
            let document = laid_out(&browser, page, width, dark);
            assert!(document.contains("<h1>"), "{width}: {document}");
            assert_eq!(document.matches("<g class=\"mark ").count(), 2 * marks, "{width}");
            assert_eq!(document.matches("<tr").count(), rows + 1, "{width}");
            assert!(document.contains(&format!("data-width=\"{width}\"")), "it is as wide as told: {width}");
            assert!(document.contains("data-fits=\"true\""), "nothing is wider than the window: {width}");
            assert!(document.contains(&format!("data-dark=\"{dark}\"")), "{width}");
            assert!(document.contains("class=\"axes\"") && document.contains("</table>"), "{width}");
            let colours = document.split_once("data-colours=\"").unwrap().1;
            colours.split_once('"').unwrap().0.to_owned()
        });
        assert_ne!(light, dark, "the page has colours of its own for the dark: {width}");
    }
}

/// The document as a browser has it, with what it says of itself as attributes. It is in a frame, as a
/// window has a least width of its own, which is wider than a phone.
fn laid_out(browser: &Path, page: &Path, width: u32, dark: bool) -> String {
    let measuring = "<script>const root = document.documentElement, style = getComputedStyle(document.body);\
                     root.dataset.width = innerWidth; root.dataset.fits = root.scrollWidth <= innerWidth;\
                     root.dataset.dark = matchMedia('(prefers-color-scheme: dark)').matches;\
                     root.dataset.colours = style.color + ' on ' + style.backgroundColor;</script></body>";
    let framed = fs::read_to_string(page).unwrap().replace("</body>", measuring);
    let framed = framed.replace('&', "&amp;").replace('"', "&quot;");
    let unpacking = "const it = document.importNode(this.contentDocument.documentElement, true);\
                     document.documentElement.replaceWith(it)";
    let wrapper = format!(
        "<!doctype html><iframe style='width:{width}px;height:900px;border:0' onload=\"{unpacking}\" \
         srcdoc=\"{framed}\"></iframe>"
    );
    let profile = TempDir::new().unwrap();
    let copy = profile.path().join("page.html");
    fs::write(&copy, wrapper).unwrap();
    let scheme = i32::from(!dark);
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"])
        .args(["--window-size=1400,1000", &format!("--blink-settings=preferredColorScheme={scheme}")])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", copy.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{width}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_sweep_without_an_attack_is_drawn_and_resumed() {
    let place = workplace();
    let folder = place.path();
    let output = exits(folder, &format!("{SEARCHED} --output new/whole --seed 3"), 0);
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains(" kept\n") && summary.ends_with("new/whole/index.html\n"), "{summary}");
    let whole = folder.join("new/whole");
    assert_eq!(
        files(&whole).into_keys().collect::<Vec<_>>(),
        ["curve.csv", "curve.json", "curve.svg", "index.html"]
    );
    assert_eq!(files(&whole.join("points")).len(), 1 + 5 + 3);

    // nine stacks; a chart for each sweep
    let page = fs::read_to_string(whole.join("index.html")).unwrap();
    check_page(&page, 2, 5 + 3, 9);
    check_in_browser(&whole.join("index.html"), 5 + 3, 9);
    let svg = fs::read_to_string(whole.join("curve.svg")).unwrap();
    let drawn = elements(&svg);
    assert_eq!((count(&drawn, "g", "mark"), count(&drawn, "g", "axes")), (8, 2));
    assert!(
        drawn.iter().any(|element| element.text == "sigma per coordinate, on a logarithmic axis")
            && !svg.contains("leak")
    );

    let rows = json(&whole)["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 9);
    assert_eq!((&rows[0]["defense"], &rows[0]["ndcg_kept"]), (&Value::from("none"), &Value::from(1.0)));
    assert_eq!(rows[5]["strength"], serde_json::json!([0.2]));
    let csv = fs::read_to_string(whole.join("curve.csv")).unwrap();
    let widths: BTreeSet<usize> = csv.lines().map(|line| fields(line).len()).collect();
    assert_eq!((csv.lines().count(), widths.len()), (10, 1), "{csv}");

    // points are lost, one is damaged, one was being written: the same bytes come back
    let before = files(&whole);
    let points = files(&whole.join("points"));
    let names: Vec<&String> = points.keys().collect();
    fs::remove_file(whole.join("points").join(names[1])).unwrap();
    fs::write(whole.join("points").join(names[4]), "{\"settings\": {").unwrap();
    let old = SystemTime::now() - Duration::from_mins(2);
    File::create(whole.join("points/.embosk-abcdefABCDEF.part")).unwrap().set_modified(old).unwrap();
    exits(folder, &format!("{SEARCHED} --output new/whole --seed 3"), 0);
    assert_eq!((files(&whole), files(&whole.join("points"))), (before.clone(), points.clone()));

    // other settings find nothing to go on with, and leave it alone, and so are files of other programs left
    let downloads = [whole.join(".download.part"), whole.join("points/.download.part")];
    for download in &downloads {
        File::create(download).unwrap().set_modified(old).unwrap();
    }
    exits(folder, &format!("{SEARCHED} --output new/whole --seed 4"), 0);
    for download in &downloads {
        fs::remove_file(download).unwrap();
    }
    assert_eq!(files(&whole.join("points")).len(), 2 * points.len());
    assert_ne!(files(&whole)["curve.json"], before["curve.json"]);
    exits(folder, &format!("{SEARCHED} --output new/whole --seed 3"), 0);
    assert_eq!(files(&whole), before);
}

#[cfg(unix)]
#[test]
fn another_program_measures_again() {
    let place = workplace();
    let folder = place.path();
    let points = folder.join("out/points");
    let line = "curve --attack none --corpus records:60 --defense none --output out";
    exits(folder, line, 0);
    let before = files(&points);
    // as one that was built from other code: a byte more does not keep it from running
    let longer = ["-c", "cp \"$0\" program && printf x >> program", env!("CARGO_BIN_EXE_embosk")];
    assert!(Command::new("sh").args(longer).current_dir(folder).status().unwrap().success());
    let mut other = Command::new(folder.join("program"));
    let other = other.args(line.split_whitespace()).current_dir(folder).env("CANDLE_NUM_THREADS", "1");
    assert!(other.output().unwrap().status.success());
    let after = files(&points);
    assert_eq!((before.len(), after.len()), (1, 2));
    assert!(before.iter().all(|(name, content)| after[name] == *content));
}

/// The fields of a line of CSV.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_finished_points_and_no_half_files() {
    let place = workplace();
    let folder = place.path();
    let points = folder.join("out/points");
    let line = format!("{SEARCHED} --output out --quiet");
    let mut child = embosk(folder, &line).stdout(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let is_there = || points.is_dir() && files(&points).keys().any(|name| name.ends_with(".json"));
    while !is_there() {
        assert!(
            began.elapsed() < Duration::from_mins(2) && child.try_wait().unwrap().is_none(),
            "no point was kept"
        );
        sleep(Duration::from_millis(1));
    }
    // as Ctrl-C does; but that one a shell's background jobs ignore, and their children
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let interrupted = !child.wait().unwrap().success();
    let kept = files(&points);
    for (name, content) in kept.iter().filter(|(name, _)| name.ends_with(".json")) {
        assert!(serde_json::from_slice::<Value>(content).is_ok(), "{name} is whole");
    }
    assert!(!interrupted || !folder.join("out/index.html").exists());
    exits(folder, &line, 0);
    // what the kill left half written goes when it is over a minute old
    let is_half = |name: &String| name.starts_with(".embosk-") && name.ends_with(".part");
    let now: BTreeMap<_, _> = files(&points).into_iter().filter(|(name, _)| !is_half(name)).collect();
    assert!(now.len() == 9 && now.keys().all(|name| name.ends_with(".json")));
    assert!(
        kept.iter().filter(|(name, _)| name.ends_with(".json")).all(|(name, content)| now[name] == *content)
    );
    exits(folder, &line.replace("--output out", "--output straight"), 0);
    let without_command = |folder: &Path| {
        let mut json = json(folder);
        json["command"].take();
        json
    };
    assert_eq!(without_command(&folder.join("out")), without_command(&folder.join("straight")));
}

#[test]
fn the_shipped_attack_is_swept_searched_and_shown() {
    let place = workplace();
    let folder = place.path();
    let line = format!(
        "{ATTACKED} --defense gaussian(sigma=0.005..0.3/2log) --find bleu<=15 --examples 2 --output out"
    );
    let output = embosk(folder, &format!("{line} --verbose")).output().unwrap();
    // so short a search and so few texts may prove too little; the page is there all the same
    let (stderr, code) = (String::from_utf8_lossy(&output.stderr), output.status.code());
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {stderr}");
    assert!(
        stderr.contains("undefended, BLEU") && stderr.contains("gaussian(sigma=0.005), naive: leak"),
        "{stderr}"
    );
    let out = folder.join("out");
    let report = json(&out);
    let rows = report["rows"].as_array().unwrap();
    let stacks = rows.len() / 2;
    assert!((5..=10).contains(&stacks), "the ends and none, and some between: {stacks}");

    let found = report["find"]["strength"].as_f64().expect("strong noise stops any attack");
    assert_eq!(report["find"]["limit"], "bleu<=15");
    let worst = |row: &&Value| row["worst"] == true && row["strength"][0].is_number();
    for row in rows.iter().filter(worst) {
        let (strength, bleu) = (row["strength"][0].as_f64().unwrap(), row["bleu"]["value"].as_f64().unwrap());
        assert!(strength < found || bleu <= 15.0, "{strength} keeps the limit as {found} does");
    }
    assert!(
        rows.iter().any(|row| row["strength"][0] == found) && rows.iter().any(|row| row["front"] == true)
    );

    // one scatter, one panel: marks for every adversary, and for retrieval in the panel
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    let marks = 2 * stacks + 3 * (stacks - 1);
    // adversaries of a stack who did exactly the same share a row of the table
    let same =
        |pair: &&[Value]| ["bleu", "cosine", "guess"].iter().all(|score| pair[0][score] == pair[1][score]);
    let alike = rows.chunks(2).filter(same).count();
    assert!(alike >= 1, "nothing is gained on undefended vectors");
    // once by each leak that can be read, or by BLEU if none can
    let leaks = report["conclusive"].as_array().unwrap().len().max(1);
    check_page(&page, 2 * leaks, marks * leaks, 2 * stacks - alike);
    check_in_browser(&out.join("index.html"), marks * leaks, 2 * stacks - alike);
    let drawn = elements(&page);
    assert_eq!(count(&drawn, "details", ""), leaks - 1);
    assert!(count(&drawn, "circle", "ring") > 2 && count(&drawn, "p", "answer") == 2);
    assert_eq!((count(&drawn, "section", "example"), count(&drawn, "blockquote", "")), (2, 2));
    assert!(
        page.contains("--find &#39;bleu&lt;=15&#39;") || page.contains("&#39;bleu&lt;=15&#39;"),
        "the command is there"
    );

    // what shows texts is for its owner
    #[cfg(unix)]
    for folder in [&out, &out.join("points")] {
        for name in files(folder).into_keys() {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.join(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    // known points are not measured again; without the flag no text is shown
    let again = embosk(folder, &format!("{line} --verbose")).output().unwrap();
    assert!(!String::from_utf8_lossy(&again.stderr).contains("naive: leak"));
    assert_eq!(again.stdout, output.stdout);
    exits(folder, &line.replace("--examples 2", "--quiet"), code.unwrap());
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(
        !page.contains("<blockquote>")
            && !fs::read_to_string(out.join("curve.json")).unwrap().contains("examples")
    );
}

#[test]
fn components_noise_and_re_ranking_are_swept() {
    let place = workplace();
    let folder = place.path();
    exits(folder, "fit projection --corpus records:120 --dims 8 --output coarse.fit", 0);
    let coarse = "projection(fit=file:coarse.fit,dims=4..8/2)|gaussian(sigma=0.05..0.15/2,on=documents)";
    let line = "curve --corpus records:300 --attack none --samples 20 --adversary naive --output out";
    let more = format!("--defense {coarse}|rerank(candidates=40) --defense gaussian(sigma=0.15)");
    exits(folder, &format!("{line} {more}"), 0);

    let report = json(&folder.join("out"));
    let rows = report["rows"].as_array().unwrap();
    let (reranked, others): (Vec<&Value>, Vec<&Value>) =
        rows.iter().partition(|row| row["reranked"]["candidates"] == 40);
    let strengths: Vec<&Value> = reranked.iter().map(|row| &row["strength"]).collect();
    assert_eq!(
        serde_json::json!(strengths),
        serde_json::json!([[4.0, 0.05], [4.0, 0.15], [8.0, 0.05], [8.0, 0.15]])
    );
    assert!(reranked.iter().all(|row| row["threat"] == "stolen_store"));
    assert!(reranked.iter().any(|row| row["front"] == true), "they keep the search");
    let threats: Vec<&Value> = others.iter().map(|row| &row["threat"]).collect();
    assert_eq!(threats, [&Value::Null, &Value::from("operator")]);

    let page = fs::read_to_string(folder.join("out/index.html")).unwrap();
    let leaks = report["conclusive"].as_array().unwrap().len();
    check_page(&page, leaks, 6 * leaks, 6);
    check_in_browser(&folder.join("out/index.html"), 6 * leaks, 6);
    assert!(page.contains("threat: stolen store") && page.contains("threat: operator"));
}

#[test]
fn a_corpus_without_queries_has_nothing_about_retrieval() {
    let place = workplace();
    let folder = place.path();
    let texts: Vec<String> = generate(Split::HeldOut, 9).take(60).map(|record| record.text).collect();
    fs::write(folder.join("notes.txt"), texts.join("\n")).unwrap();
    let line = format!("{ATTACKED} --corpus notes.txt --defense gaussian(sigma=0.01..0.3/2log) --output out");
    let line = line.replace("--corpus records:60 ", "").replace("--adversary leaked(40) ", "");
    let output = embosk(folder, &line).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
    let out = folder.join("out");
    let leaks = json(&out)["conclusive"].as_array().unwrap().len().max(1);
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    // a panel for each leak, with the two strengths of one adversary
    check_page(&page, leaks, 2 * leaks, 3);
    check_in_browser(&out.join("index.html"), 2 * leaks, 3);
    let (visible, _) = page.split_once("<footer>").unwrap();
    for word in ["nDCG", "retrieval", "kept", "Pareto"] {
        assert!(!visible.split_once("</style>").unwrap().1.contains(word), "{word}");
    }
    assert!(json(&out)["rows"][0]["ndcg_kept"].is_null());
}

#[test]
fn without_a_range_what_is_measured_is_named() {
    let place = workplace();
    let line = "curve --attack none --corpus records:60 --output out";
    for (more, measured) in [
        (" --defense quantization(bits=8)", "measured: none, quantization(bits=8)\n"),
        (
            "",
            "measured: none, quantization(bits=8), gaussian(sigma=0.03), gaussian(sigma=0.1), rotation(key=",
        ),
    ] {
        let output = exits(place.path(), &format!("{line}{more}"), 0);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("no --defense has a range") && stderr.contains(measured), "{stderr}");
    }
    let quiet = exits(place.path(), &format!("{line} --quiet"), 0);
    assert!(quiet.stderr.is_empty());
}

#[test]
fn what_cannot_be_swept_is_refused() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    fs::write(folder.join("file"), "").unwrap();
    for (line, part) in [
        ("curve --output out --defense gaussian(sigma=0.1..0.2)", "character 16: a range needs"),
        ("curve --output out --defense quantization(bits=2..3)", "bits"),
        ("curve --output out --defense none --find leak<=0.1", "one range in one --defense"),
        (
            "curve --output out --defense gaussian(sigma=0.1..0.2/2) --find leak<=0.1 --attack none",
            "leave out --attack none",
        ),
        ("curve --output out --defense gaussian(sigma=0.1..0.2/2) --embedder nowhere", "nowhere"),
        ("curve --output file --defense gaussian(sigma=0.1..0.2/2)", "file: it is a file"),
    ] {
        refused(folder, line, part);
    }
    for line in ["curve", "curve --output out --find leak<0.1", "curve --output out --quiet --verbose"] {
        exits(folder, line, 2);
    }
    assert!(!folder.join("out").exists());
}

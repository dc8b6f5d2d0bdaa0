//! The readers on the corpus, and on inputs that are made from it: bytes changed, cut out, repeated and put in.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use embosk_fuzz::{READERS, Reader};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// How long each reader is fed with made inputs: 20 seconds in all. They are the same with every `cargo test`, as many
/// as fit in the time. `EMBOSK_FUZZ_SECONDS` names another number; if it is more, the inputs are random.
const SECONDS: f64 = 1.0;

/// A reader that takes longer than this for an input hangs.
const LONGEST: Duration = Duration::from_secs(20);

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index, usize),
    Repeat(Index, usize),
    Put(Index, Vec<u8>),
    End(Index),
}

/// What parsers stumble over.
const WORDS: [&[u8]; 16] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x80",
    b"\n",
    b"\r\n",
    b"\"",
    b"{",
    b"[[[[[[[[",
    b"NaN",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
];

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, 1 << bit)),
        (at(), 1..16_usize).prop_map(|(at, count)| Edit::Cut(at, count)),
        (at(), 1..64_usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
        (at(), vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Edit::Put(at, bytes)),
        (at(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Edit::Put(at, word.to_vec())),
        at().prop_map(Edit::End),
    ]
}

fn edited(mut input: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let place = |at: &Index, length: usize| if length == 0 { 0 } else { at.index(length) };
        let length = input.len();
        match edit {
            Edit::Set(at, byte) if length > 0 => input[place(at, length)] = *byte,
            Edit::Flip(at, bit) if length > 0 => input[place(at, length)] ^= bit,
            Edit::Cut(at, count) => {
                let start = place(at, length);
                drop(input.drain(start..length.min(start + count)));
            }
            Edit::Repeat(at, count) => {
                let start = place(at, length);
                let copy = input[start..length.min(start + count)].to_vec();
                drop(input.splice(start..start, copy));
            }
            Edit::Put(at, bytes) => {
                let start = place(at, length + 1);
                drop(input.splice(start..start, bytes.iter().copied()));
            }
            Edit::End(at) => input.truncate(place(at, length)),
            Edit::Set(..) | Edit::Flip(..) => {}
        }
    }
    input
}

/// When the current input was handed over, and what it is; the watchdog of [`no_reader_panics_or_hangs`] reads it.
static CURRENT: Mutex<Option<(Instant, Vec<u8>)>> = Mutex::new(None);

fn current() -> MutexGuard<'static, Option<(Instant, Vec<u8>)>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn feed(reader: Reader, input: &[u8]) {
    *current() = Some((Instant::now(), input.to_vec()));
    reader(input);
    *current() = None;
}

/// Ends the process if an input takes too long.
fn watch() {
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_secs(1));
            if let Some((since, input)) = &*current()
                && since.elapsed() > LONGEST
            {
                eprintln!("a reader hangs at {input:?}");
                std::process::abort();
            }
        }
    });
}

/// Feeds a reader for some time, and returns with how many inputs.
fn search(name: &str, reader: Reader, seconds: f64) -> usize {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for input in &corpus {
        feed(reader, input);
    }
    let (mut fed, end) = (corpus.len(), Instant::now() + Duration::from_secs_f64(seconds));
    let mut round = 0;
    while Instant::now() < end {
        // the same inputs with every `cargo test`, and others in a search
        let rng_seed = if seconds > SECONDS { RngSeed::Random } else { RngSeed::Fixed(round) };
        round += 1;
        let config = Config { cases: 64, failure_persistence: None, rng_seed, ..Config::default() };
        let inputs = (any::<Index>(), vec(edit(), 1..8))
            .prop_map(|(at, edits)| edited(at.get(&corpus).clone(), &edits));
        TestRunner::new(config)
            .run(&inputs, |input| {
                feed(reader, &input);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        fed += 64;
    }
    fed
}

#[test]
fn no_reader_panics_or_hangs() {
    let seconds = std::env::var("EMBOSK_FUZZ_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    watch();
    let only = std::env::var("EMBOSK_FUZZ_READER").ok();
    for (name, reader) in READERS {
        if only.as_deref().is_none_or(|only| only == name) {
            println!("{name}: {} inputs", search(name, reader, seconds));
        }
    }
}

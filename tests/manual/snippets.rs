//! Every snippet is executed: shell here, on the built program; Rust as doc tests; Python by
//! python/tests/test_readme.py, which knows all pages. Shell that is not executed is listed here, with the reason.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use embosk::Key;
use embosk::evaluate::Corpus;
use tempfile::TempDir;

use super::pages::{blocks, languages, manual, page, root};

/// A page whose shell blocks are run, in their order and in one folder.
struct Page {
    path: &'static str,
    /// What is there before.
    before: &'static str,
    /// What stands in place of parts of the blocks, so that they take seconds and need no network.
    shrunk: &'static [(&'static str, &'static str)],
}

const PAGES: [Page; 11] = [
    Page {
        path: "README.md",
        before: "",
        shrunk: &[("/6log", "/2log"), (" --samples 12 --queries 100", "")],
    },
    Page { path: "docs/start/measure.md", before: "", shrunk: &[("leaked(1000)", "leaked(40)")] },
    Page {
        path: "docs/start/gate.md",
        before: "",
        // the page's budget is there before; `init` writes another beside it
        shrunk: &[("embosk init", "mkdir new && cd new && embosk init")],
    },
    Page {
        path: "docs/start/sidecar.md",
        before: "cargo embosk keygen --output search.key; cargo embosk keygen --output support.key
                 export SEARCH_TOKEN=0123456789abcdef0123 SUPPORT_OPENAI_KEY=none",
        shrunk: &[("0.0.0.0:8787", "127.0.0.1:0")],
    },
    Page { path: "docs/do/own-texts.md", before: "", shrunk: &[] },
    Page {
        path: "docs/do/embedders.md",
        before: "cp -r \"$(scripts/fetch-minilm)\" my-model",
        shrunk: &[],
    },
    Page { path: "docs/do/rerank.md", before: "", shrunk: &[] },
    Page {
        path: "docs/do/files.md",
        before: "cp list.parquet passages.parquet; cp lines.jsonl queries.jsonl; cp lines.jsonl passages.jsonl
                 gzip -k passages.jsonl; cargo embosk embed --embedder reference --input texts.txt --output passages.npy",
        shrunk: &[
            ("cargo run --release --features cli --example table_speed --", "\"$EXAMPLES\"/table_speed"),
            ("target/release/embosk /tmp 500000 100000", "\"$EMBOSK\" . 500 100"),
        ],
    },
    Page { path: "docs/do/rotate.md", before: "cp list.parquet passages.parquet", shrunk: &[] },
    Page { path: "docs/do/curves.md", before: "", shrunk: &[("/6log", "/2log"), ("1..8", "4..8")] },
    Page {
        path: "docs/do/train.md",
        before: "cp own-texts.txt mine.txt",
        shrunk: &[
            ("--minutes 30", "--steps 2"),
            ("--minutes 50", "--steps 1 --batch-size 8"),
            ("--minutes 35", "--steps 1 --batch-size 8"),
            ("records:160000 --out records-attack", "records:200 --out records-attack"),
            ("records:80000", "records:200"),
            ("records:160000 --out my-embedder", "records:300 --out my-embedder --steps 1 --batch-size 8"),
        ],
    },
];

/// Blocks that are not run here, by their first words, and why.
const NOT_RUN: [(&str, &str, &str); 7] = [
    ("README.md", "cargo test --release --workspace", "it is what runs this test"),
    ("docs/start/python.md", "pip install maturin", "scripts/python-tests builds and installs the wheel"),
    ("docs/do/frameworks.md", "cd integrations", "scripts/integrations-tests runs the examples"),
    ("docs/do/stores.md", "cargo test --release --workspace", "tests of the workspace"),
    (
        "src/manual/worth.md",
        "src/manual/worth.sh reports",
        "it takes hours, and sentences that are fetched by hand",
    ),
    ("src/manual/retrieval.md", "export EMBOSK_KEY", "it needs three collections that are fetched by hand"),
    ("src/manual/embedders.md", "scripts/check-real-embedders", "it fetches models"),
];

#[test]
fn every_shell_block_is_run() {
    let cache = TempDir::new().unwrap();
    let queue = Mutex::new(PAGES.iter().filter(|page| !shell(page.path).is_empty()));
    let ran: usize = thread::scope(|scope| {
        let work = || {
            let pages = std::iter::from_fn(|| queue.lock().unwrap().next());
            pages.map(|page| run(page, cache.path())).sum::<usize>()
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let all: usize = manual().values().map(|text| blocks(text, "sh").len()).sum();
    assert_eq!(ran + NOT_RUN.len(), all, "each block is run, or is listed with a reason");
    println!("{ran} of {all} blocks were run");
}

/// The shell blocks of a page that are run.
fn shell(path: &str) -> Vec<String> {
    let is_run =
        |block: &String| NOT_RUN.iter().all(|(of, start, _)| *of != path || !block.starts_with(start));
    blocks(&page(path), "sh").into_iter().filter(is_run).collect()
}

#[test]
fn what_is_not_run_is_there() {
    for (path, start, _) in NOT_RUN {
        assert!(blocks(&page(path), "sh").iter().any(|block| block.starts_with(start)), "{path}: {start}");
    }
}

/// Runs the blocks of a page and returns how many there are.
fn run(page: &Page, cache: &Path) -> usize {
    let start = Instant::now();
    let folder = workplace(page.path);
    let mut program = format!("set -euo pipefail\n{}\n", page.before);
    let mut texts = shell(page.path);
    for (from, to) in page.shrunk {
        assert!(texts.iter().any(|text| text.contains(from)), "{}: nothing says {from}", page.path);
        texts = texts.iter().map(|text| text.replace(from, to)).collect();
    }
    for text in &texts {
        let _ = writeln!(program, "{text}");
    }
    let built = Path::new(env!("CARGO_BIN_EXE_embosk"));
    let path = std::env::join_paths(
        std::iter::once(folder.path().join("bin"))
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let output = Command::new("bash")
        .args(["-c", &program])
        .current_dir(folder.path())
        .env("PATH", path.unwrap())
        .env("EMBOSK", built)
        .env("EXAMPLES", built.parent().unwrap().join("examples"))
        .env("EMBOSK_CACHE", cache)
        .env("EMBOSK_KEY", Key::from_bytes([7; 32]).to_text().as_str())
        .env("CANDLE_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    println!("{}: {} blocks in {:.1} s", page.path, texts.len(), start.elapsed().as_secs_f64());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {program}\n{said}", page.path);
    texts.len()
}

/// A folder with the files that the manual's commands name.
fn workplace(path: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let program = |name: &str, text: &str| {
        write(name, text);
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    for name in ["bin/cargo", "bin/embosk"] {
        program(name, include_str!("cargo.sh"));
    }
    // the shipped embedder in place of one that is fetched
    let embedder = root().join("attacks/models/reference/embedder");
    program("scripts/fetch-minilm", &format!("#!/bin/sh\necho '{}'\n", embedder.display()));
    let texts = Corpus::records(400, 1).texts().to_vec();
    for (name, part) in [
        ("my-texts.txt", &texts[..60]),
        ("similar-texts.txt", &texts[100..]),
        ("own-texts.txt", &texts[100..]),
        ("texts.txt", &texts[..20]),
    ] {
        write(name, &(part.join("\n") + "\n"));
    }
    collection(&texts[..200], write);
    for table in ["list.parquet", "lines.jsonl"] {
        fs::copy(root().join("tests/data/tables").join(table), folder.path().join(table)).unwrap();
    }
    for (name, file) in
        [("authority.pem", "authority.pem"), ("server.pem", "server.pem"), ("server.key", "server.key")]
    {
        fs::copy(root().join("tests/data/tls").join(file), folder.path().join(name)).unwrap();
    }
    fs::set_permissions(folder.path().join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    // budgets and tenants as the pages have them
    let few = |text: &str| {
        let few = [
            ("samples = 300", "samples = 4\nguess_candidates = 8"),
            ("corpus = \"records\"", "corpus = \"records:100\"\nattacker_corpus = \"records:300\""),
            ("informed(10000)", "informed(300)"),
            ("leaked(768)", "leaked(40)"),
        ];
        few.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{path}: nothing says {from}");
            text.replace(from, to)
        })
    };
    write("examples/privacy-budget.toml", &few(&page("examples/privacy-budget.toml")));
    for text in blocks(&page(path), "toml") {
        if text.contains("[[stack]]") {
            write("privacy-budget.toml", &few(&text));
        } else if text.contains("[[tenant]]") {
            write("tenants.toml", &text.replace("DIGITS", &"0a".repeat(32)));
        }
    }
    folder
}

/// A small BEIR folder.
fn collection(texts: &[String], write: impl Fn(&str, &str)) {
    let (mut corpus, mut queries, mut judged) =
        (String::new(), String::new(), "query-id\tcorpus-id\tscore\n".to_owned());
    for (at, text) in texts.iter().enumerate() {
        let _ =
            writeln!(corpus, "{}", serde_json::json!({ "_id": at.to_string(), "title": "", "text": text }));
        let query = text.split(' ').take(6).collect::<Vec<_>>().join(" ");
        let _ = writeln!(queries, "{}", serde_json::json!({ "_id": format!("q{at}"), "text": query }));
        let _ = writeln!(judged, "q{at}\t{at}\t1");
    }
    write("my-collection/corpus.jsonl", &corpus);
    write("my-collection/queries.jsonl", &queries);
    write("my-collection/qrels/test.tsv", &judged);
}

/// Rust blocks are doc tests of src/lib.rs.
#[test]
fn every_rust_block_is_a_doc_test() {
    let library = page("src/lib.rs");
    let mut checked = 0;
    for (path, text) in manual() {
        let rust: Vec<&str> =
            languages(&text).into_iter().filter(|language| language.starts_with("rust")).collect();
        assert!(!rust.iter().any(|language| language.contains("ignore")), "{}: {rust:?}", path.display());
        if !rust.is_empty() {
            let included = format!("include_str!(\"../{}\")", path.display());
            assert!(library.contains(&included), "src/lib.rs: #[doc = {included}] is missing");
            checked += rust.len();
        }
    }
    assert!(checked >= 4, "{checked} blocks");
}

/// Every language is one of those above, or shows no code.
#[test]
fn no_block_is_of_another_language() {
    let known = ["sh", "rust", "rust,no_run", "python", "toml", "text"];
    for (path, text) in manual() {
        for language in languages(&text) {
            assert!(known.contains(&language), "{}: {language:?}", path.display());
        }
    }
}

#[test]
fn the_dependencies_to_paste_are_ours() {
    let block = blocks(&page("README.md"), "toml").remove(0);
    let version = block.lines().find(|line| line.starts_with("ndarray = ")).unwrap();
    assert!(page("Cargo.toml").lines().any(|line| line == version), "{version}");
    let lock = page("Cargo.lock");
    for block in blocks(&page("docs/reference/defenses.md"), "toml") {
        let names = block.lines().filter_map(|line| line.strip_prefix("[profile.dev.package."));
        for name in names.map(|name| name.trim_end_matches(']')) {
            assert!(lock.contains(&format!("name = \"{name}\"\n")), "{name}");
        }
    }
}

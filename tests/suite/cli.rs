//! The `embosk` command from outside: exit codes, messages, files.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use embosk::Defense;
use ndarray::{Array2, Axis, array, concatenate};
use ndarray_npy::{read_npy, write_npy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::command::{embosk, exits, refused, stderr};

fn succeeds(folder: &TempDir, line: &str) -> String {
    String::from_utf8(exits(folder, line, 0).stdout).unwrap()
}

/// A folder with a key, clean vectors, and files that are wrong in many ways.
fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let store = |name: &str, vectors: &Array2<f32>| write_npy(folder.path().join(name), vectors).unwrap();
    let clean = array![[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]];
    store("clean.npy", &clean);
    store("empty.npy", &Array2::zeros((0, 3)));
    store("holed.npy", &array![[1.0, 0.0, 0.0], [f32::NAN, 0.0, 1.0]]);
    store("wide.npy", &Array2::ones((2, 4)));
    write_npy(folder.path().join("double.npy"), &array![[1.0_f64, 0.0, 0.0]]).unwrap();
    let whole = fs::read(folder.path().join("clean.npy")).unwrap();
    write("truncated.npy", &whole[..whole.len() - 1]);
    write("header.npy", &whole[..40]);
    write("text.npy", b"no array");
    write("texts.txt", b"one text\n\nand another\n");
    write("nothing.txt", b"");
    write("latin.txt", b"first\nsecond caf\xe9\n");
    fs::create_dir(folder.path().join("model")).unwrap();
    folder
}

#[test]
fn a_new_key_rotates_a_file_of_vectors() {
    let folder = workplace();
    assert_eq!(succeeds(&folder, "keygen --output key"), "");
    let turn = "protect --defense rotation(key=file:key) --role";
    assert_eq!(succeeds(&folder, &format!("{turn} document clean.npy documents.npy")), "");
    succeeds(&folder, &format!("{turn} query clean.npy queries.npy"));
    let read = |name: &str| read_npy::<_, Array2<f32>>(folder.path().join(name)).unwrap();
    let (clean, documents, queries) = (read("clean.npy"), read("documents.npy"), read("queries.npy"));
    assert!((&documents - &clean).iter().any(|difference| difference.abs() > 0.01));
    let products = |a: &Array2<f32>, b: &Array2<f32>| a.dot(&b.t());
    let difference = products(&documents, &queries) - products(&clean, &clean);
    assert!(difference.iter().all(|difference| difference.abs() < 1e-5));
}

/// The exact vectors come out sealed, one row an id, for documents alone.
#[test]
fn a_defense_that_re_ranks_seals_exact_vectors_beside_coarse_ones() {
    let folder = workplace();
    succeeds(&folder, "keygen --output key");
    fs::write(folder.path().join("two.ids"), "a\nb\n").unwrap();
    fs::write(folder.path().join("same.ids"), "a\na\n").unwrap();
    let defense = "--defense quantization(bits=1)|rerank(candidates=9,key=file:key)";
    let protect = |more: &str| format!("protect {defense} {more} clean.npy coarse.npy");
    succeeds(&folder, &protect("--role document --ids two.ids --sealed sealed.npy"));
    let at = |name: &str| folder.path().join(name);
    let sealed: Array2<u8> = read_npy(at("sealed.npy")).unwrap();
    assert_eq!(sealed.dim(), (2, 61 + 4 + 3));
    let stack: embosk::Stack =
        format!("quantization(bits=1) | rerank(candidates=9, key=file:{:?})", at("key")).parse().unwrap();
    let sealer = stack.reranking().unwrap().sealer(&stack).unwrap();
    let rows: Vec<Vec<u8>> = sealed.rows().into_iter().map(|row| row.to_vec()).collect();
    let opened = sealer.open_vectors(&["a", "b"], &rows).unwrap();
    let clean: Array2<f32> = read_npy(at("clean.npy")).unwrap();
    assert!((&opened - &clean).iter().all(|lost| lost.abs() < 0.005));
    assert!(sealer.open_vectors(&["b", "a"], &rows).is_err());
    assert_ne!(read_npy::<_, Array2<f32>>(at("coarse.npy")).unwrap(), clean);
    succeeds(&folder, &protect("--role query"));

    refused(&folder, &protect("--role document --ids two.ids"), "name a file for them with --sealed");
    refused(&folder, &protect("--role document --sealed s.npy"), "give the ids with --ids");
    refused(&folder, &protect("--role document --ids same.ids --sealed s.npy"), "line 2 repeats an id");
    refused(&folder, &protect("--role query --sealed s.npy"), "--sealed is for documents");
    let other = "protect --role document --ids two.ids --sealed s.npy clean.npy coarse.npy --defense";
    refused(&folder, &format!("{other} rerank(candidates=9)"), "give it a key");
    refused(&folder, &format!("{other} quantization(bits=1)"), "--sealed is for documents");
    assert!(!at("s.npy").exists());

    let read = |name: &str| fs::read(at(name)).unwrap();
    let before = ["clean.npy", "two.ids"].map(read);
    for (sealed, part) in [
        ("clean.npy", "the clean vectors would be overwritten"),
        ("./two.ids", "the ids would be overwritten"),
        ("./coarse.npy", "would be one file"),
    ] {
        refused(&folder, &protect(&format!("--role document --ids two.ids --sealed {sealed}")), part);
    }
    fs::remove_file(at("coarse.npy")).unwrap();
    refused(&folder, &protect("--role document --ids two.ids --sealed ./coarse.npy"), "would be one file");
    assert_eq!(before, ["clean.npy", "two.ids"].map(read), "nothing is lost");
}

#[test]
fn no_output_takes_the_place_of_a_key_or_a_fit_that_the_defense_names() {
    let folder = workplace();
    let at = |name: &str| folder.path().join(name);
    for name in ["key", "coarse.npy.json"] {
        succeeds(&folder, &format!("keygen --output {name}"));
    }
    fs::write(at("two.ids"), "a\nb\n").unwrap();
    let held = ["key", "coarse.npy.json"].map(|name| fs::read(at(name)).unwrap());
    let protect = "protect --role document";
    let sealed = "--defense rerank(candidates=9,key=file:key) --ids two.ids --sealed";
    let coded = "--defense rotation(key=file:coarse.npy.json)|quantization(bits=8) --codes int8";
    for line in [
        format!("{protect} --defense rotation(key=file:key) clean.npy ./key --format npy"),
        format!("{protect} {sealed} ./key clean.npy coarse.npy"),
        format!("{protect} {coded} clean.npy coarse.npy"),
        "unprotect --defense rotation(key=file:./key) clean.npy key --format npy".into(),
        "fit groups --from clean.npy --defense rotation(key=file:key) --output key".into(),
    ] {
        refused(&folder, &line, "a key or a fit that the defense names would be overwritten");
    }
    assert_eq!(held, ["key", "coarse.npy.json"].map(|name| fs::read(at(name)).unwrap()));
}

#[test]
fn a_search_for_a_setting_says_what_it_needs() {
    let folder = workplace();
    for (more, part) in [
        ("--defense none", "leave --defense out"),
        ("--keep 2", "--keep must be above 0 and at most 1"),
        ("--limit leak<0.1", "a limit is METRIC<=NUMBER"),
        ("--candidates 0", "--candidates must be above 0"),
        ("--corpus texts.txt", "the corpus has no judged queries"),
        ("--output no/such/folder/fit", "there is no folder"),
        ("--vectors clean.npy --texts texts.txt", "embeds the corpus by itself"),
        ("--adversary nobody", "no such adversary"),
    ] {
        refused(&folder, &format!("recommend {more}"), part);
    }
}

#[test]
fn keys_differ_are_closed_to_others_and_are_not_overwritten() {
    let folder = workplace();
    let [one, other] = [(); 2].map(|()| succeeds(&folder, "keygen"));
    assert_ne!(one, other);
    succeeds(&folder, "keygen --output key");
    let stored = fs::read_to_string(folder.path().join("key")).unwrap();
    assert_eq!(stored.len(), one.len());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(folder.path().join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    refused(&folder, "keygen --output key", "it exists");
    refused(&folder, "keygen --output .", ".: it is a folder; name a file to write");
    assert_eq!(fs::read_to_string(folder.path().join("key")).unwrap(), stored);
    refused(
        &folder,
        "keygen --output no/such/folder/key",
        "key: there is no folder no/such/folder to write it to",
    );
    #[cfg(unix)]
    refused(
        &folder,
        "evaluate --defense rotation(key=file:/dev/zero)",
        "/dev/zero cannot be used: it is not a regular",
    );
}

#[test]
fn a_defense_that_cannot_be_read_is_refused() {
    let folder = workplace();
    let protect = |spec: &str| format!("protect --defense {spec} --role document clean.npy out.npy");
    for (spec, part) in [
        ("rotate(key=env:K)", "unknown defense"),
        ("gaussian(sigma=-1)", "sigma"),
        ("gaussian", "expected `(`"),
        ("quantization(bits=3)", "bits"),
        ("rotation(key=env:EMBOSK_KEY)", "EMBOSK_KEY"),
        ("rotation(key=file:nowhere)", "nowhere"),
        ("gaussian(sigma=0.1..0.3/3)", "only `embosk curve` takes ranges"),
    ] {
        refused(&folder, &protect(spec), part);
        refused(&folder, &format!("train inverter --corpus texts.txt --out o --defense {spec}"), part);
        let evaluate = format!("evaluate --embedder model --defense {spec}");
        refused(&folder, &evaluate, part);
    }
    assert!(!folder.path().join("out.npy").exists());
}

#[test]
fn a_key_in_a_spec_is_refused_and_not_repeated() {
    let folder = workplace();
    let key = succeeds(&folder, "keygen");
    for key in [key.trim(), &"0123456789abcdef".repeat(4)] {
        for verb in ["protect --role query clean.npy out.npy", "evaluate --embedder model"] {
            let output = embosk(&folder, &format!("{verb} --defense rotation(key={key})")).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            assert!(!stderr(&output).contains(key), "{}", stderr(&output));
        }
    }
}

#[test]
fn vectors_that_are_wrong_are_refused() {
    let folder = workplace();
    succeeds(&folder, "keygen --output key");
    let protect =
        |input: &str| format!("protect --defense gaussian(sigma=0.1) --role document {input} out.npy");
    for (input, part) in [
        ("holed.npy", "row 1"),
        ("truncated.npy", "truncated"),
        ("header.npy", "header"),
        ("text.npy", "not a .npy file"),
        ("double.npy", "float32"),
        ("missing.npy", "missing.npy: there is no such file"),
        ("model", "model: it is a folder"),
    ] {
        refused(&folder, &protect(input), part);
    }
    let narrow = "protect --defense rotation(key=file:key,dim=3) --role document";
    refused(&folder, &format!("{narrow} wide.npy out.npy"), "dimension 3");
    refused(&folder, &format!("{narrow} clean.npy clean.npy"), "overwritten");
    refused(&folder, &format!("{narrow} clean.npy ./model/../clean.npy"), "overwritten");
    refused(
        &folder,
        &format!("{narrow} clean.npy no/folder/out.npy"),
        "out.npy: there is no folder no/folder",
    );
    assert!(!folder.path().join("out.npy").exists());
    let left =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.contains("part")));
}

#[test]
fn keyed_noise_by_id_is_the_same_in_another_batch() {
    let folder = workplace();
    succeeds(&folder, "keygen --output key");
    let store = |name: &str, vectors: Array2<f32>| write_npy(folder.path().join(name), &vectors).unwrap();
    store("zeros.npy", Array2::zeros((2, 3)));
    store("more.npy", Array2::zeros((3, 3)));
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("two.txt", "first\nsécond\r\n");
    write("three.txt", "other\nsécond\nfirst");
    let noise = "protect --defense gaussian(sigma=0.1,key=file:key) --role document";
    succeeds(&folder, &format!("{noise} --ids two.txt zeros.npy two.npy"));
    succeeds(&folder, &format!("{noise} --ids three.txt more.npy three.npy"));
    let read = |name: &str| read_npy::<_, Array2<f32>>(folder.path().join(name)).unwrap();
    let (two, three) = (read("two.npy"), read("three.npy"));
    assert_eq!((two.row(0), two.row(1)), (three.row(2), three.row(1)));
    assert_ne!(two.row(0), three.row(0));
    assert_ne!(two.row(0), two.row(1));
    // marked and packed as other files of lines may be
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all("\u{feff}first\nsécond\n".as_bytes()).unwrap();
    fs::write(folder.path().join("two.gz"), packed.finish().unwrap()).unwrap();
    succeeds(&folder, &format!("{noise} --ids two.gz zeros.npy packed.npy"));
    assert_eq!(read("packed.npy"), two);

    write("holed.txt", "first\n\n");
    write("doubled.txt", "first\nfirst\n");
    let ids = |ids: &str| format!("{noise} --ids {ids} zeros.npy out.npy");
    refused(&folder, &ids("three.txt"), "three.txt: it has 3 ids, but zeros.npy has 2 vectors");
    refused(&folder, &ids("holed.txt"), "holed.txt: line 2 is empty");
    refused(&folder, &ids("latin.txt"), "latin.txt, line 2: it is not UTF-8");
    refused(&folder, &ids("missing.txt"), "missing.txt: there is no such file");
    write("pointer.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    refused(&folder, &ids("pointer.txt"), "pointer.txt: it is a Git LFS pointer");
    fs::write(folder.path().join("wide.txt"), b"\xff\xfea\0\n\0b\0\n\0").unwrap();
    refused(&folder, &ids("wide.txt"), "wide.txt: it is UTF-16");
    assert!(!folder.path().join("out.npy").exists());

    let warned = |line: &str| stderr(&embosk(&folder, line).output().unwrap());
    let of_zeros = warned(&ids("two.txt"));
    assert!(
        of_zeros.contains("mean norm of 0.000") && !of_zeros.contains("id of") && !of_zeros.contains("--ids")
    );
    store("units.npy", Array2::eye(3));
    let told = warned(&format!("{noise} --ids three.txt units.npy out.npy"));
    assert!(told.starts_with("fingerprint: ") && told.lines().count() == 1, "{told}");
    assert_eq!(warned(&format!("-q {noise} --ids three.txt units.npy out.npy")), "");
    assert!(warned(&ids("doubled.txt")).contains("doubled.txt: line 2 repeats an id"));
    let fresh = "protect --role query --ids two.txt zeros.npy out.npy --defense";
    for defense in ["gaussian(sigma=0.1)", "gaussian(sigma=0.1,key=file:key,on=documents)"] {
        assert!(warned(&format!("{fresh} {defense}")).contains("--ids makes no difference"), "{defense}");
    }
}

#[test]
fn a_file_without_vectors_is_refused() {
    let folder = workplace();
    refused(&folder, "protect --defense none --role query empty.npy out.npy", "empty.npy: it has no rows");
    assert!(!folder.path().join("out.npy").exists());
}

#[test]
fn texts_and_models_that_are_missing_are_named() {
    let folder = workplace();
    for (line, part) in [
        ("embed --embedder model --input nothing.txt --output out.npy", "nothing.txt: it is empty"),
        ("embed --embedder model --input latin.txt --output out.npy", "latin.txt, line 2: it is not UTF-8"),
        ("embed --embedder model --input missing.txt --output out.npy", "missing.txt: there is no such file"),
        (
            "embed --embedder model --input texts.txt --output out.npy",
            "model/config.json: there is no such file; an embedder's folder is one of sentence-transformers",
        ),
        ("embed --embedder nowhere --input texts.txt --output out.npy", "nowhere: there is no such folder"),
        (
            "embed --embedder texts.txt --input texts.txt --output out.npy",
            "texts.txt: it is a file; an embedder is",
        ),
        (
            "evaluate --cache texts.txt --corpus records:20 --attack none",
            "texts.txt: it is a file, and the cache is",
        ),
        ("embed --embedder http://localhost/v1 --input texts.txt --output out.npy", "it names no model"),
        ("invert --inverter model --embedder model --input nothing.txt", "nothing.txt: it is empty"),
        ("invert --inverter model --embedder model --vectors empty.npy", "empty.npy: it has no rows"),
        ("invert --inverter model --embedder model --vectors truncated.npy", "truncated"),
        ("invert --inverter model --embedder model --vectors holed.npy", "holed.npy: row 1"),
        (
            "train inverter --embedder model --corpus texts.txt --out o --minutes 1e300",
            "--minutes is too large",
        ),
        (
            "train inverter --embedder model --corpus texts.txt --out o --minutes 0",
            "--minutes must be more than 0",
        ),
        ("train inverter --embedder model --corpus texts.txt --out o --device metal", "cpu and cuda"),
        #[cfg(not(feature = "cuda"))]
        (
            "train embedder --teacher model --corpus texts.txt --out o --device cuda",
            "build it with --features cuda",
        ),
        ("train corrector --inverter none --embedder model --corpus texts.txt --out o", "none"),
        (
            "train inverter --corpus texts.txt --out o --init model",
            "model/config.json: there is no such file; a model's",
        ),
        ("train inverter --corpus texts.txt --out o --resume", "o: there is no checkpoint to resume from"),
        (
            "invert --inverter model --embedder model --input texts.txt",
            "model/config.json: there is no such file; a model's folder has config.json, weights",
        ),
        ("invert --inverter no-such-attack --embedder model --input texts.txt", "no-such-attack"),
        ("evaluate --corpus records:0 --embedder model", "records:N"),
        (
            "evaluate --corpus model --embedder model",
            "model/corpus.jsonl: there is no such file; a BEIR folder has",
        ),
        ("evaluate --corpus missing.txt --embedder model", "missing.txt: there is no such file; a corpus is"),
        ("evaluate --retrained model --embedder model", "add the adversary `retrained`"),
        ("evaluate --adversary all --adversary naive --embedder model", "name no other"),
        ("evaluate --attack none --surrogate model --embedder model", "a surrogate is named, but no attack"),
        ("evaluate --embedder model --output no/folder/report.json", "report.json: there is no folder"),
        ("embed --embedder model --input texts.txt --output model", "model: it is a folder"),
        ("evaluate --embedder model", "model"),
    ] {
        refused(&folder, line, part);
    }
    assert!(!folder.path().join("out.npy").exists());
}

#[test]
fn arguments_that_cannot_be_understood_exit_with_2() {
    let folder = workplace();
    for line in [
        "",
        "curve",
        "evaluate --adversary unpaired(many)",
        "evaluate --adversary leaked(0)",
        "evaluate --samples many",
        "evaluate --beam-width 0",
        "evaluate --beam-width 100000",
        "evaluate --format xml",
        "invert --inverter model --embedder model",
        "invert --corrector model --input texts.txt",
        "invert --inverter model --embedder model --input texts.txt --vectors clean.npy",
        "protect --defense none --role both clean.npy out.npy",
        "protect --defense none clean.npy out.npy",
        "score",
        "train embedder --corpus texts.txt --out o",
        "train embedder --teacher model --corpus texts.txt --out o --vocabulary 8",
        "train embedder --teacher model --corpus texts.txt --out o --label-smoothing 0.1",
    ] {
        let output = embosk(&folder, line).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!stderr(&output).is_empty() && !stderr(&output).contains("panicked"));
    }
    assert!(succeeds(&folder, "--help").contains("evaluate"));
    assert!(succeeds(&folder, "--version").starts_with("embosk "));
}

#[test]
fn pairs_are_scored_as_sacrebleu_and_rouge_score_them() {
    let folder = workplace();
    let golden =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/text-metrics.jsonl"))
            .unwrap();
    let golden: Vec<Value> = golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let pairs = golden.iter().map(|pair| {
        json!({"input": pair["reference"], "output": pair["candidate"], "queries": 7}).to_string() + "\n"
    });
    fs::write(folder.path().join("pairs.jsonl"), pairs.collect::<String>()).unwrap();
    let scores: Value =
        serde_json::from_str(&succeeds(&folder, "score --input pairs.jsonl --format json")).unwrap();
    for metric in ["bleu", "chrf", "rouge_1", "rouge_l", "token_f1"] {
        let expected =
            golden.iter().map(|pair| pair[metric].as_f64().unwrap()).sum::<f64>() / golden.len() as f64;
        let [value, low, high] = ["value", "low", "high"].map(|end| scores[metric][end].as_f64().unwrap());
        assert!((value - expected).abs() < 1e-9, "{metric}: {value} {expected}");
        assert!(low < value && value < high);
    }
    let corpora =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus-metrics.json"));
    let corpora: Value = serde_json::from_str(&corpora.unwrap()).unwrap();
    for (metric, name) in [("corpus_bleu", "bleu"), ("corpus_chrf", "chrf")] {
        let [value, low, high] = ["value", "low", "high"].map(|end| scores[metric][end].as_f64().unwrap());
        assert!((value - corpora[0][name].as_f64().unwrap()).abs() < 1e-9 && low < value && value < high);
    }
    let effective: Value =
        serde_json::from_str(&succeeds(&folder, "score --input pairs.jsonl --format json --effective-order"))
            .unwrap();
    assert!(effective["bleu"]["value"].as_f64() > scores["bleu"]["value"].as_f64());
}

#[test]
fn three_pairs_are_scored_by_hand() {
    let folder = workplace();
    let pairs =
        [("Ann owes Bob five dollars", "Ann owes Bob five dollars"), ("a b c d", "w x y z"), ("a b", "a c")];
    let lines = pairs.map(|(input, output)| json!({"input": input, "output": output}).to_string() + "\n");
    fs::write(folder.path().join("pairs.jsonl"), lines.concat()).unwrap();
    let scores: Value =
        serde_json::from_str(&succeeds(&folder, "score --input pairs.jsonl --format json")).unwrap();
    let value = |metric: &str| scores[metric]["value"].as_f64().unwrap();
    assert!((value("exact_match") - 1.0 / 3.0).abs() < 1e-9);
    assert!((value("token_f1") - 0.5).abs() < 1e-9 && (value("rouge_l") - 0.5).abs() < 1e-9);
    // without a corpus, stop words alone are left out: `a`, and of the last pair only `b` and `c` are compared
    assert!((value("word_recall") - 1.0 / 3.0).abs() < 1e-9);
    let names: Vec<&str> = scores.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "bleu",
            "chrf",
            "corpus_bleu",
            "corpus_chrf",
            "exact_match",
            "rouge_1",
            "rouge_l",
            "token_f1",
            "word_f1",
            "word_recall"
        ]
    );
    let table = succeeds(&folder, "score --input pairs.jsonl");
    assert!(
        table.starts_with("exact match       0.333 [0.008, 0.906]\n") && table.contains("3 pairs"),
        "{table}"
    );
}

#[test]
fn entities_are_scored_where_spans_name_them() {
    let folder = workplace();
    let pairs = [("Zoë lives in Rome", "Zoë lives in Oslo"), ("nobody", "Ann")];
    let lines = pairs.map(|(input, output)| json!({"input": input, "output": output}).to_string() + "\n");
    fs::write(folder.path().join("pairs.jsonl"), lines.concat()).unwrap();
    let command = "score --input pairs.jsonl --entities spans.jsonl --format json";
    let first = r#"{"input": [[0, 3, "PERSON"], [13, 17]], "output": [[0, 3]]}"#;
    fs::write(
        folder.path().join("spans.jsonl"),
        format!("{first}\n{{\"input\": [], \"output\": [[0, 3]]}}\n"),
    )
    .unwrap();
    let scores: Value = serde_json::from_str(&succeeds(&folder, command)).unwrap();
    assert_eq!(scores["entity_recall"]["value"], 0.5);
    assert_eq!(scores["entity_precision"]["value"], 0.5);
    for (spans, message) in [
        (first.to_owned(), "spans.jsonl: 1 lines, but there are 2 pairs"),
        (
            format!("{first}\n{{\"input\": [[0, 99]]}}\n"),
            "spans.jsonl, line 2: a span is empty or ends beyond",
        ),
        (format!("{first}\n[]\n"), "spans.jsonl, line 2: it is not a JSON object"),
        (
            format!("{first}\n{{\"input\": [], \"output\": [[0]]}}\n"),
            "or the field \"output\" is not a list of spans, each [start, end]",
        ),
        (format!("{first}\n[[[0, 3]], null]\n"), "spans.jsonl, line 2: it is not a JSON object"),
    ] {
        fs::write(folder.path().join("spans.jsonl"), spans).unwrap();
        refused(&folder, command, message);
    }
}

#[test]
fn a_bad_pair_is_named_and_not_quoted() {
    let folder = workplace();
    let good = "{\"input\": \"a\", \"output\": \"b\"}\n";
    for bad in [
        "{\"input\": null, \"output\": \"secret\"}",
        "{\"output\": \"secret\"}",
        "[\"secret\"]",
        "[\"secret\", \"secret\"]",
        "secret",
        "",
    ] {
        fs::write(folder.path().join("pairs.jsonl"), format!("{good}{bad}\n")).unwrap();
        refused(&folder, "score --input pairs.jsonl", "pairs.jsonl, line 2: ");
        assert!(!stderr(&embosk(&folder, "score --input pairs.jsonl").output().unwrap()).contains("secret"));
    }
    refused(&folder, "score --input nothing.txt", "nothing.txt: it is empty");
}

/// Five documents and three queries, with what else the judgements name.
fn collection(folder: &TempDir, judgements: &str) {
    let entries = |all: &[(&str, &str)]| -> String {
        all.iter().map(|(id, text)| format!("{}\n", json!({"_id": id, "text": text}))).collect()
    };
    let documents = entries(&[
        ("d1", "Boats over nine metres must moor at the north quay."),
        ("d2", "Rye dough rests for twelve hours in a cool cellar."),
        ("d3", "The tram to the airport leaves every ten minutes."),
        ("d4", "A hive in winter keeps its centre at thirty degrees."),
        ("d5", "The tower clock was stopped for repairs in March."),
    ]);
    let queries = entries(&[
        ("q1", "where do long boats moor?"),
        ("q2", "how long does rye dough rest?"),
        ("q3", "how often goes the airport tram?"),
    ]);
    let qrels = folder.path().join("beir/qrels");
    fs::create_dir_all(&qrels).unwrap();
    fs::write(folder.path().join("beir/corpus.jsonl"), documents).unwrap();
    fs::write(folder.path().join("beir/queries.jsonl"), queries).unwrap();
    fs::write(
        qrels.join("test.tsv"),
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq3\td3\t1\n".to_owned() + judgements,
    )
    .unwrap();
}

#[test]
fn dangling_judgements_count_and_are_told() {
    let folder = workplace();
    let line = "evaluate -q --attack none --defense none --format json --corpus beir --cache cache";
    // pytrec_eval-terrier 0.5.11: (0.613147 + 1 + 1) / 3
    for (judgements, expected, told) in [
        ("", 1.0, ""),
        (
            "q1\tremoved\t1\nq9\td1\t1\nq9\td2\t1\n",
            0.871_049_064_255_152_8,
            "warning: beir: judgements that name a document that is not in corpus.jsonl, and count as not found: 1; \
             judgements that name a query that is not in queries.jsonl, and are left out: 2",
        ),
    ] {
        collection(&folder, judgements);
        let output = embosk(&folder, line).output().unwrap();
        let told_now = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{told_now}");
        assert!(told_now.starts_with(told) && told_now.is_empty() == told.is_empty(), "{told_now}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ndcg = report["rows"][0]["ndcg_at_10"]["value"].as_f64().unwrap();
        assert!((ndcg - expected).abs() < 1e-9, "{ndcg}");
        let count = &report["signature"]["dangling_judgements"];
        let expected = if told.is_empty() { Value::Null } else { json!({"documents": 1, "queries": 2}) };
        assert_eq!(*count, expected);
    }
    refused(
        &folder,
        &format!("{line} --split dev"),
        "dev.tsv: there is no such file; the folder has judgements",
    );
    refused(&folder, "evaluate --attack none --split dev", "the corpus is not a BEIR folder");
    fs::rename(folder.path().join("beir/qrels/test.tsv"), folder.path().join("beir/qrels/dev.tsv")).unwrap();
    let report: Value = serde_json::from_str(&succeeds(&folder, &format!("{line} --split dev"))).unwrap();
    assert_eq!(report["signature"]["corpus"], "beir:dev");
}

#[test]
fn a_byte_order_mark_and_nan_do_no_harm() {
    let folder = workplace();
    let path = |name: &str| folder.path().join(name);
    collection(&folder, "");
    let line = "evaluate -q --attack none --defense none --format json --corpus beir --cache cache";
    let plain = succeeds(&folder, line);
    for name in ["beir/corpus.jsonl", "beir/queries.jsonl", "beir/qrels/test.tsv"] {
        let text =
            fs::read_to_string(path(name)).unwrap().replacen("}\n", ", \"metadata\": {\"year\": NaN}}\n", 1);
        fs::write(path(name), format!("\u{feff}{text}")).unwrap();
    }
    assert_eq!(succeeds(&folder, line), plain);
    let pair = "{\"input\": \"a b\", \"output\": \"a b\"";
    fs::write(path("pairs.jsonl"), format!("\u{feff}{pair}, \"cosine\": NaN}}\n{pair}}}\n")).unwrap();
    assert!(succeeds(&folder, "score --input pairs.jsonl").starts_with("exact match       1.000"));
    fs::write(path("pairs.jsonl"), "{\"input\": \"secret\", \"output\": NaN}\n").unwrap();
    refused(
        &folder,
        "score --input pairs.jsonl",
        "pairs.jsonl, line 1: the field \"output\" is NaN; it must be a string",
    );
    fs::write(path("budget.toml"), "\u{feff}samples = 2\n").unwrap();
    refused(&folder, "gate --budget budget.toml", "it names no stack");
    fs::write(path("texts.txt"), "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n")
        .unwrap();
    refused(&folder, "evaluate --corpus texts.txt", "texts.txt: it is a Git LFS pointer");
}

#[test]
fn a_vector_is_inverted_by_its_direction() {
    let folder = workplace();
    let text = "Daniel Costa sold the house in Lisbon to Maria Lopez on June 7.\n";
    fs::write(folder.path().join("texts.txt"), text).unwrap();
    succeeds(&folder, "embed -q --input texts.txt --output v.npy");
    let invert = "invert --format text --steps 2 --local-queries 50 --vectors";
    let expected = embosk(&folder, &format!("{invert} v.npy")).output().unwrap();
    assert_eq!((expected.status.code(), stderr(&expected).contains("scaled")), (Some(0), false));
    let vectors: Array2<f32> = read_npy(folder.path().join("v.npy")).unwrap();
    for scale in [0.1, 127.0, 1e-30] {
        write_npy(folder.path().join("s.npy"), &(&vectors * scale)).unwrap();
        let output = embosk(&folder, &format!("{invert} s.npy")).output().unwrap();
        assert_eq!(output.stdout, expected.stdout, "{scale}");
        assert!(stderr(&output).contains("1 of 1 vectors were scaled to norm 1"), "{}", stderr(&output));
    }
    let zero = concatenate(Axis(0), &[vectors.view(), Array2::zeros(vectors.dim()).view()]).unwrap();
    write_npy(folder.path().join("s.npy"), &zero).unwrap();
    refused(&folder, &format!("{invert} s.npy"), "s.npy: row 1 is zero");
}

/// Queries stand behind their prompt; the numbers are Python's (models/tests/golden/architectures.py).
#[test]
fn a_decoder_embeds_queries_as_python_does() {
    let folder = workplace();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/data/architectures");
    let (from, to) = (data.join("qwen3"), folder.path().join("qwen3"));
    fs::create_dir_all(to.join("1_Pooling")).unwrap();
    let names =
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "modules.json"];
    for name in names.into_iter().chain(["config_sentence_transformers.json", "1_Pooling/config.json"]) {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let (texts, expected) = (read(&data.join("texts.json")), read(&from.join("expected.json")));
    let rows = texts.as_array().unwrap().iter().zip(expected["queries"].as_array().unwrap());
    let rows: Vec<_> = rows.filter(|(text, _)| !text.as_str().unwrap().contains(['\n', '\r'])).collect();
    let lines: String = rows.iter().map(|(text, _)| format!("{}\n", text.as_str().unwrap())).collect();
    fs::write(folder.path().join("texts.txt"), lines).unwrap();
    succeeds(&folder, "embed -q --embedder qwen3 --role query --input texts.txt --output v.npy");
    let vectors: Array2<f32> = read_npy(folder.path().join("v.npy")).unwrap();
    assert!(vectors.nrows() == rows.len() && rows.len() > 25);
    for (found, (_, expected)) in vectors.rows().into_iter().zip(rows) {
        let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4));
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = workplace();
    fs::write(folder.path().join("pairs.jsonl"), "{\"input\": \"a\", \"output\": \"b\"}\n").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = embosk(&folder, "score --input pairs.jsonl").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn fits_are_written_and_named_in_specs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("texts.txt"), "a letter\na bill\nan invoice\n").unwrap();
    succeeds(&folder, "embed --input texts.txt --output clean.npy");
    let clean: Array2<f32> = read_npy(folder.path().join("clean.npy")).unwrap();
    let fits = [
        ("projection --dims 8", "projection(fit=file:fit,dims=5)|gaussian(sigma=0,on=documents)", 5),
        ("projection --dims 6 --whiten", "projection(fit=file:fit)", 6),
        ("codebook --subspaces 4 --centroids 8", "product_quantization(codebook=file:fit)", clean.ncols()),
        ("scales --bits 4", "quantization(bits=4,scale=file:fit)", clean.ncols()),
        ("groups --k 3", "microaggregation(groups=file:fit)", clean.ncols()),
    ];
    for (what, defense, dim) in fits {
        let said = embosk(&folder, &format!("fit {what} --corpus records:60 --output fit")).output().unwrap();
        assert_eq!(said.status.code(), Some(0), "{what}: {}", stderr(&said));
        assert!(stderr(&said).contains("fitted on 60 vectors"), "{what}: {}", stderr(&said));
        succeeds(&folder, &format!("protect --defense {defense} --role document clean.npy out.npy"));
        let out: Array2<f32> = read_npy(folder.path().join("out.npy")).unwrap();
        assert_eq!(out.dim(), (3, dim), "{what}");
    }
    // behind another defense
    let fit =
        "fit scales --bits 8 --corpus records:60 --output scales --defense projection(fit=file:p,dims=3)";
    succeeds(&folder, "fit projection --dims 4 --corpus records:60 --output p");
    succeeds(&folder, fit);
    let defense = "projection(fit=file:p,dims=3)|quantization(bits=8,scale=file:scales)";
    succeeds(&folder, &format!("protect --defense {defense} --role query clean.npy out.npy"));
    let out: Array2<f32> = read_npy(folder.path().join("out.npy")).unwrap();
    assert_eq!(out.dim(), (3, 3));

    refused(
        &folder,
        "fit projection --dims 60 --corpus records:60 --output fit",
        "more rows than components",
    );
    refused(
        &folder,
        "fit projection --dims 4 --query-weight 0.5 --corpus texts.txt --output fit",
        "no queries",
    );
    refused(&folder, "fit projection --dims 4 --corpus nowhere --output fit", "nowhere");
    refused(
        &folder,
        "protect --defense projection(fit=file:scales) --role query clean.npy o.npy",
        "projection",
    );
}

#[test]
fn fits_are_made_of_vectors_that_exist_already() {
    let folder = tempfile::tempdir().unwrap();
    let stored = Array2::from_shape_fn((12, 4), |(row, at)| ((row * 7 + at * row + at) % 11) as f32);
    let mut holed = stored.clone();
    holed[[1, 0]] = f32::NAN;
    for (name, vectors) in [("stored.npy", &stored), ("holed.npy", &holed)] {
        write_npy(folder.path().join(name), vectors).unwrap();
    }
    succeeds(&folder, "fit projection --dims 3 --from stored.npy --output p");
    for (before, defense) in [("", ""), (" --defense projection(fit=file:p)", "projection(fit=file:p)|")] {
        let said = exits(&folder, &format!("fit groups --k 3 --from stored.npy --output g{before}"), 0);
        assert!(stderr(&said).contains("fitted on 12 vectors"), "{}", stderr(&said));
        let defense = format!("{defense}microaggregation(groups=file:g)");
        succeeds(&folder, &format!("protect --defense {defense} --role document stored.npy out.npy"));
        let out: Array2<f32> = read_npy(folder.path().join("out.npy")).unwrap();
        let share = |row: usize| out.rows().into_iter().filter(|other| *other == out.row(row)).count();
        assert!((0..12).all(|row| share(row) >= 3), "{out}");
    }
    for (line, part) in [
        ("groups --from nowhere.npy --output fit", "nowhere.npy: there is no such file"),
        ("groups --from stored.npy --corpus records --output fit", "cannot be used with"),
        ("groups --from stored.npy --output stored.npy", "would be overwritten"),
        ("groups --from holed.npy --output fit", "holed.npy: row 1"),
        ("groups --from stored.npy --dry-run --output fit", "--dry-run"),
        ("projection --dims 2 --query-weight 0.5 --from stored.npy --output fit", "--query-weight needs"),
    ] {
        refused(&folder, &format!("fit {line}"), part);
    }
}

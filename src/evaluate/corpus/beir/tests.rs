#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

const DOCUMENTS: &str = r#"{"_id": "d1", "title": "Rome", "text": "Ann lives there."}
{"_id": "d2", "title": "", "text": "Bob left.", "metadata": {}}
{"_id": "d3", "text": "Cy stays."}
"#;
const QUERIES: &str = "{\"_id\": \"q1\", \"text\": \"who left?\"}\n{\"_id\": \"q2\", \"text\": \"why?\"}\n";
const GRADES: &str = "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td1\t0\n";

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("qrels")).unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn with(documents: &str, queries: &str, grades: &str) -> Result<Corpus, Error> {
    let files = [("corpus.jsonl", documents), ("queries.jsonl", queries), ("qrels/test.tsv", grades)];
    Corpus::beir(folder(&files.map(|(name, text)| (name, text.as_bytes()))).path())
}

#[test]
fn documents_are_title_and_text_and_only_judged_queries_stay() {
    let corpus = with(DOCUMENTS, QUERIES, GRADES).unwrap();
    assert_eq!(corpus.ids(), ["d1", "d2", "d3"]);
    assert_eq!(corpus.texts(), ["Rome Ann lives there.", "Bob left.", "Cy stays."]);
    assert_eq!(
        (corpus.queries(), corpus.query_ids()),
        (["who left?".into()].as_slice(), ["q1".into()].as_slice())
    );
    assert_eq!(corpus.judgements().0, [[(1, 2), (0, 0)].into()]);
}

#[test]
fn lines_of_texts_have_the_ids_by_which_they_are_judged() {
    let folder =
        folder(&[("q.txt", b"who?\nwhy?\n"), ("qrels/q.tsv", b"query-id\tcorpus-id\tscore\n2\t3\t1\n")]);
    let corpus = Corpus::passages("mine", ["a", "b", "c"].map(String::from).to_vec());
    let (queries, grades) = (folder.path().join("q.txt"), folder.path().join("qrels/q.tsv"));
    let corpus = corpus.with_judged_queries(queries, grades).unwrap();
    assert_eq!(
        (corpus.ids(), corpus.query_ids()),
        (["1", "2", "3"].map(String::from).as_slice(), ["2".into()].as_slice())
    );
    assert_eq!(corpus.judgements().0, [[(2, 1)].into()]);
}

#[test]
fn every_bad_line_is_named() {
    let twice = format!("{DOCUMENTS}{DOCUMENTS}");
    let cases = [
        (
            with("{\"_id\": 1}\n", QUERIES, GRADES),
            "corpus.jsonl, line 1: the field \"_id\" is a number; it must",
        ),
        (with("{\"_id\": \"1\"}\n", QUERIES, GRADES), "corpus.jsonl, line 1: the field \"text\" is missing"),
        (
            with("[\"d1\", null, \"Ann\"]\n", QUERIES, GRADES),
            "corpus.jsonl, line 1: it is not a JSON object with the fields \"_id\" and \"text\": it begins a JSON array",
        ),
        (with(&twice, QUERIES, GRADES), "corpus.jsonl, line 4: its _id is there twice"),
        (with("", QUERIES, GRADES), "corpus.jsonl: it is empty"),
        (with(DOCUMENTS, &format!("{QUERIES}\n"), GRADES), "queries.jsonl, line 3: it is not a JSON object"),
        (with(DOCUMENTS, QUERIES, "q1\td2\n"), "test.tsv, line 1: it is not a query id"),
        (with(DOCUMENTS, QUERIES, "q1 0 d2 1\n"), "separated by tabs: it has the four columns of TREC; `awk"),
        (with(DOCUMENTS, QUERIES, "q1 Q0 d2 1 0.5 tag\n"), "separated by tabs: it is of a TREC run"),
        (with(DOCUMENTS, QUERIES, "q1 d2 1\n"), "its fields are separated by spaces"),
        (
            with(DOCUMENTS, QUERIES, "query-id corpus-id score\nq1 d2 1\n"),
            "line 1: it is not a query id, a document id and a grade, separated by tabs: its fields are separated by spaces",
        ),
        (with(DOCUMENTS, QUERIES, "q1\td2\t1\t\n"), "its tabs are not between the fields"),
        (with(DOCUMENTS, QUERIES, "<!DOCTYPE html>\n<p>planted</p>\n"), "it is HTML or XML"),
        (
            with(DOCUMENTS, QUERIES, "query-id\tcorpus-id\tscore\rq1\td2\t1\r"),
            "line 1: its lines end with carriage returns",
        ),
        (with(DOCUMENTS, QUERIES, "\"q1\"\t\"d2\"\t1\n"), "quotes around ids are read as part of them"),
        (with(DOCUMENTS, QUERIES, "q1,d2,1\n"), "its fields are separated by commas"),
        (with(DOCUMENTS, QUERIES, "{\"q1\": 1}\n"), "it is JSON"),
        (with(DOCUMENTS, QUERIES, &format!("{GRADES}\n")), "test.tsv, line 4: it is not a query id"),
        (
            with(DOCUMENTS, QUERIES, "qid\tpid\tgrade\n"),
            "test.tsv, line 1: its grade is not a whole number; a header",
        ),
        (
            with(DOCUMENTS, QUERIES, &format!("{GRADES}q1\td3\tyes\n")),
            "line 4: its grade is not a whole number",
        ),
        (with(DOCUMENTS, QUERIES, &format!("{GRADES}q1\td1\t1\n")), "test.tsv, line 4: it judges"),
        (with(DOCUMENTS, QUERIES, &format!("{GRADES}q1\td9\t1\nq1\td9\t1\n")), "test.tsv, line 5: it judges"),
        (with(DOCUMENTS, QUERIES, "query-id\tcorpus-id\tscore\n"), "test.tsv: it holds no judgement"),
        (
            with(DOCUMENTS, QUERIES, "q1\td9\t1\nq9\td1\t1\n"),
            "test.tsv: none of its judgements is of a query",
        ),
    ];
    for (result, part) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message} has no {part}");
    }
}

#[test]
fn a_message_holds_nothing_of_the_text() {
    let message =
        with("{\"_id\": \"d1\", \"text\": [\"Ann owes $5\"]}\n", QUERIES, GRADES).unwrap_err().to_string();
    assert!(!message.contains("Ann"), "{message}");
}

#[test]
fn judgements_of_what_is_not_there_are_counted() {
    let grades = format!("{GRADES}q1\tremoved\t1\nq2\tremoved\t3\nq9\td1\t1\nq9\td2\t1\n");
    let corpus = with(DOCUMENTS, QUERIES, &grades).unwrap();
    assert_eq!(corpus.dangling(), Dangling { documents: 2, queries: 2 });
    assert_eq!(corpus.query_ids(), ["q1", "q2"]);
    let expected = [Judged::from([(1, 2), (0, 0)]).with_absent([1]), Judged::default().with_absent([3])];
    assert_eq!(corpus.judgements().0, expected);
    let whole = with(DOCUMENTS, QUERIES, GRADES).unwrap();
    assert!(whole.dangling().is_empty() && whole.hash() != corpus.hash());
}

#[test]
fn files_may_be_compressed_and_have_byte_order_marks() {
    use std::io::Write;
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &str| {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    };
    let mark = |text: &str| format!("\u{feff}{text}");
    let plain = with(DOCUMENTS, QUERIES, GRADES).unwrap();
    for [documents, queries, grades] in [
        [
            ("corpus.jsonl.gz", gzip(DOCUMENTS)),
            ("queries.jsonl.zst", zstd(QUERIES)),
            ("qrels/test.tsv.gz", gzip(GRADES)),
        ],
        [
            ("corpus.jsonl", mark(DOCUMENTS).into_bytes()),
            ("queries.jsonl", mark(QUERIES).into_bytes()),
            ("qrels/test.tsv", mark(GRADES).into_bytes()),
        ],
        [
            ("corpus.jsonl", gzip(DOCUMENTS)),
            ("queries.jsonl", zstd(&mark(QUERIES))),
            ("qrels/test.tsv", gzip(&mark(GRADES))),
        ],
    ] {
        let files = [&documents, &queries, &grades].map(|(name, bytes)| (*name, bytes.as_slice()));
        assert_eq!(Corpus::beir(folder(&files).path()).unwrap().hash(), plain.hash());
    }
}

#[test]
fn a_split_is_read_by_its_name() {
    let folder = folder(&[
        ("corpus.jsonl", DOCUMENTS.as_bytes()),
        ("queries.jsonl", QUERIES.as_bytes()),
        ("qrels/dev.tsv", b"q2\td3\t1\n"),
        ("qrels/train.tsv.gz", b""),
    ]);
    let read = |split| Corpus::beir_split(folder.path(), split).map_err(|error| error.to_string());
    let dev = read("dev").unwrap();
    assert!(dev.name().ends_with(":dev") && dev.query_ids() == ["q2"]);
    let missing = read("test").unwrap_err();
    assert!(
        missing.ends_with(
            "test.tsv: there is no such file; the folder has judgements for the split dev or train"
        )
    );
    assert!(read("../dev").unwrap_err().contains("a split is the name of a file"));
}

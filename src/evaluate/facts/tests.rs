#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::evaluate::Corpus;

fn found(text: &str) -> String {
    let facts = by_rule(text);
    facts
        .iter()
        .map(|fact| format!("{}={}", fact.kind, &text[fact.span.clone()]))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn numbers_are_told_apart() {
    for (text, expected) in [
        ("it costs $1,200.50 today", "amount=$1,200.50"),
        ("about 3 million euros or 20 €", "amount=3 million euros amount=20 €"),
        ("pay USD 300 or 45 dollars.", "amount=USD 300 amount=45 dollars"),
        ("$5 billion at 12%", "amount=$5 billion number=12"),
        ("in 1997 and on March 14, 2023", "date=1997 date=March 14, 2023"),
        ("of 14 March 2023, the 3rd of May", "date=14 March 2023 date=3rd of May"),
        ("seen Mar. 14 and 2023-03-14, 3/14/23.", "date=Mar. 14 date=2023-03-14 date=3/14/23"),
        ("on Monday at 9:30 a.m. or 5 pm", "date=Monday time=9:30 a.m. time=5 pm"),
        ("call +49 30 1234567 or 555-123-4567", "phone=+49 30 1234567 phone=555-123-4567"),
        ("call (020) 7946 0958 now", "phone=(020) 7946 0958"),
        ("write to ann.b@mail.example.org.", "email=ann.b@mail.example.org"),
        ("the 2nd of the 1990s had 17 of 1,000,000", "number=17 number=1,000,000"),
        ("COVID-19 and B12 but INV-20391 and #4821", "number=20391 number=4821"),
        ("version 1.2.3 of 10-12", "number=1.2 number=10"),
        ("5mg of it", "number=5"),
        ("in May they may march", "date=May"),
        ("May they march. March on", ""),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn names_do_not_begin_sentences() {
    for (text, expected) in [
        ("The letter is from Ann Smith to Bob.", "name=Ann Smith name=Bob"),
        ("Ann left. Bob stayed! Carl", ""),
        ("then Dr. Miller met J. Doe's wife", "name=Miller name=Doe"),
        ("we met Sean O'Neil and Jean-Luc Picard", "name=Sean O'Neil name=Jean-Luc Picard"),
        ("he said \"Come here\" and I'm with The Who", "name=Who"),
        ("the HIV test of the US Senate", "acronym=HIV name=US Senate"),
        ("How to Build Your Own House in Ten Easy Days", ""),
        ("items:\nMilk is cheap", ""),
        ("it is from Zoë Ünal in Rome", "name=Zoë Ünal name=Rome"),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn facts_neither_overlap_nor_leave_the_text() {
    let texts =
        ["", "é", "$", "+", "(", "a@", "@b.c", "1:", "1/1/", "Mar.", "5 p.", "’", "A’", "1,", "$1 k k", "١٢"];
    for text in texts {
        let mut last = 0;
        for fact in by_rule(text) {
            assert!(last <= fact.span.start && fact.span.start < fact.span.end, "{text}");
            assert!(!text[fact.span.clone()].trim().is_empty());
            last = fact.span.end;
        }
    }
}

#[test]
fn a_file_of_offsets_labels_a_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entities.jsonl");
    let corpus = || Corpus::passages("mine", vec!["Zoë is in Rome".into(), "no one".into()]);
    fs::write(
        &file,
        "{\"line\": 1, \"start\": 10, \"end\": 14, \"kind\": \" City\"}\n{\"_id\": \"0\", \"start\": 0, \"end\": 3, \
         \"kind\": \"PERSON\", \"by\": \"me\"}\n{\"line\": 1, \"start\": 10, \"end\": 14, \"kind\": \"city\"}\n",
    )
    .unwrap();
    let labelled = corpus().with_entities(&file).unwrap();
    assert_eq!(labelled.facts().unwrap()[0], [Fact::new("person", 0..4), Fact::new("city", 11..15)]);
    assert_eq!(labelled.entities(), [vec!["Zoë".to_owned(), "Rome".to_owned()], vec![]]);
    assert!(corpus().facts().is_none() && labelled.hash() != corpus().hash());
    for (line, part) in [
        (r#"{"line": 3, "start": 0, "end": 1, "kind": "x"}"#, "line 1: the corpus has no such line"),
        (r#"{"line": 0, "start": 0, "end": 1, "kind": "x"}"#, "counts its documents from 1"),
        (r#"{"_id": "7", "start": 0, "end": 1, "kind": "x"}"#, "no document with its _id"),
        (r#"{"start": 0, "end": 1, "kind": "x"}"#, "either of the fields"),
        (r#"{"_id": "0", "line": 1, "start": 0, "end": 1, "kind": "x"}"#, "either of the fields"),
        (r#"{"line": 1, "start": 3, "end": 3, "kind": "x"}"#, "empty or ends beyond"),
        (r#"{"line": 1, "start": 4, "end": 3, "kind": "x"}"#, "empty or ends beyond"),
        (r#"{"line": 1, "start": 0, "end": 15, "kind": "x"}"#, "empty or ends beyond"),
        (r#"{"line": 1, "start": -1, "end": 15, "kind": "x"}"#, "\"start\" must be a whole number"),
        (r#"{"line": "1", "start": 0, "end": 1, "kind": "x"}"#, "\"line\" is a string; it must be a whole"),
        (r#"{"line": 1, "start": 0, "end": 1, "kind": " "}"#, "its kind is empty"),
        (r#"{"line": 1, "start": 0, "end": 1}"#, "\"kind\" is missing"),
        ("", "it is empty"),
    ] {
        fs::write(&file, line).unwrap();
        let message = corpus().with_entities(&file).unwrap_err().to_string();
        assert!(message.contains(part), "{line}: {message}");
    }
}

//! What each store must do, on a collection of a few texts.

use embosk_rag::store::{Index, Numbers, Row, Space, Store};
use embosk_rag::{Access, Coarse, Collection, Document, Error, Settings};

use super::{FEW, documents, few, key, letters, named, under};

const QUESTIONS: [&str; 4] = [
    "When does the train to Zagreb leave?",
    "Who vouches for Ann, her brother Quentin?",
    "Is the rent of the flat due?",
    "How much water do tomatoes want?",
];

/// Where a collection is.
pub(crate) trait Place {
    type Store: Store + std::fmt::Debug;

    /// A new empty place.
    fn new() -> Self;

    /// Opens the store, which keeps new spaces in this way.
    fn open(&self, index: Index) -> Self::Store;

    /// Lets the second space hold so many chunks and no more, as a full disk would, if that can be done here.
    fn limit(&self, chunks: Option<usize>) -> bool;
}

/// A file and a text for each hit.
type Hits = Vec<(String, String)>;

fn hits<S: Store>(collection: &Collection<S>) -> Vec<Hits> {
    let ask = |question: &&str| {
        let hits = collection.ask(question, 3).unwrap();
        hits.iter().map(|hit| (hit.name.to_string(), hit.text.to_string())).collect()
    };
    QUESTIONS.iter().map(ask).collect()
}

fn float() -> Index {
    Index::default()
}

fn ingested<P: Place>(access: &Access, index: Index) -> (P, Vec<Hits>) {
    let place = P::new();
    let (collection, done) = Collection::ingest(place.open(index), letters(), access, &documents()).unwrap();
    assert_eq!((done.added, done.chunks), (4, 12));
    let hits = hits(&collection);
    (place, hits)
}

fn rotated() -> Settings {
    Settings { coarse: Coarse::Rotated, candidates: 50 }
}

/// However the store keeps vectors, the best hits are those without protection, and stay so when it is opened again.
pub(crate) fn hits_are_those_without_protection<P: Place>(indexes: &[Index]) {
    let (_, expected) = ingested::<P>(&Access::Plain, float());
    assert!(expected[0][0].1.contains("Zagreb") && expected[1][0].1.contains("Quentin"));
    for &index in indexes {
        for settings in [FEW, rotated()] {
            let (place, hits_at_first) = ingested::<P>(&under(1, settings), index);
            assert_eq!(hits_at_first, expected, "{index:?} {settings:?}");
            let opened = Collection::open(place.open(float()), letters(), &under(1, settings)).unwrap();
            assert_eq!(hits(&opened), expected, "{index:?} {settings:?}");
            assert_eq!(place.open(float()).spaces().unwrap()[0].index, index);
        }
    }
}

/// Processes that add the same files at the same time, to no collection yet, store each once.
pub(crate) fn the_same_files_from_two_processes_are_stored_once<P: Place + Sync>() {
    let place = P::new();
    let add = || Collection::ingest(place.open(float()), letters(), &under(1, FEW), &documents()).unwrap().1;
    let done = std::thread::scope(|scope| {
        let both = [scope.spawn(add), scope.spawn(add)];
        both.map(|one| one.join().unwrap())
    });
    assert_eq!((done[0].added + done[1].added, done[0].unchanged + done[1].unchanged), (4, 4));
    let store = place.open(float());
    let spaces = store.spaces().unwrap();
    assert_eq!((spaces.len(), store.sources(&spaces[0]).unwrap().len()), (1, 4));
}

/// A file that changed replaces its chunks, in one step.
pub(crate) fn a_changed_file_replaces_its_chunks<P: Place>() {
    let (place, _) = ingested::<P>(&under(1, FEW), float());
    let new = [Document::new("trips.md", "The train to Zagreb is cancelled, so take the bus at noon.")];
    let (collection, done) =
        Collection::ingest(place.open(float()), letters(), &under(1, FEW), &new).unwrap();
    assert_eq!((done.added, done.replaced, done.unchanged, done.chunks), (0, 1, 0, 1));
    let hits = collection.ask(QUESTIONS[0], 20).unwrap();
    assert_eq!(hits.len(), 10);
    assert!(hits[0].text.contains("take the bus at noon"));
    let again = Collection::ingest(place.open(float()), letters(), &under(1, FEW), &new).unwrap().1;
    assert_eq!((again.unchanged, again.chunks), (1, 0));

    // a source is replaced once, whoever comes second is told
    let mut store = place.open(float());
    let space = store.spaces().unwrap().remove(0);
    let source = store.sources(&space).unwrap().remove(0);
    let fresh = |id: &str| embosk_rag::store::Source { id: id.into(), ..source.clone() };
    assert!(store.replace(Some((&space, &source.id)), &space, &fresh("a"), &[]).unwrap());
    assert!(!store.replace(Some((&space, &source.id)), &space, &fresh("b"), &[]).unwrap());
    assert!(!store.sources(&space).unwrap().contains(&fresh("b")));
}

/// Another key, stack or embedder is refused, and the message says what to do.
pub(crate) fn others_are_refused_with_what_to_do<P: Place>() {
    let (place, expected) = ingested::<P>(&under(1, FEW), float());
    let refused = |access: &Access| {
        let error = Collection::open(place.open(float()), letters(), access).unwrap_err();
        let ingested = Collection::ingest(place.open(float()), letters(), access, &documents());
        assert_eq!(ingested.unwrap_err().to_string(), error.to_string());
        let told = error.to_string();
        assert!(!told.contains(&*key(1).to_text()) && !told.contains(&*key(2).to_text()), "{told}");
        (error, told)
    };
    let (error, told) = refused(&under(2, FEW));
    assert!(matches!(error, Error::OtherKey { .. }), "{error:?}");
    assert!(told.contains(&key(1).fingerprint()) && told.contains("give the collection's key"), "{told}");
    for settings in [few(3, 0.05), few(5, 0.05), rotated()] {
        let (error, told) = refused(&under(1, settings));
        assert!(matches!(error, Error::OtherStack(_)), "{error:?}");
        assert!(told.contains("give the settings that the collection was made with"), "{told}");
    }
    assert!(matches!(refused(&Access::Plain).0, Error::Protected));
    let other = Collection::open(place.open(float()), named("words"), &under(1, FEW));
    assert!(matches!(other, Err(Error::OtherEmbedder { .. })), "{other:?}");
    let opened = Collection::open(place.open(float()), letters(), &under(1, FEW)).unwrap();
    assert_eq!(hits(&opened), expected);

    let (place, _) = ingested::<P>(&under(1, rotated()), float());
    let other = Collection::open(place.open(float()), letters(), &under(1, FEW)).unwrap_err();
    assert!(matches!(other, Error::OtherStack(_)) && other.to_string().contains("by rotation"), "{other}");
    let other = Collection::open(place.open(float()), letters(), &under(2, rotated())).unwrap_err();
    assert!(matches!(other, Error::OtherKey { .. }), "{other:?}");

    let (place, _) = ingested::<P>(&Access::Plain, float());
    let key = Collection::open(place.open(float()), letters(), &under(1, FEW)).unwrap_err();
    assert!(matches!(key, Error::NotProtected) && key.to_string().contains("rekey --plain"), "{key}");
}

/// Stops in the middle of a move, twice between files and once within one, and continues.
fn moved<P: Place>(place: &P, from: &Access, to: &Access, index: Index, expected: &[Hits]) {
    let both = || Collection::open_both(place.open(index), letters(), from, to).unwrap();
    let before = both();
    let migrate = || Collection::migrate(place.open(index), letters(), from, to).unwrap();

    assert_eq!(migrate().advance(1).unwrap(), 3);
    for alone in [from, to] {
        let refused = Collection::open(place.open(index), letters(), alone);
        assert!(matches!(refused, Err(Error::Moving)), "{refused:?}");
    }
    // both keys are live, for those who have both
    assert_eq!(hits(&both()), expected);
    assert!(matches!(before.ask(QUESTIONS[0], 3), Err(Error::Moving)));
    let reader = both();

    let stopped = migrate().advance(if place.limit(Some(7)) { 4 } else { 1 });
    assert_eq!(stopped.is_err(), place.limit(None), "{stopped:?}");
    assert_eq!(counts(&place.open(index)), [(2, 6), (2, 6)]);
    assert_eq!(hits(&both()), expected);
    assert_eq!(hits(&reader), expected);

    // what is stored meanwhile is under the new key
    let unchanged = both().add(&documents()).unwrap();
    assert_eq!((unchanged.unchanged, unchanged.chunks), (4, 0));
    let new = Document::new("new.txt", "A kite is best flown over the meadow behind the old mill.");
    let mut writer = both();
    assert_eq!(writer.add(std::slice::from_ref(&new)).unwrap().added, 1);
    assert_eq!(counts(&place.open(index)), [(2, 6), (3, 7)]);

    let mut last = migrate();
    assert_eq!(last.advance(1).unwrap(), 1);
    assert_eq!(last.advance(1).unwrap(), 0);
    assert_eq!(last.advance(1).unwrap(), 0);
    assert_eq!(counts(&place.open(index)), [(5, 13)]);
    assert_eq!(hits(&reader), expected);
    let mut last = Collection::migrate(place.open(index), letters(), from, to).unwrap();
    assert_eq!(last.advance(1).unwrap(), 0);

    let opened = Collection::open(place.open(index), letters(), to).unwrap();
    assert_eq!(hits(&opened), expected);
    let new = opened.ask("A kite is best flown over the meadow behind the mill.", 1).unwrap();
    assert!(new[0].text.contains("meadow") && *new[0].name == "new.txt");
    Collection::open(place.open(index), letters(), from).unwrap_err();
}

/// A table of plain vectors and texts moves to a key, while it is used.
pub(crate) fn a_plain_collection_moves_to_a_key<P: Place>() {
    for settings in [FEW, rotated()] {
        let (place, expected) = ingested::<P>(&Access::Plain, float());
        moved(&place, &Access::Plain, &under(1, settings), float(), &expected);
        let store = place.open(float());
        let space = store.spaces().unwrap().remove(0);
        assert!(space.header.protection.is_some());
        let is_plain = |row: &Row| row.exact.is_empty() || row.text.starts_with(b"The");
        assert!(!rows(&store, &space).iter().any(is_plain));
    }
}

/// A collection moves from one key to another, while it is used. Exact vectors and noisy ones stay as they are.
pub(crate) fn a_collection_moves_to_another_key<P: Place>(indexes: &[Index]) {
    for &index in indexes {
        for settings in [FEW, rotated()] {
            let (place, expected) = ingested::<P>(&under(1, settings), index);
            let store = place.open(index);
            let before = rows(&store, &store.spaces().unwrap()[0]);
            let fit = |store: &P::Store| store.spaces().unwrap().remove(0).header.protection.unwrap();
            let old = fit(&store);
            // who moves it need not know how vectors are kept
            moved(&place, &under(1, settings), &under(2, settings), Index::default(), &expected);

            let store = place.open(index);
            let space = store.spaces().unwrap().remove(0);
            assert_eq!(space.index, index);
            let after = rows(&store, &space);
            let kept: Vec<_> = after.iter().filter(|row| before.iter().any(|old| old.id == row.id)).collect();
            assert_eq!(kept.len(), before.len());
            for (old, new) in before.iter().zip(&kept) {
                assert_eq!(old.vector == new.vector, settings == FEW, "{index:?}");
                assert!(old.exact != new.exact && old.text != new.text);
            }
            let new = fit(&store);
            assert!(old.fingerprint != new.fingerprint && old.fit != new.fit);
            let refused = Collection::open(place.open(index), letters(), &under(1, settings)).unwrap_err();
            assert!(matches!(refused, Error::OtherKey { .. }), "{refused:?}");
        }
    }
}

/// How many sources and rows each space has.
fn counts(store: &impl Store) -> Vec<(usize, usize)> {
    let count = |space: &Space| (store.sources(space).unwrap().len(), rows(store, space).len());
    store.spaces().unwrap().iter().map(count).collect()
}

fn rows(store: &impl Store, space: &Space) -> Vec<Row> {
    let sources = store.sources(space).unwrap();
    let mut rows: Vec<_> = sources.iter().flat_map(|source| store.rows(space, &source.id).unwrap()).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

/// A collection that was plain before.
pub(crate) fn moved_from_plain<P: Place>() -> P {
    let (place, expected) = ingested::<P>(&Access::Plain, float());
    moved(&place, &Access::Plain, &under(1, FEW), float(), &expected);
    place
}

/// Nothing is made of what a store cannot do, and the message says what it can.
pub(crate) fn what_a_store_cannot_compare_is_refused<P: Place>(indexes: &[Index]) {
    for &index in indexes {
        let place = P::new();
        let refused =
            Collection::ingest(place.open(index), letters(), &under(1, FEW), &documents()).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{refused:?}");
        assert!(refused.to_string().contains("it supports floats"), "{refused}");
        assert_eq!(place.open(index).spaces().unwrap(), []);
    }
    // and nothing is rounded that is stored nowhere else
    let bits = Index { numbers: Numbers::Bit, ..float() };
    let refused =
        Collection::ingest(P::new().open(bits), letters(), &Access::Plain, &documents()).unwrap_err();
    assert!(refused.to_string().contains("vectors are kept as floats"), "{refused}");
}

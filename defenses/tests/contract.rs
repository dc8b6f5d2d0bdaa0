//! The contract suite notices every law that is broken: one defense for each way.

#![allow(clippy::unwrap_used)]

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use embosk_defenses::spec::Part;
use embosk_defenses::{
    Defense, Error, GaussianNoise, Guarantee, Quantization, Registry, Rng, Role, Spec, check_finite,
    check_ids, contract,
};
use ndarray::{Array2, ArrayViewMut2, Axis, s};

const DIM: usize = 12;

type Vectors<'a, 'b> = &'a mut ArrayViewMut2<'b, f32>;
type Change = dyn Fn(Role, Vectors<'_, '_>, &mut Rng) -> Result<(), Error> + Send + Sync;
type Owned = dyn Fn(Array2<f32>) -> Array2<f32> + Send + Sync;
type Imitation = fn(&mut Rng) -> Option<Arc<dyn Defense>>;
type ById = dyn Fn(&[&[u8]], Vectors<'_, '_>) -> Result<(), Error> + Send + Sync;

/// A defense made of its parts, so that each can be wrong by itself.
struct Own {
    change: Box<Change>,
    checks: bool,
    prints: String,
    guarantee: Guarantee,
    imitation: Imitation,
    by_id: Option<Box<ById>>,
    uses_ids: bool,
    space: Option<Spec>,
    /// The dimension that it says comes out, and what does.
    owned: Option<(usize, Box<Owned>)>,
    inverse: Option<fn(Vectors<'_, '_>) -> Result<(), Error>>,
    /// Whether it refuses vectors in place.
    refuses_in_place: bool,
}

/// `change` after the check that every defense makes.
fn own(change: impl Fn(Role, Vectors<'_, '_>, &mut Rng) -> Result<(), Error> + Send + Sync + 'static) -> Own {
    Own {
        change: Box::new(change),
        checks: true,
        prints: "own".to_owned(),
        guarantee: Guarantee::None,
        imitation: |_| None,
        by_id: None,
        uses_ids: false,
        space: None,
        owned: None,
        inverse: None,
        refuses_in_place: false,
    }
}

/// Changes nothing, which is within the law.
fn idle() -> Own {
    own(|_, _, _| Ok(()))
}

impl Defense for Own {
    fn protect(&self, role: Role, mut vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        if self.checks {
            check_finite(&vectors)?;
        }
        if let (Some((output, _)), true, 1..) = (&self.owned, self.refuses_in_place, vectors.nrows()) {
            return Err(Error::NotInPlace { input: vectors.ncols(), output: *output });
        }
        (self.change)(role, &mut vectors, rng)
    }

    fn guarantee(&self) -> Guarantee {
        self.guarantee
    }

    fn protect_with_ids(
        &self,
        role: Role,
        ids: &[&[u8]],
        mut vectors: ArrayViewMut2<'_, f32>,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        if let Some(by_id) = &self.by_id {
            return by_id(ids, &mut vectors);
        }
        check_ids(ids, &vectors)?;
        self.protect(role, vectors, rng)
    }

    fn uses_ids(&self, _: Role) -> bool {
        self.uses_ids
    }

    fn dimension(&self, input: usize) -> Result<usize, Error> {
        Ok(self.owned.as_ref().map_or(input, |(output, _)| *output))
    }

    fn protect_owned(
        &self,
        role: Role,
        mut vectors: Array2<f32>,
        rng: &mut Rng,
    ) -> Result<Array2<f32>, Error> {
        let Some((_, owned)) = &self.owned else {
            return self.protect(role, vectors.view_mut(), rng).map(|()| vectors);
        };
        check_finite(&vectors)?;
        Ok(owned(vectors))
    }

    fn unprotect(&self, mut vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        match self.inverse {
            Some(inverse) => inverse(&mut vectors),
            None => Err(Error::NotInvertible { defense: self.to_string(), reason: "it has no inverse" }),
        }
    }

    fn space(&self) -> Spec {
        self.space.clone().unwrap_or_else(|| self.spec())
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        (self.imitation)(rng)
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prints)
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

/// Which law the suite says is broken, and how.
fn verdict(make: &dyn Fn() -> Own) -> Option<(String, String)> {
    let payload = catch_unwind(AssertUnwindSafe(|| contract::check(DIM, make))).err()?;
    let message = payload.downcast_ref::<String>().unwrap();
    let (_, rest) = message.split_once("breaks the law `").unwrap_or_else(|| panic!("{message}"));
    let (law, how) = rest.split_once("`: ").unwrap();
    Some((law.to_owned(), how.to_owned()))
}

#[track_caller]
fn breaks(law: &str, how: &str, make: impl Fn() -> Own) {
    let (found, message) = verdict(&make).unwrap_or_else(|| panic!("nobody noticed that {law} is broken"));
    assert_eq!(found, law, "{message}");
    assert!(message.contains(how), "{law}: {message}");
}

/// Refuses what has another dimension than the first rows, whose dimension `bound` holds.
fn bind(bound: &OnceLock<usize>, vectors: Vectors<'_, '_>) -> Result<(), Error> {
    if vectors.nrows() == 0 {
        return Ok(());
    }
    let (expected, found) = (*bound.get_or_init(|| vectors.ncols()), vectors.ncols());
    if expected == found { Ok(()) } else { Err(Error::Dimension { expected, found }) }
}

fn named(prints: &str) -> Own {
    Own { prints: prints.to_owned(), ..idle() }
}

#[test]
fn every_law_is_tested_here() {
    let source = include_str!("contract.rs");
    for law in contract::laws() {
        assert!(source.contains(&format!("breaks(\"{law}\"")), "no defense here breaks `{law}`");
    }
}

#[test]
fn what_is_within_the_law_passes() {
    contract::check(DIM, idle);
    contract::check(2, || Own { guarantee: Guarantee::Isometry, ..idle() });
    contract::check(DIM, || {
        let bound = OnceLock::new();
        own(move |_, vectors, _| bind(&bound, vectors))
    });
    // Documents alone are changed, and a batch draws its noise from the last row to the first.
    contract::check(DIM, || {
        own(|role, vectors, rng| {
            let mut normals = rng.standard_normals();
            if role == Role::Document {
                vectors.rows_mut().into_iter().rev().for_each(|mut row| row += normals.draw() as f32);
            }
            Ok(())
        })
    });
}

#[test]
fn finite() {
    breaks("finite", "row 0 of Document vectors is not finite", || {
        own(|_, vectors, _| {
            vectors.mapv_inplace(f32::ln);
            Ok(())
        })
    });
    breaks("finite", "Query vectors of shape (5, 12) are refused", || {
        own(|role, _, _| match role {
            Role::Document => Ok(()),
            Role::Query => Err(Error::NotFinite { row: 0 }),
        })
    });
    breaks("finite", "it panics", || own(|_, vectors, _| panic!("of {:?}", vectors.dim())));
}

#[test]
fn zero_row() {
    breaks("zero row", "row 1 of Document vectors is not finite", || {
        own(|_, vectors, _| {
            vectors.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());
            Ok(())
        })
    });
}

#[test]
fn one_row() {
    breaks("one row", "row 0 of Document vectors is not finite", || {
        own(|_, vectors, _| {
            let spread = vectors.std_axis(Axis(0), 1.0); // of one row there is none: 0 / 0
            *vectors /= &spread.mapv(|x| x.max(1.0) + 0.0 * x);
            Ok(())
        })
    });
}

#[test]
fn range() {
    breaks("range", "is not finite, from -4", || {
        own(|_, vectors, _| {
            *vectors *= 10.0;
            Ok(())
        })
    });
    breaks("range", "a refused batch is changed", || {
        own(|_, vectors, _| {
            *vectors *= 10.0;
            check_finite(vectors)
        })
    });
}

#[test]
fn empty_batch() {
    breaks("empty batch", "it panics", || {
        own(|_, vectors, _| {
            let first = vectors[[0, 0]];
            vectors.mapv_inplace(|x| x.max(first.min(x)));
            Ok(())
        })
    });
    breaks("empty batch", "shape (0, 13) are refused", || {
        let bound = OnceLock::new();
        own(move |_, vectors, _| {
            let dim = *bound.get_or_init(|| vectors.ncols());
            if dim == vectors.ncols() { Ok(()) } else { Err(Error::NotFinite { row: 0 }) }
        })
    });
    breaks("empty batch", "shape (2, 12) are refused", || {
        let last = AtomicUsize::new(DIM);
        own(move |_, vectors, _| {
            let expected = last.swap(vectors.ncols(), Ordering::Relaxed);
            let found = vectors.ncols();
            let other = vectors.nrows() > 0 && expected != found;
            if other { Err(Error::Dimension { expected, found }) } else { Ok(()) }
        })
    });
}

#[test]
fn refusal() {
    breaks("refusal", "row 0 is not finite, but is taken", || Own { checks: false, ..idle() });
    breaks("refusal", "but the error is", || {
        let refuse = |_: Role, vectors: Vectors<'_, '_>, _: &mut Rng| {
            check_finite(vectors).map_err(|_| Error::Setting { name: "vectors", expected: "finite" })
        };
        Own { checks: false, ..own(refuse) }
    });
    breaks("refusal", "but the error is", || {
        let name_the_last = |_: Role, vectors: Vectors<'_, '_>, _: &mut Rng| {
            check_finite(vectors).map_err(|_| Error::NotFinite { row: vectors.nrows() - 1 })
        };
        Own { checks: false, ..own(name_the_last) }
    });
    breaks("refusal", "a refused batch is changed", || {
        let change_first = |_: Role, vectors: Vectors<'_, '_>, _: &mut Rng| {
            let verdict = check_finite(vectors);
            vectors.mapv_inplace(|x| x * 0.5);
            verdict
        };
        Own { checks: false, ..own(change_first) }
    });
    breaks("refusal", "binds the defense", || {
        let bound = OnceLock::new();
        let bind_first = move |_: Role, vectors: Vectors<'_, '_>, _: &mut Rng| {
            let verdict = bind(&bound, vectors);
            check_finite(vectors)?;
            verdict
        };
        Own { checks: false, ..own(bind_first) }
    });
}

#[test]
fn dimension() {
    breaks("dimension", "is refused as", || {
        let bound = OnceLock::new();
        own(move |_, vectors, _| {
            bind(&bound, vectors).map_err(|_| Error::Setting { name: "dim", expected: "the same" })
        })
    });
    breaks("dimension", "a refused batch is changed", || {
        let bound = OnceLock::new();
        own(move |_, vectors, _| {
            vectors.mapv_inplace(|x| x * 0.5);
            bind(&bound, vectors)
        })
    });
    breaks("dimension", "it panics", || {
        let bound = OnceLock::new();
        own(move |_, vectors, _| {
            if vectors.nrows() > 0 {
                assert_eq!(*bound.get_or_init(|| vectors.ncols()), vectors.ncols());
            }
            Ok(())
        })
    });
    breaks("dimension", "changes what comes after it", || {
        let seen = AtomicUsize::new(DIM);
        own(move |_, vectors, _| {
            if vectors.nrows() > 0 {
                let largest = seen.fetch_max(vectors.ncols(), Ordering::Relaxed).max(vectors.ncols());
                *vectors /= largest as f32;
            }
            Ok(())
        })
    });
}

#[test]
fn views() {
    breaks("views", "a strided view is not treated as its copy", || {
        own(|_, vectors, _| {
            // Passes over whatever is not contiguous.
            if let Some(values) = vectors.as_slice_mut() {
                values.fill(1.0);
            }
            Ok(())
        })
    });
    breaks("views", "a column-major view is not treated as its copy", || {
        own(|_, vectors, rng| {
            // Draws in the order of memory, not of rows.
            let mut normals = rng.standard_normals();
            match vectors.as_slice_memory_order_mut() {
                Some(values) => values.iter_mut().for_each(|x| *x += normals.draw() as f32),
                None => vectors.iter_mut().for_each(|x| *x += normals.draw() as f32),
            }
            Ok(())
        })
    });
    breaks("views", "a reversed view is not treated as its copy", || {
        own(|_, vectors, _| {
            let backwards = vectors.strides().iter().any(|stride| *stride < 0);
            *vectors *= if backwards { 0.5 } else { 0.25 };
            Ok(())
        })
    });
}

#[test]
fn seed() {
    breaks("seed", "a second call", || {
        own(|_, vectors, _| {
            let mut rng = Rng::from_os()?;
            vectors.iter_mut().zip(rng.standard_normals()).for_each(|(x, normal)| *x += normal as f32);
            Ok(())
        })
    });
    let made = AtomicUsize::new(0);
    breaks("seed", "a defense made like it", || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        own(move |_, vectors, _| {
            *vectors /= 1.0 + (number % 1000) as f32;
            Ok(())
        })
    });
}

#[test]
fn rows() {
    breaks("rows", "row 0 alone is not what it is in a batch", || {
        own(|_, vectors, _| {
            if let Some(mean) = vectors.mean_axis(Axis(0)) {
                *vectors -= &mean.mapv(|x| x / 2.0);
            }
            Ok(())
        })
    });
    breaks("rows", "row 1024 alone is not what it is in a batch", || {
        own(|_, vectors, _| {
            vectors.rows_mut().into_iter().skip(1024).for_each(|mut row| row /= 2.0);
            Ok(())
        })
    });
}

#[test]
fn roles() {
    breaks("roles", "Document and Query vectors are not bound to the same dimension", || {
        let bound = [OnceLock::new(), OnceLock::new()];
        own(move |role, vectors, _| bind(&bound[usize::from(role == Role::Query)], vectors))
    });
    breaks("roles", "vectors change what", || {
        let queried = OnceLock::new();
        own(move |role, vectors, _| {
            if role == Role::Query && vectors.ncols() == DIM {
                let _ = queried.set(());
            } else if queried.get().is_some() {
                *vectors /= 2.0;
            }
            Ok(())
        })
    });
}

#[test]
fn isometry() {
    breaks("isometry", "no distance becomes larger, but one does", || Own {
        guarantee: Guarantee::Contraction,
        ..own(|_, vectors, _| {
            vectors.mapv_inplace(|x| x * 1.1);
            Ok(())
        })
    });
    breaks("isometry", "inner products are not kept", || {
        let halve = |_: Role, vectors: Vectors<'_, '_>, _: &mut Rng| {
            *vectors /= 2.0;
            Ok(())
        };
        Own { guarantee: Guarantee::Isometry, ..own(halve) }
    });
    breaks("isometry", "inner products are not kept", || {
        let turn_documents = |role, vectors: Vectors<'_, '_>, _: &mut Rng| {
            if role == Role::Document {
                vectors.mapv_inplace(|x| -x);
            }
            Ok(())
        };
        Own { guarantee: Guarantee::Isometry, ..own(turn_documents) }
    });
}

#[test]
fn threads() {
    breaks("threads", "threads that share it get another output", || {
        let busy = AtomicUsize::new(0);
        own(move |_, vectors, _| {
            let others = busy.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(if vectors.nrows() == 8 { 50 } else { 0 }));
            *vectors /= 1.0 + others as f32;
            busy.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    });
}

/// Changes nothing without ids, and with them what `by_id` changes.
fn with_ids(by_id: impl Fn(&[&[u8]], Vectors<'_, '_>) -> Result<(), Error> + Send + Sync + 'static) -> Own {
    Own { by_id: Some(Box::new(by_id)), uses_ids: true, ..idle() }
}

/// Adds to each row a number that its id gives.
fn shift(ids: &[&[u8]], vectors: Vectors<'_, '_>) {
    for (mut row, id) in vectors.rows_mut().into_iter().zip(ids) {
        row += f32::from(id[id.len() - 1]) / 100.0;
    }
}

/// Keeps the first few coordinates, and says so.
fn first(coordinates: usize) -> Own {
    let owned = move |vectors: Array2<f32>| {
        let kept = coordinates.min(vectors.ncols());
        vectors.slice_move(s![.., ..kept])
    };
    Own { owned: Some((coordinates, Box::new(owned))), refuses_in_place: true, ..idle() }
}

#[test]
fn output() {
    let narrow = |says| {
        let mut own = first(3);
        own.owned.as_mut().unwrap().0 = says;
        own
    };
    contract::check(DIM, || narrow(3));
    breaks("output", "but it says that their dimension is 4", || narrow(4));
    breaks("output", "does not refuse Document vectors in place", || Own {
        refuses_in_place: false,
        ..narrow(3)
    });
    breaks("output", "do not become what they become in place", || Own {
        owned: Some((DIM, Box::new(|vectors| vectors * 0.5))),
        ..own(|_, _, _| Ok(()))
    });
}

#[test]
fn ids() {
    let lawful = || {
        with_ids(|ids, vectors| {
            check_ids(ids, vectors)?;
            check_finite(vectors)?;
            shift(ids, vectors);
            Ok(())
        })
    };
    contract::check(DIM, lawful);
    breaks("ids", "but they make a difference", || Own { uses_ids: false, ..lawful() });
    breaks("ids", "0 ids are taken for 4 rows", || {
        with_ids(|ids, vectors| {
            check_finite(vectors)?;
            shift(ids, vectors);
            Ok(())
        })
    });
    breaks("ids", "3 ids for 4 rows are refused as", || {
        with_ids(|ids, vectors| match ids.len() {
            0 => check_ids(ids, vectors),
            _ => Err(Error::NotFinite { row: 0 }),
        })
    });
    breaks("ids", "a batch whose ids are refused is changed", || {
        with_ids(|ids, vectors| {
            shift(&[b"1", b"1", b"1", b"1"], vectors);
            check_ids(ids, vectors)
        })
    });
    breaks("ids", "a NaN is taken", || with_ids(|ids, vectors| check_ids(ids, vectors)));
    breaks("ids", "a batch refused with ids is changed", || {
        with_ids(|ids, vectors| {
            check_ids(ids, vectors)?;
            shift(ids, vectors);
            check_finite(vectors)
        })
    });
    breaks("ids", "row 0 alone is not what it is in a batch", || {
        with_ids(|ids, vectors| {
            check_ids(ids, vectors)?;
            check_finite(vectors)?;
            *vectors /= ids.len() as f32 + 1.0;
            Ok(())
        })
    });
}

#[test]
fn a_registry_reads_back_what_it_knows() {
    let mut registry = Registry::default();
    registry.register("own", &["size"], |_| Ok(named("own(size=1)"))).unwrap();
    contract::check_in(&registry, DIM, || named("own(size=1)"));
    let broken =
        catch_unwind(AssertUnwindSafe(|| contract::check_in(&registry, DIM, || named("own(size=2)"))));
    let message = broken.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("read back, it prints `own(size=1)`"), "{message}");
}

/// Negates every coordinate, under a key that `rng` gives, and names `space`.
fn negation(prints: &str, space: Option<Spec>) -> Own {
    let negate = |_: Role, vectors: Vectors<'_, '_>, _: &mut Rng| {
        vectors.mapv_inplace(|x| -x);
        Ok(())
    };
    Own { guarantee: Guarantee::Isometry, prints: prints.to_owned(), space, ..own(negate) }
}

#[test]
fn space() {
    let made = AtomicUsize::new(0);
    breaks("space", "does not match that of one made like it", || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        Own { space: Some(Part::new("own").with("number", number).into()), ..idle() }
    });
    let under = |imitation, space| Own { guarantee: Guarantee::Isometry, imitation, space, ..named(KEYED) };
    contract::check(DIM, || under(|rng| Some(Arc::new(negation(&drawn_fingerprint(rng), None))), None));
    breaks("space", "its fingerprint is the same", || {
        let nothing = || Some(Spec::new());
        under(|rng| Some(Arc::new(negation(&drawn_fingerprint(rng), Some(Spec::new())))), nothing())
    });
}

#[test]
fn spec() {
    breaks("spec", "it does not print one line", || named(""));
    breaks("spec", "it does not print one line", || named("own\nof two lines"));
    breaks("spec", "expected `=`", || named("gaussian(sigma)"));
    breaks("spec", "unknown parameter", || named("quantization(size=8)"));
    breaks("spec", "sigma must be", || named("gaussian(sigma=-1)"));
    breaks("spec", "read back, it prints `gaussian(sigma=0.1)`", || named("gaussian(sigma=0.10)"));
    breaks("spec", "read back, it claims something else", || named("gaussian(sigma=0.1)"));
    breaks("spec", "read back, it gives another output", || named("quantization(bits=1)"));
    breaks("spec", "read back, it gives another output", || {
        let more = GaussianNoise::new(0.2).unwrap();
        let guarantee = GaussianNoise::new(0.1).unwrap().guarantee();
        let change =
            move |role, vectors: Vectors<'_, '_>, rng: &mut Rng| more.protect(role, vectors.view_mut(), rng);
        Own { prints: "gaussian(sigma=0.1)".to_owned(), guarantee, ..own(change) }
    });
}

const KEYED: &str = "own(key=fingerprint:01234567)";

/// Under another key: what it prints, and that its output is another.
fn other(prints: &str) -> Arc<dyn Defense> {
    let signs = Quantization::new(1).unwrap();
    let change =
        move |role, vectors: Vectors<'_, '_>, rng: &mut Rng| signs.protect(role, vectors.view_mut(), rng);
    Arc::new(Own { prints: prints.to_owned(), ..own(change) })
}

fn drawn_fingerprint(rng: &mut Rng) -> String {
    let digits = rng.standard_normals().draw().to_bits() as u32;
    format!("own(key=fingerprint:{digits:08x})")
}

#[test]
fn key() {
    let keyed = |imitation| Own { imitation, ..named(KEYED) };
    contract::check(DIM, || keyed(|rng| Some(other(&drawn_fingerprint(rng)))));

    breaks("key", "has no imitation", || keyed(|_| None));
    breaks("key", "prints no fingerprint", || Own { imitation: |_| Some(other("own")), ..idle() });
    breaks("key", "is another defense", || keyed(|_| Some(other("another(key=fingerprint:76543210)"))));
    breaks("key", "has no key of its own", || keyed(|_| Some(other(KEYED))));
    breaks("key", "has no key of its own", || keyed(|_| Some(other("own(key=fingerprint:76543210)"))));
    breaks("key", "one seed gives several imitations", || {
        keyed(|_| Some(other(&drawn_fingerprint(&mut Rng::from_os().unwrap()))))
    });
    breaks("key", "gives the same output", || keyed(|rng| Some(Arc::new(named(&drawn_fingerprint(rng))))));
}

/// Doubles every coordinate, and is undone as it says.
fn doubled(inverse: fn(Vectors<'_, '_>) -> Result<(), Error>) -> Own {
    let doubling = own(|_, vectors, _| {
        vectors.mapv_inplace(|value| value * 2.0);
        Ok(())
    });
    Own { inverse: Some(inverse), ..doubling }
}

fn halve(vectors: Vectors<'_, '_>) {
    vectors.mapv_inplace(|value| value / 2.0);
}

#[test]
fn inverse() {
    contract::check(DIM, || {
        doubled(|vectors| {
            check_finite(vectors)?;
            halve(vectors);
            Ok(())
        })
    });
    breaks("inverse", "Document vectors are not what they were", || doubled(|vectors| check_finite(vectors)));
    breaks("inverse", "a NaN is unprotected", || {
        doubled(|vectors| {
            halve(vectors);
            Ok(())
        })
    });
    breaks("inverse", "a batch that it refuses to undo is changed", || {
        doubled(|vectors| {
            halve(vectors);
            check_finite(vectors)
        })
    });
    breaks("inverse", "refuses Document vectors", || {
        doubled(|vectors| if vectors.nrows() == 0 { Ok(()) } else { Err(Error::NotFinite { row: 0 }) })
    });
    breaks("inverse", "without rows to unprotect, the error is", || {
        doubled(|_| Err(Error::NotFinite { row: 0 }))
    });
    breaks("inverse", "but not to undo some", || {
        doubled(|vectors| match vectors.nrows() {
            0 => Err(Error::NotInvertible { defense: "own".into(), reason: "it has no inverse" }),
            _ => Ok(()),
        })
    });
}

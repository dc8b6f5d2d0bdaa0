#![allow(clippy::unwrap_used, clippy::float_cmp)]

use ndarray::array;

use super::*;
use crate::Protected;

/// Overrides every method.
struct Full;

impl Embedder for Full {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        Ok(Array2::from_elem((texts.len(), 3), if role == Role::Query { 1.0 } else { 2.0 }))
    }

    fn dimension(&self) -> Option<usize> {
        Some(3)
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::new("shouting", str::to_uppercase))
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::new("full", "0a1b"))
    }

    fn has_unit_norm(&self) -> Option<bool> {
        Some(false)
    }

    fn has_roles(&self) -> bool {
        true
    }

    fn window(&self, document: &str) -> Option<Range<usize>> {
        Some(0..document.len().min(5))
    }

    fn token_count(&self, role: Role, texts: &[&str]) -> Option<usize> {
        Some(texts.len() + usize::from(role == Role::Query))
    }

    fn caveats(&self) -> Vec<String> {
        vec!["it shouts".into()]
    }

    #[cfg(feature = "evaluate")]
    fn white_box(&self) -> Option<&dyn WhiteBox> {
        Some(self)
    }
}

#[cfg(feature = "evaluate")]
impl WhiteBox for Full {
    fn tokens(&self, text: &str) -> Result<Vec<u32>, BoxError> {
        Ok(vec![text.len() as u32])
    }

    fn text(&self, _: &[u32]) -> Result<String, BoxError> {
        Err("not here".into())
    }

    fn table(&self) -> Result<ndarray::CowArray<'_, f32, ndarray::Ix2>, BoxError> {
        Err("not here".into())
    }

    fn gradients(
        &self,
        _: &[&[u32]],
        _: ndarray::ArrayView2<'_, f32>,
    ) -> Result<Vec<embosk_attacks::Gradient>, BoxError> {
        Err("not here".into())
    }
}

/// Checks that everything that [`Full`] says is forwarded.
fn check(embedder: &dyn Embedder) {
    assert_eq!(embedder.embed(Role::Query, &["a"]).unwrap(), array![[1.0, 1.0, 1.0]]);
    assert_eq!(embedder.embed(Role::Document, &["a"]).unwrap(), array![[2.0, 2.0, 2.0]]);
    assert_eq!(
        (embedder.dimension(), embedder.has_unit_norm(), embedder.has_roles()),
        (Some(3), Some(false), true)
    );
    assert_eq!(embedder.identity(), Some(Identity::new("full", "0a1b")));
    assert_eq!((embedder.window("long text"), embedder.window("abc")), (Some(0..5), Some(0..3)));
    let counts = [Role::Document, Role::Query].map(|role| embedder.token_count(role, &["a", "b"]));
    assert_eq!(counts, [Some(2), Some(3)]);
    assert_eq!(embedder.caveats(), ["it shouts"]);
    let normalizer = embedder.normalizer().unwrap();
    assert_eq!((normalizer.name(), normalizer.apply("a").as_str()), ("shouting", "A"));
    #[cfg(feature = "evaluate")]
    {
        assert_eq!(embedder.white_box().unwrap().tokens("abc").unwrap(), [3]);
        let oracle: &dyn embosk_attacks::Oracle = &OracleOf(embedder);
        assert_eq!(oracle.embed(&["a"]).unwrap()[[0, 0]], 2.0);
        assert_eq!(oracle.embed_queries(&["a"]).unwrap()[[0, 0]], 1.0);
        assert!(oracle.white_box().is_some());
    }
}

#[test]
fn pointers_and_a_description_of_nothing_forward_every_method() {
    check(&Full);
    check(&Arc::new(Full));
    let shared: Arc<dyn Embedder> = Arc::new(Full);
    check(&shared);
    let boxed: Box<dyn Embedder> = Box::new(Full);
    check(&boxed);
    check(&Described::new(Full));
    check(&Described::new(Arc::new(Box::new(Full) as Box<dyn Embedder>)));
}

#[test]
fn of_a_closure_nothing_is_known_until_it_is_described() {
    let ones = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 4))) };
    let embedder: &dyn Embedder = &ones;
    assert!(
        embedder.dimension().is_none() && embedder.normalizer().is_none() && embedder.identity().is_none()
    );
    assert!(embedder.has_unit_norm().is_none() && !embedder.has_roles());
    let described = Described::new(ones)
        .dimension(4)
        .unit_norm(false)
        .normalizer(Normalizer::lowercase())
        .identity(Identity::new("ones", "1"));
    let embedder: &dyn Embedder = &described;
    assert_eq!((embedder.dimension(), embedder.has_unit_norm()), (Some(4), Some(false)));
    assert_eq!(embedder.normalizer().unwrap().name(), "lowercase");
    assert_eq!(embedder.identity().unwrap().name, "ones");
}

#[test]
fn a_closure_may_return_rows_and_errors_of_any_kind() {
    let rows = |texts: &[&str]| -> Result<Vec<Vec<f32>>, std::io::Error> {
        Ok(texts.iter().map(|text| vec![text.len() as f32; text.len().min(2)]).collect())
    };
    let protected = Protected::new(rows);
    assert_eq!(protected.embed_documents(&["ab", "abc"]).unwrap(), array![[2.0, 2.0], [3.0, 3.0]]);
    let message = protected.embed_documents(&["ab", "abc", "a"]).unwrap_err().to_string();
    assert!(message.contains("row 2 has 1 numbers, but row 0 has 2"), "{message}");
    let failing =
        |_: &[&str]| -> Result<Vec<Vec<f32>>, std::io::Error> { Err(std::io::Error::other("offline")) };
    assert!(Protected::new(failing).embed_queries(&["a"]).unwrap_err().to_string().ends_with("offline"));
}

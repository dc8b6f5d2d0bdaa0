/// What an adversary must have. Default: the protected vectors of the attacked texts, and nothing else.
///
/// ```
/// use embosk::evaluate::adversaries::Needs;
///
/// let needs = Needs::default().leaked_pairs(768).own_texts(100);
/// assert_eq!((needs.leaked_pairs, needs.own_texts), (768, 100));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// How many real pairs of a text and its protected vector must have leaked.
    pub leaked_pairs: usize,
    /// How many of their own texts the attacker must have.
    pub own_texts: usize,
    /// How many of their own texts the attacker uses if there are more than they must have.
    pub own_texts_wanted: usize,
    /// How many stored vectors are compared, as a cloud, with the vectors of the attacker's own texts: none,
    /// or at least 50.
    pub cloud: usize,
    /// How many releases of each text there are. With more than one, every protected vector that
    /// [`Knowledge`](super::Knowledge) hands out is their mean.
    pub releases: usize,
    /// The attack that reads what the adversary restores.
    pub attack: TrainedOn,
    /// Whether the adversary stays in the space of the embedder's vectors. The attack must then not be a
    /// surrogate's.
    pub embedder_space: bool,
}

/// The vectors that an attack was trained on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrainedOn {
    /// Clean vectors: the evaluation's [`attack`](crate::Evaluation::attack).
    #[default]
    Clean,
    /// Protected vectors: the evaluation's [`retrained`](crate::Evaluation::retrained) attack.
    Protected,
    /// Protected vectors, but the attack is run on vectors whose key was undone.
    KeyUndone,
}

impl TrainedOn {
    /// Whether it is the [retrained](crate::Evaluation::retrained) attack.
    pub fn is_retrained(self) -> bool {
        self != Self::Clean
    }
}

impl Needs {
    /// Sets [`leaked_pairs`](Self::leaked_pairs).
    pub fn leaked_pairs(self, leaked_pairs: usize) -> Self {
        Self { leaked_pairs, ..self }
    }

    /// Sets [`own_texts`](Self::own_texts).
    pub fn own_texts(self, own_texts: usize) -> Self {
        Self { own_texts, ..self }
    }

    /// Sets [`own_texts_wanted`](Self::own_texts_wanted).
    pub fn own_texts_wanted(self, own_texts_wanted: usize) -> Self {
        Self { own_texts_wanted, ..self }
    }

    /// Sets [`cloud`](Self::cloud).
    pub fn cloud(self, cloud: usize) -> Self {
        Self { cloud, ..self }
    }

    /// Sets [`releases`](Self::releases).
    pub fn releases(self, releases: usize) -> Self {
        Self { releases, ..self }
    }

    /// Sets [`attack`](Self::attack).
    pub fn attack(self, attack: TrainedOn) -> Self {
        Self { attack, ..self }
    }

    /// Sets [`embedder_space`](Self::embedder_space).
    pub fn embedder_space(self) -> Self {
        Self { embedder_space: true, ..self }
    }
}

use std::collections::HashMap;
use std::rc::Rc;

use embosk_attacks::alignment::{Alignment, CloudMap};

use super::{Lift, OwnDenoiser};

/// What was fitted: under which defense, on how many texts, pairs or vectors, and on how many releases of each.
pub(super) type Fit = (String, usize, usize);

/// What the adversaries of an evaluation fitted, so that nothing is fitted twice.
#[derive(Debug, Default)]
pub(in crate::evaluate) struct Fits {
    pub(super) denoisers: HashMap<Fit, Rc<OwnDenoiser>>,
    pub(super) lifts: HashMap<Fit, Rc<Lift>>,
    pub(super) alignments: HashMap<Fit, Rc<Alignment>>,
    pub(super) cloud_maps: HashMap<Fit, Rc<CloudMap>>,
}

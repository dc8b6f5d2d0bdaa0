//! Planted permutations and scalings are found, and rotated copies are linked.

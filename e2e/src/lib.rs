//! End-to-end scenarios and the invariants that they check.

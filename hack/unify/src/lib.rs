//! No code. Select this package beside another (`cargo test -p capi-core -p unify`) and cargo resolves the same features
//! as for the whole workspace, so that the heavy dependencies are built once and not once per selection.

//! Which sources the program was built from.

/// The commit that was checked out, or what `TRM_COMMIT` said, when it was built; empty if neither was known.
pub(crate) const COMMIT: &str = env!("TRM_COMMIT");

//! The schema, as clients see it.

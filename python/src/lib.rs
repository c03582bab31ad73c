//! `tombolo._native`: the library's handles as Python classes, one file for each.
//!
//! Each class is frozen: what changes is behind a lock of its own, so nothing here relies on
//! the interpreter's lock. Whatever may wait gives that lock up first. What needs no speed is
//! written in Python, on top of this module.

mod errors;
mod segment;

/// The native half of `tombolo`.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::segment::Segment;
}

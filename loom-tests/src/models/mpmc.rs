//! The owner-tagged slot ring.

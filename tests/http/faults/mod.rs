//! Faults that nobody can rule out: a store that fails or loses its answer, a clock that steps, records of the
//! version before.

mod clock;
mod records;
mod store_down;
pub mod wire;

//! Faults that cannot be ruled out: a store that fails or whose response is lost, a clock that jumps, records of the
//! version before.

mod clock;
mod frozen;
mod records;
mod secret;
mod store_down;
mod upstream;
pub mod wire;

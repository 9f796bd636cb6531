//! Faults that cannot be ruled out: a store that fails or whose response is lost, a clock that jumps, records of the
//! version before, an upstream and clients that fail at any stage.

mod clock;
mod disconnects;
mod frozen;
mod idle;
mod records;
mod redirects;
mod secret;
mod store_down;
mod upstream;
pub mod wire;

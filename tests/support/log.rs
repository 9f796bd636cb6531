//! What the program logs while the tests run.

use std::{
    io,
    sync::{Mutex, OnceLock},
};

use tracing_subscriber::{filter::Targets, fmt, prelude::*};

/// Everything that any test has logged, at the most detailed level of this program. Libraries log as they do by default:
/// at `debug` they wrote 125 MB in one run, half of the time that the tests took.
pub fn logged() -> &'static Mutex<Vec<u8>> {
    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static STARTED: OnceLock<()> = OnceLock::new();
    struct Sink;
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LOG.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    STARTED.get_or_init(|| {
        let filter: Targets = "warn,lambda_oauth_mcp_proxy=trace".parse().unwrap();
        tracing_subscriber::registry()
            .with(filter)
            .with(fmt::layer().json().with_writer(|| Sink))
            .init();
    });
    &LOG
}

//! Opens a page in the person's browser.

use std::process::{Command, Stdio};

/// The command that opens a URL, with its first arguments.
#[cfg(target_os = "macos")]
const OPENER: &[&str] = &["open"];
#[cfg(windows)]
const OPENER: &[&str] = &["rundll32", "url.dll,FileProtocolHandler"];
#[cfg(not(any(target_os = "macos", windows)))]
const OPENER: &[&str] = &["xdg-open"];

/// Starts the command, and does not wait for it.
///
/// # Errors
/// When it cannot be started.
pub fn open(url: &str) -> std::io::Result<()> {
    Command::new(OPENER[0])
        .args(&OPENER[1..])
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

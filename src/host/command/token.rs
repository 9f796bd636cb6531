//! The token for the upstream: from the setting, a file, or the person at the terminal.

use std::{
    io::{IsTerminal as _, Read as _},
    path::Path,
};

use crate::secrets::{TokenForm, UpstreamToken};

/// The token that the upstream takes, and where it was read: without one, the person at the terminal is asked.
///
/// # Errors
/// A sentence about what is missing or wrong; it never contains the token.
pub fn read(
    setting: Option<String>,
    file: Option<&Path>,
    form: &TokenForm,
    upstream_host: &str,
) -> Result<(UpstreamToken, &'static str), String> {
    let at_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if setting.is_none() && file.is_none() && at_terminal {
        let pasted = hidden(&format!("Token for {upstream_host} (it is not shown): "))?;
        let token = form
            .read(&pasted)
            .map_err(|what| format!("the token {what}"));
        return Ok((token?, "the terminal"));
    }
    read_given(setting, file, form)
}

/// The same without asking anybody.
///
/// # Errors
/// As above.
pub fn read_given(
    setting: Option<String>,
    file: Option<&Path>,
    form: &TokenForm,
) -> Result<(UpstreamToken, &'static str), String> {
    let token =
        |pasted: &str, from: &str| form.read(pasted).map_err(|what| format!("{from} {what}"));
    match (setting, file) {
        (Some(_), Some(_)) => {
            Err("UPSTREAM_TOKEN and --token-file are both given; give one of them".to_owned())
        }
        (Some(pasted), None) => Ok((token(&pasted, "UPSTREAM_TOKEN")?, "UPSTREAM_TOKEN")),
        (None, Some(file)) => {
            let from = format!("--token-file {}", file.display());
            let pasted =
                text_file(file).map_err(|error| format!("{from} cannot be read: {error}"))?;
            Ok((token(&pasted, &from)?, "--token-file"))
        }
        (None, None) => Err(
            "UPSTREAM_TOKEN is not set: the access token that the upstream takes (for GitHub: \
             Settings → Developer settings → Personal access tokens)"
                .to_owned(),
        ),
    }
}

/// What a person types at the terminal, without showing it. From then on neither Ctrl-C nor SIGTERM ends the process by
/// itself.
///
/// # Errors
/// When there is no terminal, it was closed, or Ctrl-C was pressed.
pub fn hidden(question: &str) -> Result<String, String> {
    // `rpassword` sends SIGINT to this process at Ctrl-C. It must survive that, so that the terminal is restored.
    #[cfg(unix)]
    let _interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    #[cfg(unix)]
    let terminated = end_when_terminated().map(tokio::spawn);
    let typed = rpassword::prompt_password(question);
    #[cfg(unix)]
    if let Some(task) = terminated {
        task.abort();
    }
    typed.map_err(|error| format!("Nothing could be read from the terminal: {error}"))
}

/// Ends the process at a SIGTERM from now on. `rpassword` blocks in a read and cannot be ended, so it is `stty` that makes
/// the terminal show again what is typed.
#[cfg(unix)]
fn end_when_terminated() -> Option<impl Future<Output = ()> + Send + 'static> {
    let terminate = tokio::signal::unix::SignalKind::terminate();
    // Not in the future: until that runs, the signal would end the process with a terminal that shows nothing.
    let mut signals = tokio::signal::unix::signal(terminate).ok()?;
    Some(async move {
        signals.recv().await;
        if let Ok(terminal) = std::fs::File::open("/dev/tty") {
            let mut stty = std::process::Command::new("stty");
            let _ = stty
                .args(["echo", "icanon", "isig"])
                .stdin(terminal)
                .status();
        }
        std::process::exit(128 + terminate.as_raw_value());
    })
}

/// No header holds more.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The text of a small file: UTF-8, or UTF-16 with its byte order mark, as some shells write what is redirected.
///
/// # Errors
/// When it cannot be read, or is not text.
pub fn text_file(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    let units = |read: fn([u8; 2]) -> u16| -> Vec<u16> {
        let pairs = bytes.chunks_exact(2);
        pairs.map(|pair| read([pair[0], pair[1]])).collect()
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, ..] => String::from_utf16(&units(u16::from_le_bytes)).ok(),
        [0xfe, 0xff, ..] => String::from_utf16(&units(u16::from_be_bytes)).ok(),
        _ => String::from_utf8(bytes.clone()).ok(),
    };
    text.ok_or_else(|| std::io::Error::other("it is not text"))
}

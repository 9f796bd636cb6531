//! The PIN: the owner's, or one that is generated once and kept beside the state, so that a password manager can fill it
//! in again.

use std::{
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use super::{StartError, private_files, state::State};
use crate::{
    credential::{Randomness, SecretString},
    pin::Pin,
};

/// The PIN of this start.
pub struct StartPin {
    /// The PIN itself.
    pub pin: Pin,
    /// What the person is told about it.
    pub shown: String,
}

/// The PIN in the setting; without one, the PIN that was kept or is generated now.
///
/// # Errors
/// When it is not valid, or cannot be kept.
pub fn read(
    setting: Option<String>,
    state: &State,
    randomness: &Randomness,
) -> Result<StartPin, StartError> {
    if let Some(text) = setting {
        let problem = |what| StartError::Settings(vec![format!("AUTH_PIN {what}")]);
        let pin = Pin::parse(text.trim()).map_err(problem)?;
        let shown = "the one in AUTH_PIN".to_owned();
        return Ok(StartPin { pin, shown });
    }
    let (pin, kept) = match state {
        State::File(path) => {
            let file = beside(path);
            let pin = kept(&file, randomness).map_err(|what| {
                StartError::Failure(format!("the PIN in {} {what}", file.display()))
            })?;
            (
                pin,
                format!(
                    "   (also at the next start; it is kept in {})",
                    file.display()
                ),
            )
        }
        State::Memory | State::Endpoint(_) => (Pin::generate(randomness), String::new()),
    };
    let shown = format!("{}{kept}", pin.expose());
    let pin = Pin::parse(pin.expose()).map_err(|what| StartError::Failure(what.to_owned()))?;
    Ok(StartPin { pin, shown })
}

/// The file of the PIN, next to that of the state.
fn beside(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".pin");
    name.into()
}

fn kept(file: &Path, randomness: &Randomness) -> Result<SecretString, String> {
    let cannot = |error: std::io::Error| format!("cannot be kept there: {error}");
    match private_files::options()
        .write(true)
        .create_new(true)
        .open(file)
    {
        Ok(mut created) => {
            let pin = Pin::generate(randomness);
            let written = writeln!(created, "{}", pin.expose()).and_then(|()| created.sync_all());
            written.map_err(cannot)?;
            Ok(pin)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            private_files::make_private(file)?;
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("cannot be read: {error}"))?;
            match Pin::parse(text.trim()) {
                Ok(_) => Ok(SecretString::new(text.trim().to_owned())),
                Err(what) => Err(format!(
                    "{what}. Correct the file, or delete it: then a new PIN is generated"
                )),
            }
        }
        Err(error) => Err(cannot(error)),
    }
}

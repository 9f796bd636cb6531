//! Files that other users of the machine must not read: the state says who is connected, and others hold a secret.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
};

/// A directory that only its owner can enter.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates the file if there is none. The engine opens it later, so it is never readable by others.
pub fn create(path: &Path) -> io::Result<()> {
    options().append(true).create(true).open(path).map(drop)
}

/// A new file that only its owner can read.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes all permissions of other users from a file of this program.
///
/// # Errors
/// What is wrong with the file: it belongs to somebody else.
#[cfg(unix)]
pub fn make_private(path: &Path) -> Result<(), String> {
    if !is_open_to_others(path, 0o077) {
        return Ok(());
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).map_err(|error| {
        format!("is open to other users of this machine, and that cannot be changed: {error}")
    })
}

/// Elsewhere the directory has the permissions.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn make_private(_: &Path) -> Result<(), String> {
    Ok(())
}

/// A sentence for the owner of this file, if others can read it.
pub fn warning(option: &str, path: &Path) -> Option<String> {
    let path_shown = path.display();
    is_open_to_others(path, 0o044).then(|| {
        format!(
            "{option} {path_shown} can be read by other users of this machine: chmod 600 {path_shown}"
        )
    })
}

/// Whether its group or others have one of these permissions. Pipes do not count.
#[cfg(unix)]
fn is_open_to_others(path: &Path, mode: u32) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & mode != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path, _: u32) -> bool {
    false
}

//! How many files the system lets the process open. A connection that is accepted but has none left for its call would only
//! get an error.

use std::num::NonZeroU16;

/// The client's connection, that to the upstream, and one to the table if it has a URL.
const FILES_PER_CONNECTION: u64 = 3;
/// Standard streams, the listener, the state file and its journals, checks at the start.
const OTHER_FILES: u64 = 64;

/// How many connections there may be at a time: as many as wanted, if the system allows that many files. Systems start
/// programs with a low limit that each may raise up to another (getrlimit(2)); it is raised as far as needed.
pub fn connections(wanted: NonZeroU16) -> NonZeroU16 {
    let needed = u64::from(wanted.get()) * FILES_PER_CONNECTION + OTHER_FILES;
    // Where there is no such limit, the system refuses what it cannot do.
    let open_files = rlimit::increase_nofile_limit(needed).unwrap_or(needed);
    let connections = possible(wanted, open_files);
    if connections < wanted {
        tracing::warn!(
            event = "few_open_files",
            open_files,
            max_connections = connections,
            "the system lets this process open so few files that there can be no more connections"
        );
    }
    connections
}

fn possible(wanted: NonZeroU16, open_files: u64) -> NonZeroU16 {
    let most = open_files.saturating_sub(OTHER_FILES) / FILES_PER_CONNECTION;
    let most = u16::try_from(most).unwrap_or(u16::MAX);
    wanted.min(NonZeroU16::new(most).unwrap_or(NonZeroU16::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_files_for_the_call_of_each_connection() {
        for (wanted, open_files, expected) in [
            (1024, 3136, 1024),
            (1024, 3135, 1023),
            (1024, 1024, 320),
            (1024, 256, 64),
            (10, 256, 10),
            (1024, 20, 1),
            (65535, u64::MAX, 65535),
        ] {
            let wanted = NonZeroU16::new(wanted).unwrap();
            assert_eq!(possible(wanted, open_files).get(), expected);
        }
    }
}

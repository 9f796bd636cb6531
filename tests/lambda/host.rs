//! The Lambda host in a process of this test program: the same code as the binary's, with an authority of the tests'
//! own and with hands on its clock and its randomness.

use std::{env, fs, path::PathBuf, process::ExitCode};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lambda_oauth_mcp_proxy::{
    clock::Clock, credential::Randomness, host::lambda, http_client::tls_with_roots,
};
use rustls::pki_types::CertificateDer;
use tokio::process::Command;

use crate::support::authority::{Authority, trusting};

/// The authority's certificate, in base64.
const AUTHORITY: &str = "TEST_AUTHORITY";
/// A file: the seconds by which the clock is ahead, or `panic` for randomness that panics.
const HAND: &str = "TEST_HAND";

/// The file through which a test moves the process's clock; removed when dropped.
pub struct Hand(PathBuf);

impl Hand {
    pub fn new() -> Self {
        let name = format!("lambda-test-{}", Randomness::system().id());
        let hand = Self(env::temp_dir().join(name));
        hand.says("0");
        hand
    }

    pub fn says(&self, what: &str) {
        fs::write(&self.0, what).unwrap();
    }

    /// The settings that the process needs.
    pub fn settings(&self, authority: &Authority) -> Vec<(&'static str, String)> {
        vec![
            (AUTHORITY, STANDARD.encode(authority.certificate())),
            (HAND, self.0.to_str().unwrap().to_owned()),
        ]
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// This test program, to run [`the_function`] and nothing else.
pub fn command() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["lambda::host::the_function", "--exact", "--nocapture"]);
    command
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a main function of its own")]
fn the_function() {
    let lookup = |name: &str| env::var(name).ok();
    let (Some(authority), Some(hand)) = (lookup(AUTHORITY), lookup(HAND)) else {
        return;
    };
    let certificate = CertificateDer::from(STANDARD.decode(authority).unwrap());
    let read = move || fs::read_to_string(&hand).unwrap_or_default();
    let ahead = read.clone();
    let system = Clock::system();
    let clock = Clock::from_fn(move || system.now() + ahead().parse::<u64>().unwrap_or(0));
    let chance = Randomness::system();
    let randomness = Randomness::from_fn(move |bytes| {
        assert!(read() != "panic", "on purpose");
        let fresh: [u8; 32] = chance.bytes();
        for (to, from) in bytes.iter_mut().zip(fresh) {
            *to = from;
        }
    });
    let code = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let tls = tls_with_roots(trusting(certificate));
        match lambda::prepared(lookup, tls, clock, randomness) {
            Ok(app) => {
                lambda::warm_up(&app).await;
                lambda::serve(app, &lookup("AWS_LAMBDA_RUNTIME_API").unwrap()).await
            }
            Err(code) => code,
        }
    });
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

//! `doctor`: looks at a connector from outside, as clients do, and says what they will stumble over.
//!
//! * [`probe`] – one request, with a time limit
//! * [`observe`] – the requests of a client that has not signed in
//! * [`checks`] – what each of the responses means, one function for each concern
//! * [`sign_in`] – with the PIN: a whole sign-in, the tools, and its revocation
//! * [`mcp`] – the few messages of MCP that this needs
//! * [`report`] – the findings, as a table or JSON
//!
//! It works with any MCP server. Every response is hostile: it is read up to a limit, and what is printed of it is cleaned.

mod checks;
mod mcp;
mod observe;
mod probe;
mod report;
mod sign_in;

use std::time::Duration;

use rustls::ClientConfig;
use url::Url;

use crate::{clock::Clock, credential::Randomness};
pub use report::{Finding, Report, Verdict};

/// How to examine a connector.
pub struct Doctor {
    /// The TLS settings, with the root certificates to trust.
    pub tls: ClientConfig,
    /// How long to wait for each response. claude.ai waits 10 seconds.
    pub timeout: Duration,
    /// The PIN, for a whole sign-in.
    pub pin: Option<String>,
    /// The clock, to compare with the server's.
    pub clock: Clock,
    /// For the parameters of the sign-in.
    pub randomness: Randomness,
}

impl Doctor {
    /// Examines the connector at this URL.
    pub async fn examine(&self, url: &Url) -> Report {
        let prober = probe::Prober::new(self.tls.clone(), self.timeout);
        let challenge = sign_in::Pkce::generate(&self.randomness);
        let observed = observe::observe(&prober, url, &challenge).await;
        let mut findings = checks::all(&observed, self.clock.now());
        if let Some(pin) = &self.pin {
            findings.extend(sign_in::run(&prober, &observed, &challenge, pin).await);
        }
        Report {
            url: url.clone(),
            findings,
        }
    }
}

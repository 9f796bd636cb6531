//! What each response means. Each check is a function of everything that was observed.
//!
//! * [`reach`] – whether clients reach the server at all
//! * [`discovery`] – whether they find out where to sign in
//! * [`clients`] – registration, browsers, errors
//! * [`page`] – the page that asks the person

mod clients;
mod discovery;
mod page;
mod reach;

use super::{observe::Observed, probe::Failure, report::Finding};

type Check = fn(&Observed) -> Finding;

/// The checks, in the order in which a client would stumble. The first two are about the connection.
const CHECKS: [Check; 15] = [
    reach::address,
    reach::connection,
    reach::first_call,
    reach::as_claude,
    discovery::challenge,
    discovery::resource_document,
    discovery::server_document,
    discovery::openid_document,
    clients::registration,
    clients::browsers,
    clients::errors,
    clients::empty_bodies,
    clients::event_stream,
    page::consent,
    reach::latency,
];

/// Every finding without a sign-in. `now` is the time here, in Unix seconds.
pub fn all(observed: &Observed, now: u64) -> Vec<Finding> {
    // Without a connection every other line would say the same again.
    let connected = matches!(observed.call, Ok(_) | Err(Failure::Silent));
    let checks = if connected { &CHECKS[..] } else { &CHECKS[..2] };
    let findings = checks.iter().map(|check| check(observed));
    if !connected {
        return findings.collect();
    }
    findings.chain([reach::clock(observed, now)]).collect()
}

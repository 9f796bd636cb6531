//! Whether clients reach the server: name, port, certificate, whatever is in front of it, time.

use std::net::IpAddr;

use aws_smithy_types::{DateTime, date_time::Format};
use http::StatusCode;
use url::Url;

use super::super::{
    observe::Observed,
    probe::{Answer, Failure},
    report::Finding,
};
use crate::client_document::is_public;

/// A clock that differs by more than this is worth a word.
const CLOCK_SECONDS_MAX: u64 = 60;
/// Responses that take longer than this make clients give up now and then: claude.ai waits 10 seconds.
const LATENCY_WARN_MS: u128 = 3_000;

/// The host name, the port, the scheme.
pub fn address(observed: &Observed) -> Finding {
    let addresses = observed.addresses.as_ref();
    host(&observed.url, addresses.map(Vec::as_slice))
}

fn host(url: &Url, addresses: Result<&[IpAddr], &String>) -> Finding {
    const CHECK: &str = "address";
    let found = match addresses {
        Ok(found) if !found.is_empty() => found,
        Ok(_) => {
            return Finding::fail(
                CHECK,
                "the host name has no address",
                "check the host name and its DNS records",
            );
        }
        Err(error) => {
            let what = format!("the host name cannot be resolved: {error}");
            return Finding::fail(CHECK, what, "check the host name and its DNS records");
        }
    };
    if found.iter().all(IpAddr::is_loopback) {
        let what = "a loopback address: only clients on this machine can connect";
        return Finding::warn(
            CHECK,
            what,
            "for claude.ai and ChatGPT use a tunnel, or AWS",
        );
    }
    if url.scheme() != "https" {
        let todo = "give the server https: clients send tokens nowhere else";
        return Finding::fail(CHECK, "the URL begins with http", todo);
    }
    if let Some(private) = found.iter().find(|address| !is_public(**address)) {
        let what = format!(
            "{private} is not a public address: claude.ai and ChatGPT send nothing, and show \"couldn't reach\""
        );
        return Finding::fail(
            CHECK,
            what,
            "remove the private address from the public DNS records",
        );
    }
    if let Some(port) = url.port() {
        let what =
            format!("port {port}: claude.ai connects to port 443 only, and no log shows why");
        return Finding::fail(CHECK, what, "serve it on port 443");
    }
    if !found.iter().any(IpAddr::is_ipv4) {
        let what = "there are only IPv6 addresses: claude.ai needs an A record";
        return Finding::fail(CHECK, what, "add an A record");
    }
    Finding::pass(
        CHECK,
        format!("{} public address(es), port 443", found.len()),
    )
}

/// Whether there is a connection, and TLS is in order.
pub fn connection(observed: &Observed) -> Finding {
    const CHECK: &str = "connection";
    match &observed.call {
        Ok(_) if observed.url.scheme() == "https" => {
            Finding::pass(CHECK, "TLS works, the certificate is valid")
        }
        Ok(_) => Finding::pass(CHECK, "there is a connection"),
        Err(failure @ Failure::Certificate(_)) => {
            let todo = "install a certificate of a public authority for this name, with its intermediate certificates";
            Finding::fail(CHECK, failure.to_string(), todo)
        }
        Err(failure @ Failure::Unreachable(_)) => {
            let todo =
                "check that the server is running, its port, and the firewall in front of it";
            Finding::fail(CHECK, failure.to_string(), todo)
        }
        Err(failure @ Failure::Silent) => {
            let what = format!("{failure}: clients show \"couldn't reach\"");
            Finding::fail(
                CHECK,
                what,
                "check that the server is running, and what is in front of it",
            )
        }
    }
}

/// The response to a call without a token: it must be 401.
pub fn first_call(observed: &Observed) -> Finding {
    const CHECK: &str = "first call";
    let Ok(answer) = &observed.call else {
        return Finding::skip(CHECK, "no response");
    };
    let status = answer.status;
    if let Some(to) = answer.redirected() {
        let what = format!(
            "status {status}, redirected to {to}: clients remove their token when they follow"
        );
        return Finding::fail(
            CHECK,
            what,
            "enter that URL in the client, or remove the redirect in front of the server",
        );
    }
    if answer.is_html() && status != StatusCode::UNAUTHORIZED {
        let what = format!(
            "status {status} with a web page: a tunnel's warning, a firewall, or another site answers"
        );
        return Finding::fail(
            CHECK,
            what,
            "remove the page in front; a client cannot press its button",
        );
    }
    match status {
        StatusCode::UNAUTHORIZED => Finding::pass(CHECK, "401, as it should be without a token"),
        StatusCode::FORBIDDEN => {
            let what = "403 without a token: a firewall or bot rule in front refuses the call";
            Finding::fail(
                CHECK,
                what,
                "allow this host name in the firewall; its own log has the refused request",
            )
        }
        StatusCode::NOT_FOUND => {
            let what = "404: nothing is at this path. Clients show \"no MCP server was found\"";
            Finding::fail(
                CHECK,
                what,
                "check the path (often /mcp); a path rule for /mcp/* does not match /mcp itself",
            )
        }
        StatusCode::MISDIRECTED_REQUEST => {
            let what = "421: the server does not know itself by this name";
            Finding::fail(CHECK, what, "set BASE_URL to the address that clients use")
        }
        status if status.is_success() => {
            let what =
                format!("{status} without a token: the server does not ask anybody to sign in");
            Finding::warn(CHECK, what, "if it is meant to, it must respond 401 here")
        }
        status => Finding::fail(
            CHECK,
            format!("status {status} instead of 401"),
            "see the server's log",
        ),
    }
}

/// Whether something in front treats claude.ai differently.
pub fn as_claude(observed: &Observed) -> Finding {
    const CHECK: &str = "as claude.ai";
    match (&observed.call, &observed.call_as_claude) {
        (Ok(call), Ok(as_claude)) if call.status == as_claude.status => {
            Finding::pass(CHECK, "the same response to User-Agent: Claude-User")
        }
        (Ok(call), other) => {
            let got = match other {
                Ok(answer) => format!("status {}", answer.status),
                Err(failure) => failure.to_string(),
            };
            let what = format!(
                "with User-Agent: Claude-User {got} instead of {}: an AI-bot rule in front. \
                                Signing in works, and then claude.ai shows \"Authorization with the MCP server failed\"",
                call.status
            );
            Finding::fail(
                CHECK,
                what,
                "switch off the rule against AI bots for this host name",
            )
        }
        (Err(_), _) => Finding::skip(CHECK, "no response"),
    }
}

/// How long responses take.
pub fn latency(observed: &Observed) -> Finding {
    const CHECK: &str = "latency";
    let probes = [
        &observed.call,
        &observed.resource_document,
        &observed.server_document,
    ];
    let mut times: Vec<_> = probes
        .iter()
        .filter_map(|probe| probe.as_ref().ok())
        .map(|answer| answer.ms)
        .collect();
    times.sort_unstable();
    let (Some(least), Some(most)) = (times.first(), times.last()) else {
        return Finding::skip(CHECK, "no response");
    };
    let what = format!("{least} to {most} ms");
    if *most > LATENCY_WARN_MS {
        return Finding::warn(
            CHECK,
            what,
            "claude.ai gives up after 10 seconds; make the slow part faster",
        );
    }
    Finding::pass(CHECK, what)
}

/// Whether the clocks agree, because times of tokens and of logs are compared.
pub fn clock(observed: &Observed, now: u64) -> Finding {
    const CHECK: &str = "clock";
    let date = |answer: &Answer| DateTime::from_str(answer.header("date"), Format::HttpDate).ok();
    let date = observed.call.as_ref().ok().and_then(date);
    let Some(there) = date.and_then(|date| u64::try_from(date.secs()).ok()) else {
        return Finding::skip(CHECK, "the response has no date");
    };
    let difference = there.abs_diff(now);
    if difference > CLOCK_SECONDS_MAX {
        let what = format!("the server's clock and the one here differ by {difference} seconds");
        return Finding::warn(
            CHECK,
            what,
            "set the clock that is wrong: tokens expire by it",
        );
    }
    Finding::pass(CHECK, "agrees with the one here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::doctor::Verdict;

    #[test]
    fn names_and_ports_that_claude_ai_does_not_connect_to_are_named() {
        for (url, addresses, verdict, words) in [
            (
                "https://a.example/mcp",
                &["203.0.113.9"][..],
                Verdict::Fail,
                "not a public address",
            ),
            (
                "https://a.example/mcp",
                &["8.8.8.8", "10.0.0.1"],
                Verdict::Fail,
                "10.0.0.1 is not a public",
            ),
            (
                "https://a.example/mcp",
                &["2600::1"],
                Verdict::Fail,
                "A record",
            ),
            (
                "https://a.example:8443/mcp",
                &["8.8.8.8"],
                Verdict::Fail,
                "port 8443",
            ),
            (
                "http://a.example/mcp",
                &["8.8.8.8"],
                Verdict::Fail,
                "begins with http",
            ),
            ("https://a.example/mcp", &[], Verdict::Fail, "no address"),
            (
                "http://localhost:8787/mcp",
                &["127.0.0.1", "::1"],
                Verdict::Warn,
                "this machine",
            ),
            (
                "https://a.example/mcp",
                &["8.8.8.8", "2600::1"],
                Verdict::Pass,
                "2 public",
            ),
        ] {
            let addresses: Vec<IpAddr> =
                addresses.iter().map(|text| text.parse().unwrap()).collect();
            let finding = host(&Url::parse(url).unwrap(), Ok(&addresses));
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
        }
    }
}

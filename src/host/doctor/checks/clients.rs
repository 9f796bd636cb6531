//! What clients need after discovery: registration, access from browsers, errors they understand, bodies that end.

use http::{StatusCode, header::ACCESS_CONTROL_ALLOW_ORIGIN};

use super::super::{
    observe::{Observed, REDIRECT_URI, document},
    probe::{Answer, Failure, Probe},
    report::Finding,
};

/// Whether a client that nobody knows can register (RFC 7591), or publish a document instead.
pub fn registration(observed: &Observed) -> Finding {
    const CHECK: &str = "registration";
    let Some((_, server)) = observed.server() else {
        return Finding::skip(CHECK, "no document of the authorization server");
    };
    let documents = server["client_id_metadata_document_supported"] == true;
    let Some(registration) = &observed.registration else {
        if documents {
            let what = "only clients with a client document: Gemini CLI, MCP Inspector and mcp-remote have none";
            return Finding::warn(CHECK, what, "open registration if you use one of them");
        }
        let what = "clients cannot register and cannot use a document";
        return Finding::fail(
            CHECK,
            what,
            "open registration, or enter a client id and secret that you registered by hand",
        );
    };
    let answer = match registration {
        Ok(answer) => answer,
        Err(failure) => return Finding::fail(CHECK, failure.to_string(), "see the server's log"),
    };
    let client = answer.json().unwrap_or_default();
    if !answer.status.is_success() || !client["client_id"].is_string() {
        let reason = client["error_description"]
            .as_str()
            .or(client["error"].as_str())
            .unwrap_or_default();
        let what = format!(
            "status {} for an ordinary client with the redirect URI {REDIRECT_URI} {reason}",
            answer.status
        );
        return Finding::fail(
            CHECK,
            what,
            "accept loopback redirect URIs with any port, and private-use schemes",
        );
    }
    if client["redirect_uris"][0] != REDIRECT_URI {
        let what = "the response does not repeat the redirect URI";
        return Finding::warn(
            CHECK,
            what,
            "respond with the registered values (RFC 7591 §3.2.1)",
        );
    }
    let also = if documents {
        ", client documents are accepted too"
    } else {
        ""
    };
    Finding::pass(CHECK, format!("clients can register{also}"))
}

/// Whether clients in a browser may read the responses (CORS).
pub fn browsers(observed: &Observed) -> Finding {
    const CHECK: &str = "browser clients";
    const TODO: &str =
        "send the headers once, from the server and not also from what is in front of it";
    let origins = |probe: &Probe| {
        let answer = probe.as_ref().ok()?;
        Some(
            answer
                .headers
                .get_all(ACCESS_CONTROL_ALLOW_ORIGIN)
                .iter()
                .count(),
        )
    };
    let preflight = Some(&observed.preflight);
    let probes = [
        ("the preflight request of a call", preflight),
        (
            "the preflight request of a token request",
            observed.token_preflight.as_ref(),
        ),
        ("the resource document", Some(&observed.resource_document)),
        ("a call without a token", Some(&observed.call)),
    ];
    for (name, probe) in probes
        .into_iter()
        .filter_map(|(name, probe)| Some((name, probe?)))
    {
        match origins(probe) {
            Some(1) | None => {}
            Some(0) => {
                let what = format!(
                    "{name} has no Access-Control-Allow-Origin: MCP Inspector and other pages cannot connect"
                );
                return Finding::warn(
                    CHECK,
                    what,
                    "allow every origin; the token is in a header, so it gives nothing away",
                );
            }
            Some(_) => {
                let what = format!(
                    "{name} has two Access-Control-Allow-Origin headers: browsers refuse both"
                );
                return Finding::warn(CHECK, what, TODO);
            }
        }
    }
    let allowed = observed.preflight.as_ref().map(|answer| {
        answer
            .header("access-control-allow-headers")
            .to_ascii_lowercase()
    });
    if allowed.is_ok_and(|allowed| allowed != "*" && !allowed.contains("authorization")) {
        let what = "the preflight request does not allow the header Authorization";
        return Finding::warn(CHECK, what, TODO);
    }
    Finding::pass(CHECK, "every origin may call")
}

/// Whether errors have the form that clients read.
pub fn errors(observed: &Observed) -> Finding {
    const CHECK: &str = "errors";
    match &observed.call_with_bad_token {
        Ok(answer)
            if answer.status != StatusCode::UNAUTHORIZED
                && observed
                    .call
                    .as_ref()
                    .is_ok_and(|call| call.status == StatusCode::UNAUTHORIZED) =>
        {
            let what = format!(
                "status {} for an invalid token: clients refresh only after 401",
                answer.status
            );
            return Finding::fail(CHECK, what, "respond 401 to a token that is not valid");
        }
        _ => {}
    }
    match &observed.token_error {
        None => Finding::skip(CHECK, "no token endpoint"),
        Some(Err(failure)) => Finding::fail(
            CHECK,
            format!("token endpoint: {failure}"),
            "see the server's log",
        ),
        Some(Ok(answer)) => {
            let code = answer
                .json()
                .and_then(|error| error["error"].as_str().map(str::to_owned));
            let is_client_error = matches!(
                answer.status,
                StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED
            );
            match code {
                Some(code) if is_client_error => {
                    Finding::pass(CHECK, format!("the token endpoint says {code}"))
                }
                _ => {
                    let what = format!(
                        "the token endpoint responds {} without an OAuth error: something in front refuses POST, or it is broken",
                        answer.status
                    );
                    Finding::fail(
                        CHECK,
                        what,
                        "let POST with a form pass to the token endpoint (RFC 6749 §5.2)",
                    )
                }
            }
        }
    }
}

/// Whether responses without a body end.
pub fn empty_bodies(observed: &Observed) -> Finding {
    const CHECK: &str = "empty bodies";
    let probes = [
        Some(&observed.preflight),
        observed.token_preflight.as_ref(),
        Some(&observed.call),
    ];
    let answers: Vec<&Answer> = probes
        .into_iter()
        .flatten()
        .filter_map(|probe| probe.as_ref().ok())
        .collect();
    if let Some(answer) = answers.iter().find(|answer| !answer.ended) {
        let what = format!(
            "a response with status {} never ends: clients wait until they give up",
            answer.status
        );
        let todo =
            "a Lambda Function URL does this to responses without a body: send at least one byte";
        return Finding::fail(CHECK, what, todo);
    }
    if answers.is_empty() {
        return Finding::skip(CHECK, "no response");
    }
    Finding::pass(CHECK, "every response ends")
}

/// What GET at the endpoint does: an event stream, or 405.
pub fn event_stream(observed: &Observed) -> Finding {
    const CHECK: &str = "GET";
    match &observed.stream {
        Err(Failure::Silent) => {
            let what = "GET gets no response: older clients open a stream first, and wait";
            Finding::fail(
                CHECK,
                what,
                "respond to GET with an event stream or with 405",
            )
        }
        Err(failure) => Finding::fail(CHECK, failure.to_string(), "see the server's log"),
        Ok(answer)
            if answer.status == StatusCode::NOT_FOUND
                && document(&observed.resource_document).is_some() =>
        {
            let what = "404: some clients take it for a wrong URL";
            Finding::warn(CHECK, what, "respond 405 if there is no event stream")
        }
        Ok(answer) if answer.status.is_redirection() => Finding::warn(
            CHECK,
            format!("status {}", answer.status),
            "redirect no request at the endpoint",
        ),
        Ok(answer) => Finding::pass(CHECK, format!("status {}", answer.status)),
    }
}

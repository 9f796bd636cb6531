//! Refusals and acknowledgements of the upstream: what clients would misread becomes what it means, and everything
//! else stays as it is.

use crate::{
    upstream_cases::{self, Case, Got},
    world::{Connected, World},
};

async fn got(w: &World, client: &Connected, case: &Case) -> Got {
    let token = w.pat.clone();
    let upstream = case.clone();
    w.upstream.answers(move |_| upstream.response(&token));
    let mut request = w
        .request(case.method, "/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .header("accept", "application/json, text/event-stream")
        .body("application/json", case.message);
    if case.in_session {
        request = request.header("mcp-session-id", "s-1");
    }
    let answer = request.send().await;
    for never in ["www-authenticate", "set-cookie", "content-encoding"] {
        let passes =
            never == "content-encoding" && matches!(case.gets, upstream_cases::Gets::TheSame);
        assert!(
            passes || answer.header(never).is_empty(),
            "{}: {never}",
            case.name
        );
    }
    Got {
        status: answer.status,
        content_type: answer.header("content-type").to_owned(),
        text: answer.text,
    }
}

async fn check(cases: Vec<Case>) {
    let w = World::start().await;
    let client = w.connect().await;
    for case in cases {
        let got = got(&w, &client, &case).await;
        case.check(&got, "127.0.0.1", &w.pat, false);
    }
}

#[tokio::test]
async fn a_refusal_of_the_upstream_is_an_error_of_the_call_and_says_whose_it_is() {
    check(upstream_cases::refusals()).await;
}

#[tokio::test]
async fn what_clients_read_rightly_stays_as_the_upstream_said_it() {
    check(upstream_cases::untouched()).await;
}

#[tokio::test]
async fn an_acknowledgement_is_202_without_a_body_however_the_upstream_spells_it() {
    check(upstream_cases::acknowledgements()).await;
}

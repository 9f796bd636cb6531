//! An open stream ends with its connection on Lambda too. The host runs within this test, because time must pass.

use std::time::Duration;

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lambda_oauth_mcp_proxy::host::lambda;

use crate::{
    lambda::{
        client::{BASE, call, rest},
        runtime_api::RuntimeApi,
    },
    support::world::{Connected, World, time_passes},
};

/// How long Lambda lets an invocation run: `template.yaml` allows up to this.
const RUNS: Duration = Duration::from_mins(15);

async fn connect(w: &World) -> Connected {
    let client = w.client().await;
    let request = w.authorization_request(&client).without("resource");
    let page = w.open(&request).await;
    let decided = w.submit_consent(&page, "authorize", &w.pin).await;
    let code = decided.redirected("code").unwrap();
    let tokens = w.token(&w.redeem(&client, &code)).await;
    Connected::read(&client, &code, &tokens.json())
}

#[tokio::test]
async fn a_stream_ends_within_a_minute_after_revocation_and_expiry() {
    // What the other instance does: a second listener for the same table.
    let w = World::with_settings(&[("BASE_URL", BASE)]).await;
    let api = RuntimeApi::start().await;
    let (app, address) = (w.app(), api.address.to_string());
    let function = tokio::spawn(async move { lambda::serve(app, &address).await });
    w.upstream.responds(|_| {
        let first = stream::once(async { Ok::<_, std::io::Error>(Bytes::from("data: 1\n\n")) });
        let body = Body::from_stream(first.chain(stream::pending()));
        ([("content-type", "text/event-stream")], body).into_response()
    });
    for revoked in [true, false] {
        let client = connect(&w).await;
        let mut stream = api.invoke(&call(&client.access), Some(RUNS));
        assert_eq!(stream.prelude().await.status, 200);
        assert_eq!(stream.chunk().await.unwrap().0, "data: 1\n\n");
        time_passes(130).await;
        if revoked {
            let token = [
                ("token", &*client.refresh),
                ("client_id", &client.client_id),
            ];
            assert_eq!(w.post("/revoke").form(&token).send().await.status, 200);
        } else {
            w.advance_clock(86_400);
        }
        time_passes(60).await;
        // An orderly end: an invocation that is cut off would have error trailers.
        let rest = rest(&mut stream).await;
        assert!(rest.replace(": keep-alive\n", "").is_empty(), "{rest}");
    }
    function.abort();
}

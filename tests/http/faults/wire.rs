//! A connection to the store that fails as the test says, and what the retries of the SDK make of it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};

use crate::support::world::{Connected, Options, World};

/// What happens to one request on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, and so does its response.
    Pass,
    /// It does not arrive.
    Lose,
    /// It arrives and is carried out, but its response is lost.
    LoseAnswer,
}

type Decide = dyn Fn(&str) -> Fate + Send + Sync;

/// Decides the fate of every request to the store, by the name of its operation.
#[derive(Clone)]
pub struct Wire {
    decide: Arc<Mutex<Arc<Decide>>>,
    /// Requests so far, the SDK's retries included.
    seen: Arc<AtomicUsize>,
}

impl Wire {
    /// One that always works.
    pub fn new() -> Self {
        Self {
            decide: Arc::new(Mutex::new(Arc::new(|_: &str| Fate::Pass))),
            seen: Arc::default(),
        }
    }

    /// From now on.
    pub fn decide(&self, decide: impl Fn(&str) -> Fate + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Arc::new(decide);
    }

    pub fn sound(&self) {
        self.decide(|_| Fate::Pass);
    }

    pub fn down(&self) {
        self.decide(|_| Fate::Lose);
    }

    /// The next request of this operation gets this fate, every other one passes.
    pub fn once(&self, operation: &'static str, fate: Fate) {
        let left = AtomicUsize::new(1);
        self.decide(move |asked| {
            let hit = asked == operation
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            if hit { fate } else { Fate::Pass }
        });
    }

    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// A world whose store is behind this wire.
    pub async fn world(&self, settings: &[(&'static str, &str)]) -> World {
        let wire = self.clone();
        World::with_options(Options {
            settings: settings
                .iter()
                .map(|(n, v)| (*n, (*v).to_owned()))
                .collect(),
            wire: Some(Box::new(move |inner| {
                SharedHttpClient::new(Behind { wire, inner })
            })),
            ..Options::default()
        })
        .await
    }
}

#[derive(Clone)]
struct Behind<T> {
    wire: Wire,
    inner: T,
}

impl<T> std::fmt::Debug for Behind<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Behind")
    }
}

impl HttpClient for Behind<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Behind {
            wire: self.wire.clone(),
            inner: self.inner.http_connector(settings, components),
        })
    }
}

impl HttpConnector for Behind<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
        self.wire.seen.fetch_add(1, Ordering::SeqCst);
        let fate = (self.wire.decide.lock().unwrap().clone())(&operation);
        let lost = || ConnectorError::timeout("the response was lost".into());
        match fate {
            Fate::Pass => self.inner.call(request),
            Fate::Lose => HttpConnectorFuture::ready(Err(lost())),
            Fate::LoseAnswer => {
                let done = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    let _ = done.await;
                    Err(lost())
                })
            }
        }
    }
}

/// One write whose response is lost, once: the SDK retries it, finds its own mark, and the client does not notice.
#[tokio::test]
async fn a_write_whose_response_was_lost_is_neither_refused_nor_done_twice() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    for fate in [Fate::LoseAnswer, Fate::Lose] {
        wire.once("PutItem", fate);
        let client = w.client().await;
        wire.once("PutItem", fate);
        let page = w.open(&w.authorization_request(&client)).await;
        // The first write of a consent is the reserved try.
        wire.once("UpdateItem", fate);
        let code = w.submit_consent(&page, "authorize", &w.pin).await;
        assert_eq!(code.status, 303, "{fate:?}: {}", code.text);
        // The code's connection.
        wire.once("PutItem", fate);
        let code = w.submit_consent(&page, "authorize", &w.pin).await;
        let code = code.redirected("code").unwrap();
        w.keep_secret(&code);
        wire.once("UpdateItem", fate);
        let response = w.token(&w.redeem(&client, &code)).await;
        assert_eq!(
            response.status, 200,
            "{fate:?} at redemption: {}",
            response.text
        );
        let one = Connected::read(&client, &code, &response.json());
        assert_eq!(w.status(&one.access).await, 200);

        let before = wire.seen();
        wire.once("UpdateItem", fate);
        let response = w.refresh(&client, &one.refresh).await;
        assert_eq!(
            response.status, 200,
            "{fate:?} at refresh: {}",
            response.text
        );
        assert_eq!(
            wire.seen() - before,
            3,
            "a read, a write, and the write once more"
        );
        let two = Connected::read(&client, "", &response.json());
        assert_eq!(w.status(&two.access).await, 200);
        // A retry of a counted try counts once.
        w.advance_clock(60);
        wire.once("UpdateItem", fate);
        assert_eq!(w.refresh(&client, &one.refresh).await.status, 200);
        let repeats = w
            .dump()
            .iter()
            .filter(|item| item.contains("\"repeats\":{\"N\":\"1\"}"))
            .count();
        assert_eq!(repeats, 1, "{:?}", w.dump());

        wire.once("DeleteItem", fate);
        let revoked = w
            .post("/revoke")
            .form(&[("token", &two.refresh), ("client_id", &client)])
            .send()
            .await;
        assert_eq!(revoked.status, 200, "{fate:?} at revocation");
        assert_eq!(w.status(&two.access).await, 401);
        assert_eq!(
            w.refresh(&client, &two.refresh).await.error(),
            (400, "invalid_grant".into())
        );
    }
}

#[tokio::test]
async fn tries_of_the_pin_are_counted_once_even_if_responses_are_lost() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    for left in (1..=4).rev() {
        wire.once("UpdateItem", Fate::LoseAnswer);
        let wrong = w.submit_consent(&page, "authorize", "wrong000").await;
        assert_eq!(wrong.status, 403, "{}", wrong.text);
        assert!(
            wrong.text.contains(&format!("{left} ")),
            "{left} left: {}",
            wrong.text
        );
    }
    wire.once("UpdateItem", Fate::LoseAnswer);
    assert_eq!(
        w.submit_consent(&page, "authorize", "wrong000")
            .await
            .status,
        429
    );
    let count = |key: &str| {
        let items = w.dump();
        let item = items.iter().find(|item| item.contains(key)).unwrap();
        let item: serde_json::Value = serde_json::from_str(item).unwrap();
        item["tries"]["N"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (count("pin#127"), count("pin#overall")),
        ("5".into(), "5".into())
    );
}

/// Every response to a write is lost, up to the last retry: what the client may do next.
#[tokio::test]
async fn a_refresh_whose_response_was_lost_can_be_repeated() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let one = w.connect().await;
    wire.decide(|operation| {
        if operation == "UpdateItem" {
            Fate::LoseAnswer
        } else {
            Fate::Pass
        }
    });
    let lost = w.refresh(&one.client_id, &one.refresh).await;
    // The first retry finds its own mark, but its response is lost as well: the outcome stays unknown.
    assert_eq!(lost.error(), (503, "temporarily_unavailable".into()));
    assert_eq!(lost.header("retry-after"), "5");
    wire.sound();
    w.advance_clock(5);
    let again = w.refresh(&one.client_id, &one.refresh).await;
    assert_eq!(again.status, 200, "{}", again.text);
    let two = Connected::read(&one.client_id, "", &again.json());
    assert_eq!(w.status(&two.access).await, 200);
    assert_eq!(w.refresh(&one.client_id, &two.refresh).await.status, 200);
}

#[tokio::test]
async fn a_code_whose_redemption_response_was_lost_needs_a_new_consent_and_leaves_nothing() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let client = w.client().await;
    let code = w.code(&client).await;
    wire.decide(|operation| {
        if operation == "UpdateItem" {
            Fate::LoseAnswer
        } else {
            Fate::Pass
        }
    });
    let lost = w.token(&w.redeem(&client, &code)).await;
    assert_eq!(lost.error(), (503, "temporarily_unavailable".into()));
    wire.sound();
    // The client cannot be told from an attacker who was faster, so the connection ends.
    let again = w.token(&w.redeem(&client, &code)).await;
    assert_eq!(again.error(), (400, "invalid_grant".into()));
    assert!(!w.dump().iter().any(|item| item.contains("\"stage\"")));
    let next = w.connect_as(&client).await;
    assert_eq!(w.status(&next.access).await, 200);
}

//! How often each step reads and writes the table, and what that costs in its units, as docs/operate/costs.md says. The engine
//! counts units as DynamoDB does.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use lambda_oauth_mcp_proxy::client_document::Fetcher;
use serde_json::{Value, json};

use crate::{
    http::attacks::documents::{policy, response},
    support::{
        origin::Origin,
        world::{CALLBACK, Connected, Options, World},
    },
};

const DOCUMENTED: &str = include_str!("../../docs/operate/costs.md");

/// Reads, writes, read units and write units.
#[derive(Clone, Debug, Default)]
struct Meter(Arc<Mutex<[f64; 4]>>);

impl Meter {
    async fn world(&self, options: Options) -> World {
        let meter = self.clone();
        let wire = move |inner| SharedHttpClient::new(Metered(meter, inner));
        World::with_options(Options {
            wire: Some(Box::new(wire)),
            ..options
        })
        .await
    }

    /// The documentation has a row with what was used since the last step.
    #[track_caller]
    fn documented(&self, step: &str) {
        let [reads, writes, read_units, write_units] = std::mem::take(&mut *self.0.lock().unwrap());
        let row = format!("| {step} | {reads} | {writes} | {read_units} | {write_units} |");
        assert!(DOCUMENTED.contains(&row), "docs/operate/costs.md: {row}");
    }
}

#[derive(Debug)]
struct Metered<T>(Meter, T);

impl HttpClient for Metered<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.1.http_connector(settings, components);
        SharedHttpConnector::new(Metered(self.0.clone(), inner))
    }
}

impl HttpConnector for Metered<SharedHttpConnector> {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let is_write = !(target.ends_with("GetItem") || target.ends_with("Query"));
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        body["ReturnConsumedCapacity"] = json!("TOTAL");
        *request.body_mut() = SdkBody::from(body.to_string());
        let (meter, call) = (self.0.clone(), self.1.call(request));
        HttpConnectorFuture::new(async move {
            let response = call.await?;
            let body: Value = serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
            let units = body["ConsumedCapacity"]["CapacityUnits"].as_f64();
            let mut meter = meter.0.lock().unwrap();
            meter[usize::from(is_write)] += 1.0;
            meter[2 + usize::from(is_write)] += units.unwrap();
            Ok(response)
        })
    }
}

#[tokio::test]
async fn each_step_of_an_ordinary_client_costs_the_documented_units() {
    let meter = Meter::default();
    let w = meter.world(Options::default()).await;
    w.app().store.warm_up().await.unwrap();
    meter.documented("First start with a new table");
    let client = w.client().await;
    meter.documented("Registration");
    let page = w.open(&w.authorization_request(&client)).await;
    meter.documented("Consent page");
    let consent = w.submit_consent(&page, "authorize", &w.pin).await;
    let code = consent.redirected("code").unwrap();
    meter.documented("Consent with the right PIN");
    let tokens = w.token(&w.redeem(&client, &code)).await.json();
    let one = Connected::read(&client, &code, &tokens);
    meter.documented("Redemption of the code");
    assert_eq!(w.status(&one.access).await, 200);
    meter.documented("Call");
    let call = json!({ "id": 1, "method": "tools/call", "params": { "name": "a_tool" } });
    assert_eq!(w.call(&one.access).json(&call).send().await.status, 200);
    // It is recorded after the response.
    while meter.0.lock().unwrap()[1] == 0.0 {
        tokio::task::yield_now().await;
    }
    meter.documented("Call of a tool");
    w.advance_clock(3600);
    assert_eq!(w.status(&one.access).await, 200);
    meter.documented("Call that updates the time of the last use");
    let two = w.refresh(&client, &one.refresh).await.json();
    meter.documented("Refresh");
    let two = Connected::read(&client, "", &two);
    let revocation = [("token", &*two.refresh), ("client_id", &client)];
    w.post("/revoke").form(&revocation).send().await;
    meter.documented("Revocation");
    let page = w.open(&w.authorization_request(&client)).await;
    meter.documented("Consent page");
    let form = [
        ("page", &*page.id),
        ("pin", &w.pin),
        ("decision", "authorize"),
    ];
    let cookies = format!("{}; {}", page.cookie, consent.cookie().unwrap());
    let again = w
        .send_as_browser(&cookies, w.post("/authorize").form(&form))
        .await;
    assert_eq!(again.status, 303);
    meter.documented("The same in a known browser");
    assert_eq!(
        w.submit_consent(&page, "authorize", "wrong000")
            .await
            .status,
        403
    );
    meter.documented("Wrong PIN");
}

fn padded(prefix: &str, length: usize) -> String {
    format!("{prefix}{}", "a".repeat(length - prefix.len()))
}

#[tokio::test]
async fn the_largest_request_of_a_stranger_costs_the_documented_units() {
    // The longest values that are accepted, in every part.
    let id = padded("https://client.example/", 500);
    let callback = padded("https://client.example/", 1024);
    let mut document = json!({
        "client_id": id,
        "client_name": "\u{10348}".repeat(256),
        "redirect_uris": [callback],
        "software_id": "",
    });
    let length = document.to_string().len();
    document["software_id"] = json!("a".repeat(5 * 1024 - length));
    let validators = format!("etag: \"{0}\"\r\nlast-modified: {0}\r\n", "a".repeat(254));
    let origin = Origin::start(response(&validators, &document.to_string())).await;
    let label = "a".repeat(61);
    let base = format!("https://{label}.{label}.{label}.{label}.example:65535");

    let meter = Meter::default();
    let w = meter
        .world(Options {
            documents: Some(Fetcher::with_policy(origin.tls.clone(), policy(&origin))),
            settings: vec![("BASE_URL", base)],
            ..Options::default()
        })
        .await;
    let request = w
        .authorization_request(&id)
        .set("redirect_uri", &callback)
        .set("state", &"a".repeat(2048))
        .set("scope", "mcp offline_access")
        .without("resource");
    w.open(&request).await;
    meter.documented("Largest consent page, with the document");
    w.open(&request).await;
    meter.documented("Largest consent page");
    let pending = w.dump().into_iter().find(|item| item.contains("pending#"));
    let size = size(&pending.unwrap());
    assert!((3900..=4096).contains(&size), "{size} bytes");
    let too_long = request.clone().set("state", &"a".repeat(2049));
    let path = format!("/authorize?{}", too_long.encode());
    let refused = w.get(&path).send().await;
    assert_eq!(
        refused.redirected("error").as_deref(),
        Some("invalid_request")
    );

    let uris: Vec<_> = (0..32)
        .map(|n| padded(&format!("{CALLBACK}/{n}/"), 128))
        .collect();
    let mut metadata = json!({
        "client_name": "\u{10348}".repeat(256),
        "redirect_uris": uris,
        "token_endpoint_auth_method": "client_secret_basic",
    });
    *meter.0.lock().unwrap() = Default::default();
    w.register(metadata.clone()).await;
    meter.documented("Largest registration");
    metadata["redirect_uris"][0] = json!(padded(CALLBACK, 129));
    let refused = w.post("/register").json(&metadata).send().await;
    assert_eq!(refused.error(), (400, "invalid_redirect_uri".into()));
}

/// The size of an item of texts and numbers (Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats"): names
/// and texts in UTF-8, and for a number about a byte for each two digits and one more.
fn size(item: &str) -> usize {
    let item: Value = serde_json::from_str(item).unwrap();
    let attributes = item.as_object().unwrap().iter();
    attributes
        .map(|(name, value)| {
            let size = match (value["S"].as_str(), value["N"].as_str()) {
                (Some(text), _) => text.len(),
                (_, Some(number)) => number.len().div_ceil(2) + 1,
                _ => panic!("{name}: {value}"),
            };
            name.len() + size
        })
        .sum()
}

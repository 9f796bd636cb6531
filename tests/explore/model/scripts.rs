//! What the actors do, and how a scenario begins.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_oauth_mcp_proxy::{
    app::App,
    client_document::Fetcher,
    clock::Clock,
    config::{Config, HostKind},
    credential::{Code, ConnectionId, Randomness},
    http_client::{HttpClient, tls},
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm},
};
use serde_json::json;

use super::{
    actor::{Actors, Script},
    dynamodb::Table,
    instance::{Event, Instance, Pair, Response},
};
use crate::support::world::{BEGIN, CALLBACK, CHALLENGE, VERIFIER};

/// The right PIN.
pub const PIN: &str = "right12345";
/// Random values of the setup differ from those of every actor.
const SETUP_SEEDS: usize = 1_000_000;

/// What the actors know when a scenario begins.
#[derive(Clone, Default)]
pub struct Beginning {
    pub client_id: String,
    /// The id of the consent page, and its browser's cookie.
    pub page: String,
    pub consent_cookie: String,
    /// The code that the page led to.
    pub code: String,
    /// The exchanges so far: first the code, then each refresh token.
    pub successors: Vec<(String, Pair)>,
    /// The owner's session on the connections page.
    pub session_cookie: String,
    pub csrf: String,
}

impl Beginning {
    /// The newest refresh token.
    pub fn refresh(&self) -> String {
        self.successors.last().unwrap().1.1.clone()
    }

    /// The connection, whose id is the first part of the code.
    pub fn connection(&self) -> ConnectionId {
        Code::parse(&self.code).unwrap().id().clone()
    }

    /// The path of the authorization request.
    pub fn page_url(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &self.client_id),
                ("redirect_uri", CALLBACK),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        format!("/authorize?{query}")
    }

    /// The newest access token.
    pub fn access(&self) -> String {
        self.successors.last().unwrap().1.0.clone()
    }
}

/// An application whose store, clock and randomness the actors replace.
pub fn app() -> App {
    let config = Config::read(HostKind::Local, |name| match name {
        "UPSTREAM_MCP" => Some("http://127.0.0.1:9/mcp".to_owned()),
        // Written beside the response, at no point of it that could be searched.
        "ACTIVITY_DAYS" => Some("0".to_owned()),
        _ => None,
    })
    .unwrap();
    let clock = Clock::from_fn(|| BEGIN);
    let secret = Secret {
        upstream_token: TokenForm::default().read("pat_for_the_model").unwrap(),
        pin: Pin::parse(PIN).unwrap(),
        upstream_headers: Vec::new(),
        clients: Vec::new(),
        origin_secret: None,
    };
    let unused = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .build();
    App::new(
        config,
        aws_sdk_dynamodb::Client::from_conf(unused),
        HttpClient::new(tls(), clock.clone()),
        Fetcher::new(tls()),
        Secrets::fixed(secret),
        clock,
        Randomness::system(),
    )
}

/// The table and what is known after a client was authorized, and has exchanged its tokens so many times.
pub fn beginning(app: &App, exchanges: usize) -> (Table, Arc<Beginning>) {
    let begun = Arc::new(Mutex::new(Beginning::default()));
    let mut actors = Actors::new(app.clone(), SETUP_SEEDS);
    let actor = actors.add(Arc::new({
        let begun = begun.clone();
        move |instance| {
            let begun = begun.clone();
            Box::pin(async move {
                let made = set_up(&instance, exchanges).await;
                *begun.lock().unwrap() = made;
            })
        }
    }));
    let mut table = Table::default();
    actors.finish(actor, &mut table, BEGIN);
    let begun = begun.lock().unwrap().clone();
    (table, Arc::new(begun))
}

async fn set_up(instance: &Instance, exchanges: usize) -> Beginning {
    let metadata = json!({ "redirect_uris": [CALLBACK] });
    let registered = instance.post_json("/register", &metadata).await;
    let mut begun = Beginning {
        client_id: registered.json()["client_id"].as_str().unwrap().to_owned(),
        ..Beginning::default()
    };
    let shown = instance.get(&begun.page_url(), &[]).await;
    begun.page = shown.field("page");
    begun.consent_cookie = shown.cookie();
    let decided = submit(instance, &begun, "authorize", PIN, "everything").await;
    begun.code = decided.redirected("code").unwrap();
    let mut presented = begun.code.clone();
    for exchange in 0..exchanges {
        let pair = if exchange == 0 {
            instance
                .redeem(&begun.client_id, &presented, VERIFIER)
                .await
        } else {
            instance.refresh(&begun.client_id, &presented).await
        };
        let pair = pair.unwrap();
        let next = pair.1.clone();
        begun.successors.push((presented, pair));
        presented = next;
    }
    let form = [("action", "sign-in"), ("pin", PIN)];
    let signed_in = instance.post("/connections", "", &form).await;
    begun.session_cookie = signed_in.cookie();
    let cookie = [("cookie", &*begun.session_cookie)];
    begun.csrf = instance.get("/connections", &cookie).await.field("csrf");
    begun
}

/// Submits the form of the consent page.
pub async fn submit(
    instance: &Instance,
    begun: &Beginning,
    decision: &str,
    pin: &str,
    limit: &str,
) -> Response {
    let form = [
        ("page", &*begun.page),
        ("pin", pin),
        ("limit", limit),
        ("decision", decision),
    ];
    instance
        .post("/authorize", &begun.consent_cookie, &form)
        .await
}

/// A script from a function that returns what it does.
fn script<F>(act: impl Fn(Instance) -> F + 'static) -> Script
where
    F: Future<Output = ()> + 'static,
{
    Arc::new(move |instance| Box::pin(act(instance)))
}

/// Refreshes so many times, each time with the token that it got. After a 503 it tries again once, as clients do.
pub fn refresh(client_id: String, token: String, times: usize) -> Script {
    script(move |instance| {
        let (client_id, mut token) = (client_id.clone(), token.clone());
        async move {
            for _ in 0..times {
                let mut answer = instance.refresh(&client_id, &token).await;
                if matches!(answer, Err((503, _))) {
                    answer = instance.refresh(&client_id, &token).await;
                }
                match answer {
                    Ok((_, next)) => token = next,
                    Err(_) => return,
                }
            }
        }
    })
}

/// Redeems a code once, and refreshes the tokens once.
pub fn redeem(client_id: String, code: String) -> Script {
    script(move |instance| {
        let (client_id, code) = (client_id.clone(), code.clone());
        async move {
            if let Ok((_, token)) = instance.redeem(&client_id, &code, VERIFIER).await {
                let _ = instance.refresh(&client_id, &token).await;
            }
        }
    })
}

pub fn revoke(client_id: String, token: String) -> Script {
    script(move |instance| {
        let (client_id, token) = (client_id.clone(), token.clone());
        async move { instance.revoke(&client_id, &token).await }
    })
}

pub fn call(access: String) -> Script {
    script(move |instance| {
        let access = access.clone();
        async move { instance.call(&access).await }
    })
}

pub fn call_tool(access: String) -> Script {
    script(move |instance| {
        let access = access.clone();
        async move { instance.call_tool(&access).await }
    })
}

/// Submits the consent page again with this limit and the right PIN, and redeems the code.
pub fn consent_again(begun: Arc<Beginning>, limit: &'static str) -> Script {
    script(move |instance| {
        let begun = begun.clone();
        async move {
            let response = submit(&instance, &begun, "authorize", PIN, limit).await;
            let code = response.redirected("code").ok_or(response.status);
            instance.note(Event::Consented(limit, code.clone()));
            if let Ok(code) = code {
                let _ = instance.redeem(&begun.client_id, &code, VERIFIER).await;
            }
        }
    })
}

pub fn deny(begun: Arc<Beginning>) -> Script {
    script(move |instance| {
        let begun = begun.clone();
        async move {
            let response = submit(&instance, &begun, "deny", "", "everything").await;
            instance.note(Event::Denied(response.status));
        }
    })
}

/// The owner ends all connections.
pub fn end_all(begun: Arc<Beginning>) -> Script {
    script(move |instance| {
        let begun = begun.clone();
        async move {
            let form = [("action", "end-all"), ("csrf", &*begun.csrf)];
            let response = instance
                .post("/connections", &begun.session_cookie, &form)
                .await;
            instance.note(Event::EndedByOwner(response.status));
        }
    })
}

/// The owner limits the connection to one tool.
pub fn limit(begun: Arc<Beginning>) -> Script {
    script(move |instance| {
        let begun = begun.clone();
        async move {
            let chosen = [("action", "tools"), ("tool", "reads")];
            let response = send_limit(&instance, &begun, &chosen).await;
            // Back to the page of the connection, or to the list without it.
            let location = response.headers.get("location");
            let found = location.is_none_or(|to| to.to_str().unwrap().contains("/edit?"));
            instance.note(Event::Limited(found.then_some(response.status)));
        }
    })
}

/// Somebody with the owner's session, but without the PIN, tries to remove every limit.
pub fn widen(begun: Arc<Beginning>) -> Script {
    script(move |instance| {
        let begun = begun.clone();
        async move {
            let chosen = [("action", "limit"), ("limit", "everything")];
            let response = send_limit(&instance, &begun, &chosen).await;
            instance.note(Event::TriedToWiden(response.status));
        }
    })
}

async fn send_limit(instance: &Instance, begun: &Beginning, chosen: &[(&str, &str)]) -> Response {
    let connection = begun.connection();
    let target = [("connection", connection.as_str()), ("csrf", &*begun.csrf)];
    let form = [&target, chosen].concat();
    instance
        .post("/connections", &begun.session_cookie, &form)
        .await
}

/// The next version is deployed: it adds an attribute to every connection that it finds, under a condition and with an
/// attempt id, as this version writes.
pub fn next_version(begun: Arc<Beginning>) -> Script {
    script(move |instance| {
        let begun = begun.clone();
        async move {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let id = begun.connection();
            let update = instance.table.update_item();
            let _ = update
                .table_name("lambda-oauth-mcp-proxy")
                .key("pk", text("connection"))
                .key("sk", text(id.as_str()))
                .update_expression("SET #added = :added, #attempt = :attempt, #v = :v")
                .condition_expression("attribute_exists(#pk)")
                .expression_attribute_names("#added", "added_later")
                .expression_attribute_names("#attempt", "attempt")
                .expression_attribute_names("#v", "v")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_values(":added", text("by the next version"))
                .expression_attribute_values(":attempt", text("of the next version"))
                .expression_attribute_values(":v", AttributeValue::N("2".to_owned()))
                .send()
                .await;
        }
    })
}

//! The demo's MCP server: small, real, and insisting on its access token, as GitHub's does.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{
        router::{prompt::PromptRouter, tool::ToolRouter},
        wrapper::Parameters,
    },
    model::{
        CallToolResult, ContentBlock, Implementation, ListResourcesResult, PaginatedRequestParams,
        ProgressNotificationParam, PromptMessage, ReadResourceRequestParams, ReadResourceResponse,
        ReadResourceResult, RequestMetaObject, Resource, ResourceContents, Role,
        ServerCapabilities, ServerConfig,
    },
    prompt, prompt_handler, prompt_router, schemars,
    service::{Peer, RequestContext},
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;

use crate::credential::SecretString;

const WELCOME: &str = "demo://welcome";
/// The longest `count`, so that no call runs on for hours.
const MOST_STEPS: u32 = 100;
const LONGEST_PAUSE_MS: u64 = 5_000;

/// Serves the demo at `/mcp` to callers who bear `token`, until `stop` resolves; running streams end then.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    token: SecretString,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let config = StreamableHttpServerConfig::default();
    let ended = config.cancellation_token.clone();
    let service: StreamableHttpService<Demo, LocalSessionManager> =
        StreamableHttpService::new(|| Ok(Demo::new()), Arc::default(), config);
    let router = Router::new().nest_service("/mcp", service);
    let router = router.layer(middleware::from_fn(move |request, next| {
        insist(token.clone(), request, next)
    }));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            stop.await;
            ended.cancel();
        })
        .await
}

/// 401 for whoever does not bear the token.
async fn insist(
    token: SecretString,
    request: Request<Body>,
    next: Next,
) -> Result<Response, Infallible> {
    let right = format!("Bearer {}", token.expose());
    let presented = request.headers().get(AUTHORIZATION);
    Ok(match presented {
        Some(value) if value.as_bytes().ct_eq(right.as_bytes()).into() => next.run(request).await,
        _ => (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, "Bearer")],
            "the demo takes only its own access token\n",
        )
            .into_response(),
    })
}

#[derive(Clone)]
struct Demo {
    tools: ToolRouter<Self>,
    prompts: PromptRouter<Self>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Echo {
    /// What to say back.
    text: String,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Add {
    /// The first number.
    a: f64,
    /// The second number.
    b: f64,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Count {
    /// How far to count: 1 to 100. Default 5.
    steps: Option<u32>,
    /// Milliseconds between two steps: at most 5000. Default 500.
    interval_ms: Option<u64>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Greet {
    /// Whom to greet.
    name: String,
}

#[tool_router]
impl Demo {
    fn new() -> Self {
        Self {
            tools: Self::tool_router(),
            prompts: Self::prompt_router(),
        }
    }

    /// Says back what it was given.
    #[tool(annotations(read_only_hint = true))]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    /// Adds two numbers.
    #[tool(annotations(read_only_hint = true))]
    async fn add(&self, Parameters(Add { a, b }): Parameters<Add>) -> String {
        (a + b).to_string()
    }

    /// Counts, and reports its progress at each step.
    #[tool(annotations(read_only_hint = true))]
    async fn count(
        &self,
        Parameters(Count { steps, interval_ms }): Parameters<Count>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let steps = steps.unwrap_or(5).clamp(1, MOST_STEPS);
        let pause = Duration::from_millis(interval_ms.unwrap_or(500).min(LONGEST_PAUSE_MS));
        for step in 1..=steps {
            tokio::select! {
                () = context.ct.cancelled() => {
                    return Err(ErrorData::internal_error("the count was cancelled", None));
                }
                () = tokio::time::sleep(pause) => {}
            }
            if let Some(token) = meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, f64::from(step))
                    .with_total(f64::from(steps))
                    .with_message(format!("{step} of {steps}"));
                // A client that listens no more is told nothing more.
                let _ = client.notify_progress(progress).await;
            }
        }
        Ok(format!("Counted to {steps}."))
    }

    /// Always fails, to show what a failing tool looks like.
    #[tool]
    async fn fail(&self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(
            "This tool always fails. Everything between you and it works.",
        )])
    }

    /// Tells which credential arrived here. Not yours: that one stays with the proxy.
    #[tool(annotations(read_only_hint = true))]
    async fn whoami(&self) -> String {
        "You reached the demo with the demo's own access token, which the proxy added. \
         Your client's token did not come this far."
            .to_owned()
    }
}

#[prompt_router]
impl Demo {
    /// A greeting to begin with.
    #[prompt(name = "greet")]
    async fn greet(&self, Parameters(Greet { name }): Parameters<Greet>) -> Vec<PromptMessage> {
        vec![PromptMessage::new_text(
            Role::User,
            format!("Greet {name} warmly, then offer to count to five."),
        )]
    }
}

#[tool_handler(router = self.tools)]
#[prompt_handler(router = self.prompts)]
impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("demo", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "A small server to try the proxy with: echo, add, count, fail, whoami.",
            )
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let welcome = Resource::new(WELCOME, "welcome")
            .with_description("A word of welcome")
            .with_mime_type("text/plain");
        Ok(ListResourcesResult::with_all_items(vec![welcome]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != WELCOME {
            return Err(ErrorData::resource_not_found(
                "there is only demo://welcome",
                None,
            ));
        }
        let text = "Welcome. This text came through the proxy.";
        Ok(ReadResourceResult::new(vec![ResourceContents::text(text, WELCOME)]).into())
    }
}

//! `client-config`: how to add this connector to a client.

use clap::{Args, builder::PossibleValuesParser};

use super::{StartError, say, settings::Settings};
use crate::{
    config::{Config, HostKind},
    page::client_setup::Client,
};

/// The client, and the connector.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The client.
    #[arg(value_parser = PossibleValuesParser::new(Client::ALL.map(Client::id)))]
    client: String,
    /// The connector URL [default: `BASE_URL` with `/mcp`, or `http://127.0.0.1:8787/mcp`]
    #[arg(long)]
    url: Option<String>,
    /// The name of the connector in the client [default: from the host of `UPSTREAM_MCP`]
    #[arg(long)]
    name: Option<String>,
}

/// Prints commands, files and steps.
///
/// # Errors
/// When the settings or the URL are invalid.
pub fn run(arguments: &Arguments, settings: &Settings) -> Result<(), StartError> {
    let config =
        Config::read(HostKind::Local, |name| settings.get(name)).map_err(StartError::Settings)?;
    let url = match (&arguments.url, &config.base_url) {
        (Some(url), _) => url.clone(),
        (None, Some(base)) => base.join("/mcp"),
        (None, None) => "http://127.0.0.1:8787/mcp".to_owned(),
    };
    let parsed = url::Url::parse(&url).ok();
    if !parsed.is_some_and(|url| matches!(url.scheme(), "https" | "http") && url.host().is_some()) {
        let what = "--url is not a URL; an example: https://mcp.example.com/mcp";
        return Err(StartError::Settings(vec![what.to_owned()]));
    }
    let host = config.upstream.url.host_str().unwrap_or_default();
    let name = arguments
        .name
        .clone()
        .unwrap_or_else(|| crate::page::client_setup::connector_name(host));
    if let Some(client) = Client::ALL
        .into_iter()
        .find(|client| client.id() == arguments.client)
    {
        say(&format!(
            "{}\n",
            client.instructions(&name, &url).trim_end()
        ));
    }
    Ok(())
}

//! The schema: every item of the one table, field by field.
//!
//! `pk = "connection", sk = <id>` for connections: only a right PIN writes there, so listing them is one query
//! that never touches what strangers wrote. `pk = "<kind>#<id>", sk = "-"` for everything else. `expires_at` is
//! the TTL attribute; it is also compared in code, since DynamoDB deletes late. All times are unix seconds.
//! `v` is the schema version: version N reads N-1, because both run during a deployment.

use serde::{Deserialize, Serialize};

use crate::{
    credential::{Code, ConnectionId, Fingerprint, IssuedToken, SealingKey},
    oauth::{
        client_auth::AuthMethod, pkce::CodeChallenge, redirect_uri::RedirectUri,
        token::RefreshState,
    },
};

/// The schema version that this program writes.
pub const SCHEMA_VERSION: u64 = 1;

/// Seconds for which a code can be redeemed (RFC 6749 §4.1.2: ten minutes at most).
pub const CODE_LIFETIME_SECONDS: u64 = 300;

/// The `expires_at` of a client that is not in the table: registered by hand, or described by a document.
pub const NEVER_EXPIRES: u64 = u64::MAX;

/// A registered client: `client#<client_id>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub client_id: String,
    /// The name it gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Where answers may go.
    pub redirect_uris: Vec<RedirectUri>,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// What is kept of its secret, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Fingerprint>,
    /// Whether it gets refresh tokens.
    pub refresh: bool,
    /// The host of its client-id document: proven, unlike the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_host: Option<String>,
    /// A day after registration until its first grant, then a year, extended while it is used.
    pub expires_at: u64,
}

impl Client {
    /// Whether it is an item of the table, which expires.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.expires_at != NEVER_EXPIRES
    }
}

/// The last good copy of a client-id document: `document#<URL>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredDocument {
    /// The document as fetched, checked again whenever it is used.
    pub body: String,
    /// `ETag`, for the next fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, for the next fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Until when it is used without asking.
    pub fresh_until: u64,
    /// Until when it serves while its origin fails.
    pub expires_at: u64,
}

/// All that a shown consent page stands for: `pending#<page id>`.
///
/// No `Debug`: the client's state is nobody else's.
#[derive(Clone, Serialize, Deserialize)]
pub struct PendingConsent {
    /// Fingerprint of the cookie of the browser that opened the page.
    pub browser: Fingerprint,
    /// The connection to be.
    pub connection: ConnectionId,
    /// The client that asks.
    pub client: Client,
    /// The redirect URI, proven.
    pub redirect_uri: RedirectUri,
    /// The client's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The issuer that the client knows us by.
    pub issuer: String,
    /// The challenge.
    pub code_challenge: CodeChallenge,
    /// The scope to be granted.
    pub scope: String,
    /// The resource asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Ten minutes after the page was shown.
    pub expires_at: u64,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A code was issued and not redeemed yet.
    Code,
    /// Tokens were issued.
    Live,
}

/// A connection: one client, authorized once. Self-sufficient at `/token`, `/revoke` and the MCP endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Its id; the sort key.
    #[serde(rename = "sk")]
    pub id: ConnectionId,
    /// How far it has come.
    pub stage: Stage,
    /// Whose it is.
    pub client_id: String,
    /// The client's name, for the connections page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The client's proven host, for the connections page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_host: Option<String>,
    /// How the client must authenticate.
    pub auth_method: AuthMethod,
    /// What is kept of the client's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Fingerprint>,
    /// Where the code was sent.
    pub redirect_uri: RedirectUri,
    /// The resource asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The issuer that consented: a token is good only at this server's own base URLs.
    pub issuer: String,
    /// The scope granted.
    pub scope: String,
    /// The challenge, for redeeming the code.
    pub code_challenge: CodeChallenge,
    /// The code. Stays as a tombstone, to recognise a replay.
    pub code: Fingerprint,
    /// Whether it gets refresh tokens.
    pub refreshable: bool,
    /// Seals the message URLs of an HTTP+SSE upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<SealingKey>,
    /// The current access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Fingerprint>,
    /// When that ends.
    #[serde(default)]
    pub access_expires_at: u64,
    /// The access token before the last rotation: good until its own end or the next rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_previous: Option<Fingerprint>,
    /// When that ends.
    #[serde(default)]
    pub access_previous_expires_at: u64,
    /// Fingerprint of the refresh tokens' common part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Fingerprint>,
    /// The current refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Fingerprint>,
    /// The refresh token before the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_previous: Option<Fingerprint>,
    /// When the last rotation was.
    #[serde(default)]
    pub rotated_at: u64,
    /// The salt of the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Rotations so far.
    #[serde(default)]
    pub generation: u64,
    /// Repeats of the last rotation that were counted.
    #[serde(default)]
    pub repeats: u64,
    /// Id of the last write's attempt: the SDK repeats a write whose answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// When consent was given.
    pub created_at: u64,
    /// When it was last used, to the hour.
    pub last_used_at: u64,
    /// The address from which consent was given.
    pub address: String,
    /// When the client's own record was last extended.
    #[serde(default)]
    pub client_extended_at: u64,
    /// The end of the code, later of the last token.
    pub expires_at: u64,
}

impl Connection {
    /// The connection that begins when the right PIN was entered on this page: in stage `code`, without tokens.
    #[must_use]
    pub fn begin(
        pending: &PendingConsent,
        code: &Code,
        sealing_key: SealingKey,
        address: String,
        now: u64,
    ) -> Self {
        Self {
            id: pending.connection.clone(),
            stage: Stage::Code,
            client_id: pending.client.client_id.clone(),
            client_name: pending.client.client_name.clone(),
            verified_host: pending.client.verified_host.clone(),
            auth_method: pending.client.auth_method,
            client_secret: pending.client.secret.clone(),
            redirect_uri: pending.redirect_uri.clone(),
            resource: pending.resource.clone(),
            issuer: pending.issuer.clone(),
            scope: pending.scope.clone(),
            code_challenge: pending.code_challenge.clone(),
            code: code.fingerprint(),
            refreshable: pending.client.refresh,
            sealing_key: Some(sealing_key),
            access: None,
            access_expires_at: 0,
            access_previous: None,
            access_previous_expires_at: 0,
            family: None,
            refresh: None,
            refresh_previous: None,
            rotated_at: 0,
            nonce: None,
            generation: 0,
            repeats: 0,
            attempt: None,
            created_at: now,
            last_used_at: now,
            address,
            client_extended_at: now,
            expires_at: now + CODE_LIFETIME_SECONDS,
        }
    }

    /// The state of its refresh tokens; `None` when it has none.
    #[must_use]
    pub fn refresh_state(&self) -> Option<RefreshState> {
        Some(RefreshState {
            family: self.family.clone()?,
            current: self.refresh.clone()?,
            previous: self.refresh_previous.clone(),
            rotated_at: self.rotated_at,
            repeats: self.repeats,
        })
    }

    /// What revoking this token ends; `None` when it is not one of this connection's. Any refresh token of the family
    /// ends the connection, also a superseded one: else a refresh that is under way would survive its revocation.
    #[must_use]
    pub fn revocation(&self, token: &IssuedToken) -> Option<Revocation> {
        match token {
            IssuedToken::Access(token) => {
                let token = Some(token.fingerprint());
                if token == self.access {
                    Some(Revocation::Connection)
                } else if token == self.access_previous {
                    token.map(Revocation::PreviousAccessToken)
                } else {
                    None
                }
            }
            IssuedToken::Refresh(token) => {
                (self.family == Some(token.family())).then_some(Revocation::Connection)
            }
        }
    }

    /// When the presented access token ends; `None` when it is not one of this connection's.
    #[must_use]
    pub fn access_token_expires_at(&self, presented: &Fingerprint) -> Option<u64> {
        if self.access.as_ref() == Some(presented) {
            Some(self.access_expires_at)
        } else if self.access_previous.as_ref() == Some(presented) {
            Some(self.access_previous_expires_at)
        } else {
            None
        }
    }
}

/// What the revocation of a token ends (RFC 7009 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The connection with all of its tokens.
    Connection,
    /// This superseded access token alone.
    PreviousAccessToken(Fingerprint),
}

/// A session of the connections page: `session#<fingerprint of its cookie>`.
///
/// No `Debug`: it holds a secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// Must come with every form of the page.
    pub csrf: String,
    /// Fifteen minutes after signing in.
    pub expires_at: u64,
}

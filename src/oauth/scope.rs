//! Scopes. Only `mcp` has an effect; `offline_access` is accepted because clients request it.

/// The scope that every connection is granted.
pub const MCP: &str = "mcp";
/// Requested by clients that want a refresh token (`OpenID` Connect Core §11); they get one in any case.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scope granted for the requested one: `mcp`, and `offline_access` if it was requested. Unknown scopes are ignored,
/// because clients send many and stop at `invalid_scope`.
#[must_use]
pub fn granted(requested: Option<&str>) -> String {
    let requests = |scope: &str| requested.unwrap_or_default().split(' ').any(|s| s == scope);
    if requests(OFFLINE_ACCESS) {
        format!("{MCP} {OFFLINE_ACCESS}")
    } else {
        MCP.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_scopes_are_left_out_and_mcp_is_always_granted() {
        assert_eq!(granted(None), "mcp");
        assert_eq!(granted(Some("claudeai")), "mcp");
        assert_eq!(granted(Some(" mcp")), "mcp");
        assert_eq!(
            granted(Some("read offline_access  mcp")),
            "mcp offline_access"
        );
        assert_eq!(granted(Some("MCP offline_accessx")), "mcp");
    }
}

//! Scopes. There is one that means something, `mcp`; `offline_access` is understood because clients ask for it.

/// What every connection is granted.
pub const MCP: &str = "mcp";
/// Asked for by clients that want a refresh token (`OpenID` Connect Core §11); they get one anyway.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scope granted for the one requested: the intersection with what exists, and `mcp` at least, because
/// clients send all sorts of scopes and give up on `invalid_scope`.
#[must_use]
pub fn granted(requested: Option<&str>) -> String {
    let asked = |scope: &str| requested.unwrap_or_default().split(' ').any(|s| s == scope);
    if asked(OFFLINE_ACCESS) {
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

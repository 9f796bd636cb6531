//! The address to listen on, in the forms in which people write it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Parses `8080`, `localhost:8080` or `ADDRESS:PORT`. A port alone and `localhost` mean 127.0.0.1. Of the loopback addresses
/// only 127.0.0.1 and `::1` are accepted, because requests to other names are refused.
///
/// # Errors
/// A sentence for the person who typed it.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let address: SocketAddr = text.parse().map_err(
        |_| "write a port (8080), or an IP address with a port (127.0.0.1:8080, [::1]:8080)",
    )?;
    let ip = address.ip();
    if ip.is_loopback() && ip != Ipv4Addr::LOCALHOST && ip != Ipv6Addr::LOCALHOST {
        return Err("use 127.0.0.1 or [::1]; clients expect no other loopback address".to_owned());
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_port_or_an_address_with_a_port_is_accepted() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("localhost:80", "127.0.0.1:80"),
            ("127.0.0.1:8787", "127.0.0.1:8787"),
            ("0.0.0.0:8787", "0.0.0.0:8787"),
            ("[::1]:8787", "[::1]:8787"),
        ] {
            assert_eq!(parse(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ":8080",
            "65536",
            "-1",
            "localhost",
            "mcp.example.com:80",
            "::1:8787",
            "127.0.0.2:8787",
            "127.1.2.3:8787",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! The addresses that a document may be fetched from: those of the public internet, according to IANA's special-purpose
//! registries (RFC 6890 and its successors).
//!
//! In a Lambda function `127.0.0.1:9001` is the Runtime API, and clouds serve credentials at link-local addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: its first address and the length of its prefix in bits.
type Network<A> = (A, u8);

/// IPv4 networks that are not public.
const FORBIDDEN_V4: [Network<Ipv4Addr>; 16] = [
    (Ipv4Addr::UNSPECIFIED, 8), // "this network": 0.0.0.0 reaches loopback on Linux
    (Ipv4Addr::new(10, 0, 0, 0), 8), // private
    (Ipv4Addr::new(100, 64, 0, 0), 10), // shared by carriers (RFC 6598)
    (Ipv4Addr::new(127, 0, 0, 0), 8), // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // a cloud's platform service, reachable only inside its hosts
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local: instance metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays (RFC 7526)
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, broadcast
];

/// In IPv6 only global unicast is public. Outside it are `::`, `::1`, IPv4-mapped and IPv4-compatible addresses, both
/// NAT64 prefixes, `100::/64`, unique-local, link-local, site-local and multicast addresses.
const GLOBAL_UNICAST: Network<Ipv6Addr> = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Networks in global unicast that are not public.
const FORBIDDEN_V6: [Network<Ipv6Addr>; 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: any IPv4 address inside
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation (RFC 9637)
];

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !FORBIDDEN_V4.iter().any(|network| in_v4(address, *network)),
        IpAddr::V6(address) => {
            in_v6(address, GLOBAL_UNICAST)
                && !FORBIDDEN_V6.iter().any(|network| in_v6(address, *network))
        }
    }
}

fn in_v4(address: Ipv4Addr, (network, length): Network<Ipv4Addr>) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(length)
}

fn in_v6(address: Ipv6Addr, (network, length): Network<Ipv6Addr>) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn every_special_ipv4_network_is_forbidden_from_its_first_to_its_last_address() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("168.63.129.16", "168.63.129.16"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "239.255.255.255"),
            ("240.0.0.0", "255.255.255.255"),
        ] {
            assert!(!public(first), "{first}");
            assert!(!public(last), "{last}");
        }
    }

    #[test]
    fn the_neighbours_of_special_ipv4_networks_are_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
        ] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn ipv6_is_public_only_inside_global_unicast() {
        for address in [
            "::",
            "::1",
            "::127.0.0.1",              // IPv4-compatible
            "::11.0.0.1",               // the same, public inside
            "::ffff:127.0.0.1",         // IPv4-mapped
            "::ffff:11.0.0.1",          // the same, public inside
            "::ffff:0:127.0.0.1",       // IPv4-translated (RFC 2765)
            "64:ff9b::169.254.169.254", // NAT64
            "64:ff9b:1::1",             // NAT64 of a network's own
            "100::1",                   // discard
            "100:0:0:1::1",             // dummy prefix (RFC 9780)
            "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001::1",               // Teredo
            "2001:1::1",             // port control anycast
            "2001:2::1",             // benchmarks
            "2001:10::1",            // ORCHID
            "2001:20::1",            // ORCHIDv2
            "2001:1ff:ffff::1",      // end of the protocol assignments
            "2001:db8::1",           // documentation
            "2001:db8:ffff:ffff::1", // its end
            "2002:7f00:1::1",        // 6to4 of 127.0.0.1
            "2002:ffff::1",          // its end
            "3fff::1",               // documentation
            "3fff:fff:ffff::1",      // its end
            "4000::1",               // after global unicast
            "5f00::1",               // segment routing
            "fc00::1",               // unique-local
            "fd00:ec2::254",         // instance metadata
            "fdff:ffff::1",          // end of unique-local
            "fe80::1",               // link-local
            "febf::1",               // its end
            "fec0::1",               // site-local
            "ff02::1",               // multicast
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(!public(address), "{address}");
        }
        for address in [
            "2000::1",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "3ffe:ffff::1",
            "3fff:1000::1",
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(public(address), "{address}");
        }
    }
}

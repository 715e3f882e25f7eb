//! Which addresses card data may travel to: public unicast, and nothing else.
//!
//! Promises: every address is judged after resolution, whatever spelled it (a name, a literal, an IPv4 address mapped
//! or embedded in IPv6), and the address judged is the address dialled.
//! Does not promise: that a public address is the PSP's; the certificate says that.
//! Upholds: C-17.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not public unicast, or answer with somebody's metadata.
const V4: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network (RFC 791)"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private (RFC 1918)"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared (RFC 6598)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback (RFC 1122)"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's host services"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, metadata (RFC 3927)"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private (RFC 1918)"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments (RFC 6890)"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation (RFC 5737)"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relays (RFC 7526)"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private (RFC 1918)"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking (RFC 2544)"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation (RFC 5737)"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation (RFC 5737)"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved, broadcast (RFC 1112)"),
];

/// Networks inside 2000::/3 that are not public unicast all the same.
const V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments, Teredo (RFC 2928)"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation (RFC 3849)"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4 (RFC 3056)"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation (RFC 9637)"),
];

/// Why no card data may go to this address. `None`: it is public unicast.
#[must_use]
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => v4_refusal(address),
        IpAddr::V6(address) => v6_refusal(address),
    }
}

/// Whether a route's `private_addresses` names this address, mapped or not.
#[must_use]
pub fn is_listed(address: IpAddr, listed: &[IpAddr]) -> bool {
    listed.iter().any(|one| one.to_canonical() == address.to_canonical())
}

fn v4_refusal(address: Ipv4Addr) -> Option<&'static str> {
    let within = |(network, bits, _): &&(Ipv4Addr, u8, &str)| {
        let shift = 32 - u32::from(*bits);
        address.to_bits() >> shift == network.to_bits() >> shift
    };
    V4.iter().find(within).map(|(.., why)| *why)
}

fn v6_refusal(address: Ipv6Addr) -> Option<&'static str> {
    // RFC 6052: the translator sends to the IPv4 address in the last 32 bits.
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
        return v4_refusal(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    if address.segments()[0] >> 13 != 1 {
        return Some("not global unicast (RFC 4291)");
    }
    let within = |(network, bits, _): &&(Ipv6Addr, u8, &str)| {
        let shift = 128 - u32::from(*bits);
        address.to_bits() >> shift == network.to_bits() >> shift
    };
    V6.iter().find(within).map(|(.., why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_unicast_passes() {
        for public in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]
        {
            assert_eq!(refusal(public.parse().unwrap()), None, "{public}");
        }
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(refusal(refused.parse().unwrap()).is_some(), "{refused}");
        }
    }

    #[test]
    fn a_listed_address_is_one_address_not_a_network() {
        let listed = ["127.0.0.1".parse().unwrap()];
        assert!(is_listed("127.0.0.1".parse().unwrap(), &listed));
        assert!(is_listed("::ffff:127.0.0.1".parse().unwrap(), &listed));
        assert!(!is_listed("127.0.0.2".parse().unwrap(), &listed));
        assert!(!is_listed("::1".parse().unwrap(), &listed));
    }
}

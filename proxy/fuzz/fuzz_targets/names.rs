//! Any message of a name server: no panic; an address is taken only out of an answer to the question, and stands in it.
//! Input: the family (a byte), then the message.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use strongroom_perimeter::outbound::dns::message::{Family, Question, Said};

const HOST: &str = "api.psp.example";

fuzz_target!(|input: &[u8]| {
    let Some((family, message)) = input.split_first() else { return };
    let family = if family % 2 == 0 { Family::V4 } else { Family::V6 };
    let question = Question::new(0x1234, HOST, family).expect("a host's name");
    let Ok(said) = question.read(message) else { return };
    assert!(message.starts_with(b"\x12\x34") && message[2] & 0x80 != 0);
    let Said::Addresses(addresses, ttl) = said else { return };
    // The question, in any case of its letters, right after the header.
    let asked = &question.encode()[12..];
    assert!(message[12..].get(..asked.len()).is_some_and(|given| given.eq_ignore_ascii_case(asked)));
    assert!(ttl >> 31 == 0 && addresses.len() <= 256);
    for address in addresses {
        let stands = match address {
            IpAddr::V4(address) if family == Family::V4 => holds(message, &address.octets()),
            IpAddr::V6(address) if family == Family::V6 => holds(message, &address.octets()),
            _ => false,
        };
        assert!(stands, "{address}");
    }
});

fn holds(message: &[u8], address: &[u8]) -> bool {
    message.windows(address.len()).any(|window| window == address)
}

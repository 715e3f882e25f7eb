//! Any text as a token, an alias, a card number, an expiry, a name, a time: parsed as itself or refused, and no text is two.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_domain::alias::{Foreign, PanShaped};
use strongroom_domain::token::holds_token_shape;
use strongroom_domain::{
    Alias, CardName, Environment, Expiry, ForwardId, Holder, Pan, TenantId, Timestamp, Token, TokenRef,
    WorkloadId, pan::luhn_holds, scan,
};
use strongroom_vault::audit::{EntryId, InstanceId, Label};

fuzz_target!(|input: &[u8]| {
    found(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let token = Token::parse(text);
    let live = Pan::parse(text, Environment::Live);
    if let Ok(token) = &token {
        assert!(token.as_str() == text && holds_token_shape(input) && live.is_err());
        assert!(Alias::parse(text).is_err());
    }
    if live.is_ok() {
        assert!(Pan::parse(text, Environment::Test).is_ok());
        let digits: Vec<u8> = input.iter().copied().filter(u8::is_ascii_digit).collect();
        assert!(luhn_holds(&digits) && CardName::parse(text).is_err());
    }
    if let Ok(alias) = PanShaped::parse(text) {
        assert!(alias.as_str() == text && live.is_err() && Foreign::parse(text).is_err());
    }
    if let Ok(name) = CardName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!scan::holds_pan(text));
    }
    if let Ok(expiry) = Expiry::parse_yymm(input) {
        assert_eq!(expiry.yymm(), input);
    }
    if Holder::parse(text).is_ok() {
        assert!(!scan::holds_pan(text) && !text.chars().any(char::is_control));
    }
    if Holder::from_record(input).is_ok() {
        assert!(Holder::parse(text).is_ok() && text.len() <= 70);
    }
    if let Ok(tenant) = TenantId::parse(text) {
        assert!(tenant.as_str() == text && text.len() <= 63);
    }
    if let Ok(workload) = WorkloadId::parse(text) {
        assert!(workload.as_str() == text && !text.contains(".."));
    }
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        let written = time.to_string();
        let again = Timestamp::parse_rfc3339(&written).expect("what is written is read");
        // The format has four digits for the year.
        assert!(again == time || !(0..=253_402_300_799).contains(&time.unix_seconds()), "{text} {written}");
    }
    if let Some(id) = ForwardId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(reference) = TokenRef::parse(text) {
        assert!(reference.as_str() == text && text.len() == 32);
    }
    if let Some(id) = EntryId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(label) = Label::parse(text) {
        assert!(label.as_str() == text && !scan::holds_pan(text));
    }
    if let Ok(instance) = InstanceId::parse(text) {
        assert_eq!(instance.as_str(), text);
    }
});

/// Every number found is one, and where it is said to stand.
fn found(text: &[u8]) {
    let mut end = 0;
    for range in scan::all_pans(text) {
        assert!(range.start >= end && range.end <= text.len());
        end = range.end;
        let digits: Vec<u8> = text[range].iter().copied().filter(u8::is_ascii_digit).collect();
        assert!(scan::is_pan_like(&digits));
    }
    assert_eq!(scan::first_pan(text).is_some(), !scan::all_pans(text).is_empty());
}

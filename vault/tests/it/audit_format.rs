//! `vault/docs/audit-format.md` says what the program writes: its examples are made anew here, its tables are compared.

use std::collections::BTreeSet;

use ring::hmac;
use serde_json::Value;
use strongroom_domain::route::{Attribute, RouteName};
use strongroom_domain::{BootId, DataKeyId, ForwardId, RequestId, TenantId, Timestamp, Token, WorkloadId};
use strongroom_vault::audit::{
    Actor, CardChange, Destination, Draft, EntryId, EntryMac, Event, IdempotencyRef, InstanceId, KeyRef,
    Label, Leaf, Object, Outcome, Pol, Req, Source, Tls,
};

const PAGE: &str = include_str!("../../docs/audit-format.md");
const BOOT: &str = "019aa5a0-0000-7000-8000-000000000001";
const PREVIOUS: &str = "019aa000-0000-7000-8000-000000000001";
const KEY: &str = "0190a0b0-c0d0-7e0f-8f00-112233445566";
const REQUEST: &str = "019aa5a1-0000-7000-8000-000000000002";
const FORWARD: &str = "019aa5a2-0000-7000-8000-000000000003";

/// The MAC as the page defines it, by another implementation than the one the service uses.
fn mac(instance: &str, boot: BootId) -> EntryMac {
    let signing: Vec<u8> = (0..32).collect();
    let mut message = b"strongroom/audit-mac/v1\0".to_vec();
    for field in [instance.as_bytes(), boot.as_uuid().as_bytes()] {
        message.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
        message.extend(field);
    }
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &signing), &message);
    let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
    EntryMac::new(move |bytes| hmac::sign(&key, bytes).as_ref().try_into().unwrap())
}

fn workload(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://strongroom.test/{name}")).unwrap()
}

fn request() -> Req {
    let traceparent = Label::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").ok();
    let idem_ref = Some(IdempotencyRef::of_scope(&[0xab; 32]));
    Req { id: RequestId::parse(REQUEST).unwrap(), traceparent, idem_ref }
}

fn policy(ids: &[&str]) -> Pol {
    let id = ids.iter().map(|id| Label::parse(id).unwrap()).collect();
    Pol { id, rev: Some(7), sha256: [0x5a; 32] }
}

fn drafts() -> Vec<Draft> {
    let ts = Timestamp::parse_rfc3339("2026-11-21T07:35:22.123456Z").unwrap();
    let token = Token::parse("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").unwrap().token_ref();
    let tenant = TenantId::parse("acme").unwrap();
    let session = Tls { version: "TLSv1.3", suite: "TLS_AES_256_GCM_SHA384", group: "X25519MLKEM768" };
    let source = Source { peer: "10.0.0.7:51234".parse().unwrap(), tls: Some(session) };
    let actor = Actor::Workload { id: workload("checkout"), cert_sha256: Some([0x11; 32]) };
    let card = Object::Token { token, tenant: Some(tenant.clone()) };
    let key = DataKeyId::parse(KEY).unwrap();
    let destination = Destination {
        route: RouteName::parse("stripe").unwrap(),
        account: RouteName::parse("default").unwrap(),
        host: "api.stripe.com".into(),
        port: Some(443),
        method: "POST".into(),
        path: "/v1/payment_methods".into(),
        forward: ForwardId::parse(FORWARD),
        attributes: [Attribute::Number, Attribute::Cvc].into_iter().collect(),
    };
    let refused = Source { peer: "10.0.0.9:40000".parse().unwrap(), tls: None };
    let human = Actor::Human { id: workload("alice"), cert_sha256: [0x22; 32], mfa: true };
    vec![
        Draft::by_service(
            ts,
            Event::AuditStart,
            Outcome::Success,
            Object::Boot(BootId::parse(PREVIOUS).unwrap()),
        )
        .with_key(KeyRef::of(key))
        .counting(1_204),
        Draft::by_peer(ts, Event::PanTokenize, Outcome::Success, actor.clone(), source.clone(), card.clone())
            .in_request(request())
            .by_policy(policy(&["tokenize.own-group"]))
            .with_key(KeyRef::of(key))
            .changing(CardChange::of(1, b"a sealed record")),
        Draft::by_peer(
            ts,
            Event::PanForward,
            Outcome::Success,
            Actor::Workload { id: workload("orchestrator"), cert_sha256: None },
            source.clone(),
            card,
        )
        .asserted_by(workload("proxy"))
        .to(destination)
        .in_request(request())
        .by_policy(policy(&["forward.card-on-file"]))
        .with_key(KeyRef { dek_id: key, kek_ref: Some("alias/strongroom".into()), kek_ver: Some(1) }),
        Draft::by_peer(
            ts,
            Event::AuthzDeny,
            Outcome::Denied,
            actor,
            source.clone(),
            Object::Tenant(tenant.clone()),
        )
        .because("no-policy-allows")
        .in_request(Req { traceparent: None, idem_ref: None, ..request() })
        .by_policy(Pol { rev: None, ..policy(&[]) }),
        Draft::by_peer(
            ts,
            Event::TlsReject,
            Outcome::Denied,
            Actor::Unidentified { cert_sha256: Some([0x33; 32]) },
            refused,
            Object::Listener("api"),
        )
        .because("revoked"),
        Draft::by_peer(ts, Event::AuditRead, Outcome::Success, human, source, Object::Log).counting(100),
        Draft::by_service(
            ts,
            Event::DekCreate,
            Outcome::Success,
            Object::Key { id: key, tenant: Some(tenant), purpose: "card" },
        ),
    ]
}

fn leaves() -> Vec<Leaf> {
    let instance = InstanceId::parse("vault-1").unwrap();
    let boot = BootId::parse(BOOT).unwrap();
    let mac = mac(instance.as_str(), boot);
    let seal = |(draft, seq): (&Draft, u64)| Leaf::seal(draft, &instance, EntryId { boot, seq }, &mac);
    drafts().iter().zip(0..).map(seal).collect()
}

#[test]
fn leaves_are_canonical_and_authentic() {
    let boot = BootId::parse(BOOT).unwrap();
    for (leaf, seq) in leaves().iter().zip(0..) {
        let read = leaf.read().unwrap();
        assert_eq!(read.id, EntryId { boot, seq });
        assert!(read.is_authentic(&mac("vault-1", boot)));
        assert!(!read.is_authentic(&mac("vault-2", boot)));
        let mut whole: Value = serde_json::from_slice(leaf.as_bytes()).unwrap();
        assert_eq!(serde_json_canonicalizer::to_vec(&whole).unwrap(), leaf.as_bytes());
        whole["instance_seq"] = (seq + 1).into();
        let moved = Leaf::from_bytes(serde_json_canonicalizer::to_vec(&whole).unwrap());
        assert!(!moved.read().unwrap().is_authentic(&mac("vault-1", boot)));
    }
    for wrong in ["", "[]", "{}", "{ }", r#"{"mac":"00"}"#, "null"] {
        assert!(Leaf::from_bytes(wrong.into()).read().is_err(), "{wrong}");
    }
}

#[test]
fn the_page_shows_what_is_written() {
    let examples: Vec<String> =
        leaves().into_iter().map(|leaf| String::from_utf8(leaf.into_bytes()).unwrap()).collect();
    let wanted = format!("```json\n{}\n```\n", examples.join("\n"));
    let (_, shown) = PAGE.split_once("bytes 00 to 1f.\n\n").unwrap();
    assert!(shown == wanted, "the examples of audit-format.md must be:\n\n{wanted}");
}

#[test]
fn the_page_names_every_event_and_its_requirement() {
    let (_, table) = PAGE.split_once("## Events").unwrap();
    let (table, _) = table.split_once("## Examples").unwrap();
    let rows: BTreeSet<(String, String)> = table
        .lines()
        .filter(|line| line.starts_with("| `") && !line.contains("`evt`"))
        .map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let events = Event::ALL.iter().map(|event| (event.as_str().to_owned(), event.requirement().to_owned()));
    assert_eq!(rows, events.collect());
}

#[test]
fn the_page_names_every_member() {
    let (_, table) = PAGE.split_once("## Members").unwrap();
    let (table, _) = table.split_once("## MAC").unwrap();
    for leaf in leaves() {
        let Value::Object(members) = serde_json::from_slice(leaf.as_bytes()).unwrap() else { unreachable!() };
        for (name, value) in members {
            assert!(table.contains(&format!("`{name}`")), "{name}");
            for inner in value.as_object().into_iter().flatten().map(|(inner, _)| inner) {
                let named =
                    table.contains(&format!("`{name}.{inner}`")) || table.contains(&format!("`{inner}`"));
                assert!(named, "{name}.{inner}");
            }
        }
    }
}

#[test]
fn labels_hold_no_card_number() {
    for wrong in ["", "4242424242424242", "id-4242-4242-4242-4242", "a b", "ä", &"x".repeat(101)] {
        assert!(Label::parse(wrong).is_err(), "{wrong}");
    }
    assert!(Label::parse("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").is_err());
}

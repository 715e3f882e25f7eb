//! Rules that hold for every card: it opens again, and one changed bit anywhere is refused.

use proptest::prelude::*;
use strongroom_domain::{
    CardFacts, DataKeyId, Digits, Environment, Expiry, FactsKept, Holder, Pan, TenantId, Timestamp, TokenHash,
};

use super::{CardSecrets, OpenError, SealError, open, plaintext, record_key_id, seal};
use crate::context::SealContext;
use crate::data_key::DataKey;
use crate::testing::Counting;

fn with_check_digit(body: &str) -> String {
    ('0'..='9')
        .map(|last| format!("{body}{last}"))
        .find(|number| strongroom_domain::pan::luhn_holds(number.as_bytes()))
        .unwrap()
}

#[derive(Debug)]
struct Sealed {
    key: u8,
    environment: Environment,
    tenant: TenantId,
    facts: CardFacts,
    row_version: u64,
    expires_at: Option<Timestamp>,
    card: CardSecrets,
}

impl Sealed {
    fn key(&self) -> DataKey {
        DataKey::take(&mut [self.key; 32])
    }

    fn context(&self) -> SealContext<'_> {
        SealContext {
            environment: self.environment,
            tenant: &self.tenant,
            token: TokenHash::from_bytes([self.key ^ 0x55; 32]),
            data_key: DataKeyId::from_uuid(uuid::Uuid::from_u128(self.key.into())),
            facts: &self.facts,
            row_version: self.row_version,
            expires_at: self.expires_at,
        }
    }

    fn seal(&self) -> Vec<u8> {
        seal(&self.key(), &self.context(), &self.card, &*Counting::from(self.key.into())).unwrap()
    }
}

/// Cards of the range no scheme issues.
fn cards() -> impl Strategy<Value = Sealed> {
    (
        any::<u8>(),
        prop_oneof![Just(Environment::Live), Just(Environment::Test)],
        "[a-z0-9]{1,63}",
        "999999[0-9]{5,12}",
        proptest::option::of((1_u8..=12, 2000_u16..=2099)),
        proptest::option::of("[A-Za-zäßłÅ .'-]{1,35}"),
        any::<bool>(),
        any::<u64>(),
        proptest::option::of(1_i64..4_000_000_000),
    )
        .prop_map(|(key, environment, tenant, body, expiry, holder, facts, row_version, expires_at)| {
            let pan = Pan::parse(&with_check_digit(&body), environment).unwrap();
            let expiry = expiry.map(|(month, year)| Expiry::new(month, year).unwrap());
            let kept = if facts { FactsKept::BinAndLast4 } else { FactsKept::None };
            Sealed {
                key,
                environment,
                tenant: TenantId::parse(&tenant).unwrap(),
                facts: CardFacts::of(&pan, expiry, kept),
                row_version,
                expires_at: expires_at.map(Timestamp::from_unix_seconds),
                card: CardSecrets { pan, expiry, holder: holder.map(|name| Holder::parse(&name).unwrap()) },
            }
        })
}

fn one_card() -> Sealed {
    let pan = Pan::parse("378282246310005", Environment::Test).unwrap();
    let expiry = Some(Expiry::new(9, 2028).unwrap());
    Sealed {
        key: 3,
        environment: Environment::Test,
        tenant: TenantId::parse("acme").unwrap(),
        facts: CardFacts::of(&pan, expiry, FactsKept::BinAndLast4),
        row_version: 1,
        expires_at: Some(Timestamp::from_unix_seconds(1_893_456_000)),
        card: CardSecrets { pan, expiry, holder: Some(Holder::parse("JANE Q CARDHOLDER").unwrap()) },
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_in_its_row(sealed in cards()) {
        let record = sealed.seal();
        prop_assert_eq!(record_key_id(&record), Ok(sealed.context().data_key));
        let opened = open(&sealed.key(), &sealed.context(), &record).unwrap();
        prop_assert_eq!(&*plaintext::encode(&opened), &*plaintext::encode(&sealed.card));
        prop_assert!(opened.pan.same_as(&sealed.card.pan));
    }

    #[test]
    fn no_record_of_any_bytes_panics(bytes in proptest::collection::vec(any::<u8>(), 0..260)) {
        let sealed = one_card();
        let _ = record_key_id(&bytes);
        prop_assert!(open(&sealed.key(), &sealed.context(), &bytes).is_err());
    }

    #[test]
    fn no_plaintext_of_any_bytes_is_taken_for_another(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(b'0'), any::<u8>()], 0..100)
    ) {
        let sealed = one_card();
        if let Ok(card) = plaintext::parse(&bytes, &sealed.context()) {
            prop_assert_eq!(&*plaintext::encode(&card), &bytes);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_refused_by_its_name() {
    let sealed = one_card();
    let (key, context, record) = (sealed.key(), sealed.context(), sealed.seal());
    for bit in 0..record.len() * 8 {
        let mut altered = record.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..3 => OpenError::UnsupportedFormat,
            3..19 => OpenError::UnknownKey,
            19..51 | 63..95 => OpenError::ContextMismatch,
            _ => OpenError::Tampered,
        };
        assert_eq!(open(&key, &context, &altered).unwrap_err(), expected, "bit {bit}");
    }
    for length in 0..record.len() {
        // 143 bytes are the length of a record without a holder.
        let expected = if length == 143 { OpenError::Tampered } else { OpenError::UnsupportedFormat };
        assert_eq!(open(&key, &context, &record[..length]).unwrap_err(), expected, "{length} bytes");
    }
    let longer = [record, vec![0]].concat();
    assert_eq!(open(&key, &context, &longer).unwrap_err(), OpenError::UnsupportedFormat);
}

#[test]
fn every_flipped_bit_of_the_context_is_refused() {
    let sealed = one_card();
    let (key, context, record) = (sealed.key(), sealed.context(), sealed.seal());
    let refused = |other: SealContext<'_>, what: &str| {
        assert_eq!(open(&key, &other, &record).unwrap_err(), OpenError::ContextMismatch, "{what}");
    };
    for bit in 0..256 {
        let mut hash = *context.token.as_bytes();
        hash[bit / 8] ^= 1 << (bit % 8);
        refused(SealContext { token: TokenHash::from_bytes(hash), ..context }, "token");
    }
    for bit in 0..64 {
        refused(SealContext { row_version: context.row_version ^ (1 << bit), ..context }, "row version");
    }
    for bit in 0..40 {
        let seconds = 1_893_456_000_i64 ^ (1 << bit);
        let expires_at = Some(Timestamp::from_unix_seconds(seconds));
        refused(SealContext { expires_at, ..context }, "expires at");
    }
    refused(SealContext { expires_at: None, ..context }, "no expiry");
    refused(SealContext { environment: Environment::Live, ..context }, "environment");
    for tenant in ["acm", "acme0", "acmf", "ecma"] {
        refused(SealContext { tenant: &TenantId::parse(tenant).unwrap(), ..context }, tenant);
    }
    let digits = |text| Digits::parse(text).unwrap();
    for facts in [
        CardFacts { bin: digits("378283"), ..sealed.facts },
        CardFacts { bin: Digits::NONE, ..sealed.facts },
        CardFacts { last4: digits("0006"), ..sealed.facts },
        CardFacts { last4: digits("0005"), bin: digits("37828200"), ..sealed.facts },
        CardFacts { expiry: None, ..sealed.facts },
        CardFacts { expiry: Some(Expiry::new(10, 2028).unwrap()), ..sealed.facts },
    ] {
        refused(SealContext { facts: &facts, ..context }, "facts");
    }
    for bit in 0..128 {
        let id = uuid::Uuid::from_u128(context.data_key.as_uuid().as_u128() ^ (1 << bit));
        let other = SealContext { data_key: DataKeyId::from_uuid(id), ..context };
        assert_eq!(open(&key, &other, &record).unwrap_err(), OpenError::UnknownKey);
    }
}

#[test]
fn every_flipped_bit_of_the_key_is_refused() {
    let sealed = one_card();
    let record = sealed.seal();
    for bit in 0..256 {
        let mut bytes = [sealed.key; 32];
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = open(&DataKey::take(&mut bytes), &sealed.context(), &record).unwrap_err();
        assert_eq!(error, OpenError::ContextMismatch, "bit {bit}");
    }
}

#[test]
fn what_would_not_open_again_is_not_sealed() {
    let sealed = one_card();
    let seal = |context: SealContext<'_>| {
        seal(&sealed.key(), &context, &sealed.card, &*Counting::from(0)).unwrap_err()
    };
    let context = sealed.context();
    let other_expiry = CardFacts { expiry: None, ..sealed.facts };
    assert_eq!(seal(SealContext { facts: &other_expiry, ..context }), SealError::ContextMismatch);
    let other_last4 = CardFacts { last4: Digits::parse("0006").unwrap(), ..sealed.facts };
    assert_eq!(seal(SealContext { facts: &other_last4, ..context }), SealError::ContextMismatch);
    let expires_at = Some(Timestamp::from_unix_micros(1));
    assert_eq!(seal(SealContext { expires_at, ..context }), SealError::ExpiresAt);

    let pan = Pan::parse("4242424242424241", Environment::Test).unwrap();
    let facts = CardFacts::of(&pan, None, FactsKept::BinAndLast4);
    let card = CardSecrets { pan, expiry: None, holder: None };
    let live = SealContext { environment: Environment::Live, facts: &facts, ..context };
    let error = super::seal(&sealed.key(), &live, &card, &*Counting::from(0)).unwrap_err();
    assert_eq!(error, SealError::ContextMismatch, "fails Luhn, in live");
}

#[test]
fn two_seals_of_one_card_share_nothing() {
    let sealed = one_card();
    let seal = |seed| seal(&sealed.key(), &sealed.context(), &sealed.card, &*Counting::from(seed)).unwrap();
    let (one, other) = (seal(0), seal(1 << 40));
    assert_eq!(one[..19], other[..19]);
    for (part, range) in [("salt", 19..51), ("nonce", 51..63), ("commitment", 63..95), ("body", 95..175)] {
        assert_ne!(one[range.clone()], other[range], "{part}");
    }
}

#[test]
fn debug_shows_no_card() {
    let shown = format!("{:?}", one_card().card);
    assert!(!shown.contains("3782") && !shown.contains("JANE"), "{shown}");
}

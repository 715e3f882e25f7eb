//! Any bytes as a sealed record, and a sealed record with any bytes changed: nothing opens but what was sealed, in its row.
//! Input: how to make the record (a byte), then bytes: the record itself, or pairs of where and what to change.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use strongroom_domain::{
    CardFacts, DataKeyId, Environment, Expiry, FactsKept, Holder, Pan, Random, RandomUnavailable, TenantId,
    Token,
};
use strongroom_sealing::{CardSecrets, DataKey, OpenError, SealContext, open, record_key_id, seal};

/// A test's randomness: the same every time.
struct Fixed;

impl Random for Fixed {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        (0..).zip(out).for_each(|(at, byte): (u8, _)| *byte = at.wrapping_mul(37));
        Ok(())
    }
}

struct Row {
    key: DataKey,
    tenant: TenantId,
    token: Token,
    data_key: DataKeyId,
    facts: CardFacts,
    sealed: Vec<u8>,
}

impl Row {
    fn context(&self) -> SealContext<'_> {
        SealContext {
            environment: Environment::Test,
            tenant: &self.tenant,
            token: self.token.hash(),
            data_key: self.data_key,
            facts: &self.facts,
            row_version: 1,
            expires_at: None,
        }
    }
}

fn row() -> &'static Row {
    static ROW: OnceLock<Row> = OnceLock::new();
    ROW.get_or_init(|| {
        let pan = Pan::parse("4242424242424242", Environment::Test).expect("a test number");
        let expiry = Expiry::new(3, 2030).ok();
        let facts = CardFacts::of(&pan, expiry, FactsKept::BinAndLast4);
        let mut row = Row {
            key: DataKey::take(&mut [7; 32]),
            tenant: TenantId::parse("acme").expect("a tenant"),
            token: Token::parse("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").expect("a token"),
            data_key: DataKeyId::from_uuid(uuid::Uuid::from_u128(0x0190_a0b0_c0d0_7e0f_8f00_0000_0000_0001)),
            facts,
            sealed: Vec::new(),
        };
        let card = CardSecrets { pan, expiry, holder: Holder::parse("JANE DOE").ok() };
        row.sealed = seal(&row.key, &row.context(), &card, &Fixed).expect("it seals");
        row
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    let row = row();
    let mut record = row.sealed.clone();
    match how % 3 {
        0 => record = bytes.to_vec(),
        // Right in version, suite and key id; the rest as it comes.
        1 => {
            record.truncate(19);
            record.extend_from_slice(bytes);
        }
        _ => {
            for change in bytes.as_chunks::<2>().0 {
                let at = usize::from(change[0]) % record.len();
                record[at] ^= change[1];
            }
        }
    }
    let named = record_key_id(&record);
    let opened = open(&row.key, &row.context(), &record);
    assert_eq!(opened.is_ok(), record == row.sealed);
    if let Err(error) = opened {
        assert_eq!(named.is_err(), error == OpenError::UnsupportedFormat);
        assert!(error != OpenError::Malformed, "nobody else can seal");
    }
    // In any other row it does not open, whatever it is.
    let mut other = row.context();
    other.row_version = 2;
    assert!(open(&row.key, &other, &record).is_err());
});

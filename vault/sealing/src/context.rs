//! Where a sealed card lives.
//!
//! Promises: no two contexts encode alike; every field is length-prefixed.
//! Upholds: C-01.

use strongroom_domain::{CardFacts, DataKeyId, Environment, TenantId, Timestamp, TokenHash};

use crate::encoding;
use crate::key::Purpose;

/// First bytes of every context.
const LABEL: &[u8] = b"strongroom/record-aad/v1\0";
/// Room for the longest context, so that encoding never grows its buffer.
const BYTES_MAX: usize = 256;
/// What stands for "no expiry", in contexts and in records.
pub(crate) const NO_EXPIRY: [u8; 4] = *b"0000";

/// Where a sealed card lives: its row, at its version. It opens there and nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// Live or test.
    pub environment: Environment,
    /// Whose card.
    pub tenant: &'a TenantId,
    /// The card's token, hashed.
    pub token: TokenHash,
    /// The data key the row names.
    pub data_key: DataKeyId,
    /// The readable facts beside the record.
    pub facts: &'a CardFacts,
    /// Version of the row; an older record does not open under a newer version.
    pub row_version: u64,
    /// When the token ends: whole seconds after 1970, or never.
    pub expires_at: Option<Timestamp>,
}

impl SealContext<'_> {
    /// The authenticated bytes of design §4. `None` if `expires_at` is not a whole, positive number of seconds:
    /// rounding would let two contexts encode alike.
    pub(crate) fn authenticated_bytes(&self, purpose: Purpose) -> Option<Vec<u8>> {
        let expires_at = match self.expires_at {
            None => 0,
            Some(at) => whole_seconds(at)?,
        };
        let expiry = self.facts.expiry.map_or(NO_EXPIRY, |expiry| expiry.yymm());
        let mut out = Vec::with_capacity(BYTES_MAX);
        out.extend_from_slice(LABEL);
        encoding::push(&mut out, self.environment.as_str().as_bytes());
        encoding::push(&mut out, self.tenant.as_str().as_bytes());
        encoding::push(&mut out, purpose.as_str().as_bytes());
        encoding::push(&mut out, self.token.as_bytes());
        encoding::push(&mut out, self.data_key.as_uuid().as_bytes());
        encoding::push(&mut out, self.facts.bin.as_str().as_bytes());
        encoding::push(&mut out, self.facts.last4.as_str().as_bytes());
        encoding::push(&mut out, &expiry);
        encoding::push(&mut out, &self.row_version.to_be_bytes());
        encoding::push(&mut out, &expires_at.to_be_bytes());
        Some(out)
    }
}

fn whole_seconds(at: Timestamp) -> Option<u64> {
    let seconds = u64::try_from(at.unix_seconds()).ok().filter(|seconds| *seconds > 0)?;
    (Timestamp::from_unix_seconds(at.unix_seconds()) == at).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use strongroom_domain::{Digits, Expiry};

    /// A context that owns what it speaks of.
    #[derive(Clone, PartialEq, Debug)]
    struct Owned {
        environment: Environment,
        tenant: TenantId,
        token: TokenHash,
        data_key: DataKeyId,
        facts: CardFacts,
        row_version: u64,
        expires_at: Option<Timestamp>,
        purpose: Purpose,
    }

    impl Owned {
        fn bytes(&self) -> Option<Vec<u8>> {
            let Self { environment, tenant, token, data_key, facts, row_version, expires_at, purpose } = self;
            let context = SealContext {
                environment: *environment,
                tenant,
                token: *token,
                data_key: *data_key,
                facts,
                row_version: *row_version,
                expires_at: *expires_at,
            };
            context.authenticated_bytes(*purpose)
        }
    }

    /// Few values for each field, so that two draws often agree in most of them.
    fn contexts() -> impl Strategy<Value = Owned> {
        let digits = |texts: &'static [&'static str]| {
            proptest::sample::select(texts).prop_map(|text| Digits::parse(text).unwrap())
        };
        let facts = (
            digits(&["", "4", "41", "411111", "41111111"]),
            digits(&["", "1", "11", "1111", "3012"]),
            proptest::option::of((1_u8..=2, 2030_u16..=2031)),
        )
            .prop_map(|(bin, last4, expiry)| CardFacts {
                bin,
                last4,
                expiry: expiry.map(|(month, year)| Expiry::new(month, year).unwrap()),
            });
        (
            prop_oneof![Just(Environment::Live), Just(Environment::Test)],
            "[ab]{1,3}",
            any::<bool>(),
            any::<bool>(),
            facts,
            0_u64..3,
            proptest::option::of(1_i64..3),
            proptest::sample::select(Purpose::ALL.as_slice()),
        )
            .prop_map(
                |(environment, tenant, token, key, facts, row_version, expires_at, purpose)| Owned {
                    environment,
                    tenant: TenantId::parse(&tenant).unwrap(),
                    token: TokenHash::from_bytes([u8::from(token); 32]),
                    data_key: DataKeyId::from_uuid(uuid::Uuid::from_u128(key.into())),
                    facts,
                    row_version,
                    expires_at: expires_at.map(Timestamp::from_unix_seconds),
                    purpose,
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_two_contexts_encode_alike(one in contexts(), other in contexts()) {
            let (first, second) = (one.bytes().unwrap(), other.bytes().unwrap());
            prop_assert_eq!(one == other, first == second);
            prop_assert!(first.len() <= BYTES_MAX);
        }
    }

    #[test]
    fn the_longest_context_fits_its_buffer() {
        let facts = CardFacts {
            bin: Digits::parse("41111111").unwrap(),
            last4: Digits::parse("1111").unwrap(),
            expiry: None,
        };
        let longest = Owned {
            environment: Environment::Test,
            tenant: TenantId::parse(&"x".repeat(TenantId::BYTES_MAX)).unwrap(),
            token: TokenHash::from_bytes([0; 32]),
            data_key: DataKeyId::from_uuid(uuid::Uuid::nil()),
            facts,
            row_version: 0,
            expires_at: None,
            purpose: Purpose::AuditSigning,
        };
        assert!(longest.bytes().unwrap().len() <= BYTES_MAX);
        for wrong in [Timestamp::from_unix_micros(1), Timestamp::from_unix_micros(1_500_000)]
            .into_iter()
            .chain([0, -1].map(Timestamp::from_unix_seconds))
        {
            let context = Owned { expires_at: Some(wrong), ..longest.clone() };
            assert_eq!(context.bytes(), None, "{wrong:?}");
        }
    }
}

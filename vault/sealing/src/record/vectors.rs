//! Known answers made by an independent implementation: every case, every intermediate value, every failure.

use serde_json::Value;
use strongroom_domain::{
    CardFacts, DataKeyId, Digits, Environment, Expiry, Holder, Pan, RandomUnavailable, TenantId, Timestamp,
    Token, TokenHash,
};

use super::{CardSecrets, Derived, OpenError, open, open_for, plaintext, record_key_id, seal};
use crate::context::SealContext;
use crate::data_key::DataKey;
use crate::key::Purpose;
use crate::testing::Scripted;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/record.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn environment(value: &Value) -> Environment {
    match value.as_str().unwrap() {
        "live" => Environment::Live,
        "test" => Environment::Test,
        other => panic!("no such environment: {other}"),
    }
}

fn expiry(value: &Value) -> Option<Expiry> {
    match value.as_str().unwrap() {
        "0000" => None,
        digits => Some(Expiry::parse_yymm(digits.as_bytes()).unwrap()),
    }
}

/// The context of one case, owned.
struct Row {
    key: DataKey,
    environment: Environment,
    tenant: TenantId,
    token: TokenHash,
    data_key: DataKeyId,
    facts: CardFacts,
    row_version: u64,
    expires_at: Option<Timestamp>,
    purpose: Purpose,
}

impl Row {
    fn of(input: &Value) -> Self {
        let text = |name: &str| input[name].as_str().unwrap();
        let facts = CardFacts {
            bin: Digits::parse(text("bin")).unwrap(),
            last4: Digits::parse(text("last4")).unwrap(),
            expiry: expiry(&input["exp"]),
        };
        let seconds = input["expires_at"].as_i64().unwrap();
        Self {
            key: DataKey::take(&mut bytes(&input["data_key"]).try_into().unwrap()),
            environment: environment(&input["environment"]),
            tenant: TenantId::parse(text("tenant")).unwrap(),
            token: Token::parse(text("token")).unwrap().hash(),
            data_key: DataKeyId::from_uuid(uuid::Uuid::from_slice(&bytes(&input["data_key_id"])).unwrap()),
            facts,
            row_version: input["row_version"].as_u64().unwrap(),
            expires_at: (seconds != 0).then(|| Timestamp::from_unix_seconds(seconds)),
            purpose: Purpose::parse(text("purpose")).unwrap(),
        }
    }

    fn context(&self) -> SealContext<'_> {
        SealContext {
            environment: self.environment,
            tenant: &self.tenant,
            token: self.token,
            data_key: self.data_key,
            facts: &self.facts,
            row_version: self.row_version,
            expires_at: self.expires_at,
        }
    }
}

fn card(input: &Value) -> CardSecrets {
    let holder = input["holder"].as_str().unwrap();
    CardSecrets {
        pan: Pan::parse(input["pan"].as_str().unwrap(), environment(&input["environment"])).unwrap(),
        expiry: expiry(&input["exp"]),
        holder: (!holder.is_empty()).then(|| Holder::parse(holder).unwrap()),
    }
}

#[test]
fn every_case_seals_to_its_record_and_opens_again() {
    let vectors = vectors();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let (input, output) = (&case["input"], &case["output"]);
        let row = Row::of(input);
        let context = row.context();
        let card = card(input);

        let aad = context.authenticated_bytes(Purpose::Card).unwrap();
        assert_eq!(aad, bytes(&output["aad"]), "{}: aad", case["name"]);
        let plain = plaintext::encode(&card);
        assert_eq!(*plain, bytes(&output["plaintext"]), "{}: plaintext", case["name"]);
        let salt = bytes(&input["salt"]).try_into().unwrap();
        let derived = Derived::from_key(&row.key, &salt, &aad);
        assert_eq!(derived.record_key.as_slice(), bytes(&output["record_key"]), "{}: key", case["name"]);
        assert_eq!(derived.commitment.as_slice(), bytes(&output["commitment"]), "{}", case["name"]);

        let random = Scripted::new([bytes(&input["salt"]), bytes(&input["nonce"])].concat());
        let record = seal(&row.key, &context, &card, &*random).unwrap();
        assert_eq!(hex::encode(&record), output["record"].as_str().unwrap(), "{}", case["name"]);
        assert_eq!(record.len() as u64, output["record_len"].as_u64().unwrap());
        assert!(random.is_spent(), "{}: all randomness is used", case["name"]);

        assert_eq!(record_key_id(&record), Ok(row.data_key));
        let opened = open(&row.key, &context, &record).unwrap();
        assert_eq!(*plaintext::encode(&opened), *plain, "{}: opened", case["name"]);
    }
}

#[test]
fn the_worked_example_of_the_specification_is_the_first_case() {
    let specification = include_str!("../../../docs/record-format.md").replace('\n', "");
    let case = &vectors()["cases"][0];
    for field in ["data_key", "data_key_id", "salt", "nonce", "token"] {
        assert!(specification.contains(case["input"][field].as_str().unwrap()), "{field}");
    }
    for field in ["aad", "aad_sha256", "record_key", "commitment", "plaintext", "record"] {
        assert!(specification.contains(case["output"][field].as_str().unwrap()), "{field}");
    }
}

#[test]
fn every_failure_has_its_name() {
    let vectors = vectors();
    let cases = vectors["cases"].as_array().unwrap();
    let failures = vectors["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 37);
    for failure in failures {
        let name = failure["name"].as_str().unwrap();
        let case = cases.iter().find(|case| case["name"] == failure["context_of"]).unwrap();
        let mut input = case["input"].clone();
        for (field, value) in failure["context_change"].as_object().into_iter().flatten() {
            assert!(input.get(field).is_some(), "{name}: {field} is a field of the context");
            input[field] = value.clone();
        }
        let row = Row::of(&input);
        let error = open_for(row.purpose, &row.key, &row.context(), &bytes(&failure["record"])).unwrap_err();
        assert_eq!(error.as_str(), failure["expect"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn without_randomness_nothing_is_sealed() {
    let input = &vectors()["cases"][0]["input"];
    let row = Row::of(input);
    for given in [0, 31, 32, 43] {
        let random = Scripted::new(vec![0; given]);
        let error = seal(&row.key, &row.context(), &card(input), &*random).unwrap_err();
        assert_eq!(error, super::SealError::Random(RandomUnavailable), "{given} bytes");
    }
}

#[test]
fn a_record_of_another_key_does_not_open() {
    let case = &vectors()["cases"][0];
    let row = Row::of(&case["input"]);
    let other = DataKey::take(&mut [0xff; 32]);
    let error = open(&other, &row.context(), &bytes(&case["output"]["record"])).unwrap_err();
    assert_eq!(error, OpenError::ContextMismatch);
}

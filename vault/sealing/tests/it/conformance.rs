//! One suite, every provider. A server that does not do what AWS documents has its gaps listed, each with what it does
//! instead: a closed gap fails the test until it is taken off the list.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use strongroom_domain::{DataKeyId, Environment};
use strongroom_sealing::kms::file::FileKms;
use strongroom_sealing::{KeyContext, KeyScope, Kms, KmsError, Purpose, Wrapped};

use crate::double::Double;
use crate::emulator::Emulator;
use crate::world::{SystemChance, admin, aws, config, context, make_key, probe, tenant};

/// What was tried, and what came of it.
type Found = (&'static str, String);
/// What a server does instead.
type Gap = (&'static str, &'static str);

/// What every provider does.
const COMMON: &[Gap] = &[
    ("check", "ok"),
    ("round trip", "ok"),
    ("two keys of one context", "differ"),
    ("the service's own key", "ok"),
    ("another environment", "mismatch"),
    ("another tenant", "mismatch"),
    ("the service instead of the tenant", "mismatch"),
    ("another purpose", "mismatch"),
    ("another key id", "mismatch"),
    ("every byte altered", "mismatch"),
    ("every length cut", "mismatch"),
    ("longer", "mismatch"),
    ("empty", "mismatch"),
    ("far too long", "mismatch"),
    ("wrapped under another KMS key", "mismatch"),
    ("another KMS key, named by the store", "mismatch"),
];

/// What `aws` does besides.
const AWS: &[Gap] = &[
    ("alias: round trip", "ok"),
    ("alias: check", "ok"),
    ("alias: unwrap by the ARN the store remembers", "ok"),
    ("alias moved: unwrap", "mismatch"),
    ("alias moved: unwrap, the former key listed", "ok"),
    ("unknown key: generate", "denied"),
    ("unknown key: check", "denied"),
    ("disabled: unwrap", "denied"),
    ("disabled: generate", "denied"),
    ("disabled: check", "denied"),
    ("enabled again: unwrap", "ok"),
    ("pending deletion: unwrap", "denied"),
    ("pending deletion: generate", "denied"),
    ("pending deletion: check", "denied"),
];

/// roto's blob is JSON that holds context, key ARN and the data key in base64. It compares the context; nothing
/// authenticates the rest.
const ROTO_GAPS: &[Gap] = &[("every byte altered", "denied or mismatch or ok")];

/// moto knows no key states, and answers a blob of another key with AccessDenied.
const MOTO_GAPS: &[Gap] = &[
    ("every byte altered", "denied or mismatch"),
    ("wrapped under another KMS key", "denied"),
    ("another KMS key, named by the store", "denied"),
    ("alias moved: unwrap", "denied"),
    ("disabled: unwrap", "ok"),
    ("disabled: generate", "ok"),
    ("pending deletion: unwrap", "ok"),
    ("pending deletion: generate", "ok"),
];

#[tokio::test]
async fn the_file_provider_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (file_kms(folder.path(), "ours"), file_kms(folder.path(), "other"));
    judge(common(&ours, &other).await, COMMON, &[]);
}

#[tokio::test]
async fn the_aws_provider_conforms_on_the_double() {
    let double = Double::start().await;
    on_server(&double.endpoint, &[]).await;
}

#[tokio::test]
async fn the_aws_provider_conforms_on_roto() {
    let server = Emulator::roto();
    on_server(&server.endpoint(), ROTO_GAPS).await;
}

#[tokio::test]
async fn the_aws_provider_conforms_on_moto() {
    let server = Emulator::moto();
    on_server(&server.endpoint(), MOTO_GAPS).await;
}

async fn on_server(endpoint: &str, gaps: &[Gap]) {
    let admin = admin(endpoint);
    let (ours, other) = (make_key(&admin).await, make_key(&admin).await);
    let (ours, other) = (aws(config(endpoint, &ours)).await, aws(config(endpoint, &other)).await);
    let mut results = common(&*ours, &*other).await;
    results.extend(aliases(endpoint, &admin).await);
    results.extend(unknown_key(endpoint).await);
    results.extend(key_states(endpoint, &admin).await);
    judge(results, &[COMMON, AWS].concat(), gaps);
}

fn judge(results: Vec<Found>, expected: &[Gap], gaps: &[Gap]) {
    let tried: Vec<&str> = results.iter().map(|(name, _)| *name).collect();
    let listed: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(tried, listed, "every case is listed and tried");
    let differing: Vec<(&str, &str)> = results
        .iter()
        .zip(expected)
        .filter(|((_, found), (_, expected))| found != expected)
        .map(|((name, found), _)| (*name, found.as_str()))
        .collect();
    assert_eq!(differing, gaps, "the gaps found (left) are the gaps listed (right)");
}

fn file_kms(folder: &Path, name: &str) -> FileKms {
    let path = folder.join(name);
    let mut key = [0; 32];
    strongroom_domain::Random::fill(&SystemChance, &mut key).unwrap();
    std::fs::write(&path, key).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    FileKms::from_key_file(&path, Environment::Test, Arc::new(SystemChance)).unwrap()
}

async fn common(ours: &dyn Kms, other: &dyn Kms) -> Vec<Found> {
    let right = context();
    let mut results = vec![
        ("check", name(ours.check().await)),
        ("round trip", round_trip(ours, &right).await),
        ("two keys of one context", two_keys(ours, &right).await),
        ("the service's own key", round_trip(ours, &service_context()).await),
    ];
    let (_, wrapped) = ours.generate_data_key(&right).await.unwrap();
    for (what, wrong) in wrong_contexts() {
        results.push((what, name(ours.unwrap(&wrong, &wrapped.bytes, &wrapped.kms_key).await)));
    }
    let outcomes = |blobs| unwrap_all(ours, &wrapped.kms_key, blobs);
    results.push(("every byte altered", outcomes(every_byte_altered(&wrapped.bytes)).await));
    results.push(("every length cut", outcomes(every_length_cut(&wrapped.bytes)).await));
    results.push(("longer", outcomes(vec![[wrapped.bytes.as_slice(), &[0]].concat()]).await));
    results.push(("empty", outcomes(vec![Vec::new()]).await));
    results.push(("far too long", outcomes(vec![vec![1; 10_000]]).await));

    let (_, foreign) = other.generate_data_key(&right).await.unwrap();
    let unnamed = ours.unwrap(&right, &foreign.bytes, &wrapped.kms_key).await;
    results.push(("wrapped under another KMS key", name(unnamed)));
    let named = ours.unwrap(&right, &foreign.bytes, &foreign.kms_key).await;
    results.push(("another KMS key, named by the store", name(named)));
    results
}

fn service_context() -> KeyContext {
    KeyContext { scope: KeyScope::Service, purpose: Purpose::AuditSigning, ..context() }
}

fn wrong_contexts() -> Vec<(&'static str, KeyContext)> {
    let other_id = DataKeyId::parse("0190a0b0-c0d0-7e0f-8f00-112233445567").unwrap();
    vec![
        ("another environment", KeyContext { environment: Environment::Live, ..context() }),
        ("another tenant", KeyContext { scope: tenant("acmf"), ..context() }),
        ("the service instead of the tenant", KeyContext { scope: KeyScope::Service, ..context() }),
        ("another purpose", KeyContext { purpose: Purpose::Fingerprint, ..context() }),
        ("another key id", KeyContext { key_id: other_id, ..context() }),
    ]
}

fn every_byte_altered(blob: &[u8]) -> Vec<Vec<u8>> {
    let altered = |at: usize| {
        let mut blob = blob.to_vec();
        blob[at] ^= 1;
        blob
    };
    (0..blob.len()).map(altered).collect()
}

fn every_length_cut(blob: &[u8]) -> Vec<Vec<u8>> {
    (1..blob.len()).map(|length| blob[..length].to_vec()).collect()
}

/// The different outcomes of unwrapping each of these.
async fn unwrap_all(kms: &dyn Kms, kms_key: &str, blobs: Vec<Vec<u8>>) -> String {
    let mut outcomes = BTreeSet::new();
    for blob in blobs {
        outcomes.insert(name(kms.unwrap(&context(), &blob, kms_key).await));
    }
    outcomes.into_iter().collect::<Vec<_>>().join(" or ")
}

async fn round_trip(kms: &dyn Kms, context: &KeyContext) -> String {
    match kms.generate_data_key(context).await {
        Ok((key, wrapped)) => match kms.unwrap(context, &wrapped.bytes, &wrapped.kms_key).await {
            Ok(again) if probe(&again) == probe(&key) => "ok".to_owned(),
            Ok(_) => "another key".to_owned(),
            Err(error) => error.as_str().to_owned(),
        },
        Err(error) => error.as_str().to_owned(),
    }
}

async fn two_keys(kms: &dyn Kms, context: &KeyContext) -> String {
    let (one, wrapped) = kms.generate_data_key(context).await.unwrap();
    let (other, wrapped_other) = kms.generate_data_key(context).await.unwrap();
    let differ = probe(&one) != probe(&other) && wrapped.bytes != wrapped_other.bytes;
    if differ { "differ" } else { "alike" }.to_owned()
}

async fn aliases(endpoint: &str, admin: &aws_sdk_kms::Client) -> Vec<Found> {
    let (first, second) = (make_key(admin).await, make_key(admin).await);
    let alias = "alias/strongroom-conformance";
    admin.create_alias().alias_name(alias).target_key_id(&first).send().await.unwrap();
    let kms = aws(config(endpoint, alias)).await;
    let (_, wrapped) = kms.generate_data_key(&context()).await.unwrap();
    let mut results = vec![
        ("alias: round trip", round_trip(&*kms, &context()).await),
        ("alias: check", name(kms.check().await)),
        ("alias: unwrap by the ARN the store remembers", unwrap(&*kms, &wrapped).await),
    ];
    assert_eq!(wrapped.kms_key, first, "the ARN is remembered, not the alias");

    admin.update_alias().alias_name(alias).target_key_id(&second).send().await.unwrap();
    results.push(("alias moved: unwrap", unwrap(&*kms, &wrapped).await));
    let mut listing = config(endpoint, alias);
    listing.former_keys = vec![first];
    let listing = aws(listing).await;
    results.push(("alias moved: unwrap, the former key listed", unwrap(&*listing, &wrapped).await));
    results
}

async fn unknown_key(endpoint: &str) -> Vec<Found> {
    let kms = aws(config(endpoint, "0190a0b0-c0d0-4e0f-8f00-00000000dead")).await;
    vec![
        ("unknown key: generate", name(kms.generate_data_key(&context()).await)),
        ("unknown key: check", name(kms.check().await)),
    ]
}

async fn key_states(endpoint: &str, admin: &aws_sdk_kms::Client) -> Vec<Found> {
    let key = make_key(admin).await;
    let kms = aws(config(endpoint, &key)).await;
    let (_, wrapped) = kms.generate_data_key(&context()).await.unwrap();
    // By its id: moto's key states know no ARN (they answer 500).
    let id = key.rsplit('/').next().unwrap();
    admin.disable_key().key_id(id).send().await.unwrap();
    let mut results = vec![
        ("disabled: unwrap", unwrap(&*kms, &wrapped).await),
        ("disabled: generate", name(kms.generate_data_key(&context()).await)),
        ("disabled: check", name(kms.check().await)),
    ];
    admin.enable_key().key_id(id).send().await.unwrap();
    results.push(("enabled again: unwrap", unwrap(&*kms, &wrapped).await));
    admin.schedule_key_deletion().key_id(id).pending_window_in_days(7).send().await.unwrap();
    results.push(("pending deletion: unwrap", unwrap(&*kms, &wrapped).await));
    results.push(("pending deletion: generate", name(kms.generate_data_key(&context()).await)));
    results.push(("pending deletion: check", name(kms.check().await)));
    results
}

async fn unwrap(kms: &dyn Kms, wrapped: &Wrapped) -> String {
    name(kms.unwrap(&context(), &wrapped.bytes, &wrapped.kms_key).await)
}

fn name<T>(result: Result<T, KmsError>) -> String {
    result.map_or_else(|error| error.as_str().to_owned(), |_| "ok".to_owned())
}

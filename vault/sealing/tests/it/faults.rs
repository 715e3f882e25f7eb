//! An ill KMS: what we call it, how often we ask again, and how long we wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use strongroom_domain::Environment;
use strongroom_sealing::kms::aws::{AwsCredentials, AwsKms, AwsKmsConfigError};
use strongroom_sealing::{Kms, KmsError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls;

use crate::double::{Double, Fault};
use crate::world::{SystemChance, admin, aws, config, context, limits, make_key, probe};

const THROTTLED: Fault = Fault::Code(400, "ThrottlingException");
const INTERNAL: Fault = Fault::Code(500, "KMSInternalException");

/// A double with one key, and a provider that gives up quickly.
async fn house() -> (Double, Arc<AwsKms>) {
    let double = Double::start().await;
    let key = make_key(&admin(&double.endpoint)).await;
    let mut config = config(&double.endpoint, &key);
    config.limits = limits();
    let kms = aws(config).await;
    (double, kms)
}

async fn kms_at(endpoint: &str) -> Arc<AwsKms> {
    let mut config = config(endpoint, "alias/anything");
    config.limits = limits();
    aws(config).await
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    for (fault, expected, calls) in [
        (THROTTLED, KmsError::Throttled, 3),
        (Fault::Code(400, "LimitExceededException"), KmsError::Throttled, 3),
        (Fault::Html(429), KmsError::Throttled, 3),
        (INTERNAL, KmsError::Unreachable, 3),
        (Fault::Code(500, "DependencyTimeoutException"), KmsError::Unreachable, 3),
        (Fault::Code(500, "KeyUnavailableException"), KmsError::Unreachable, 3),
        (Fault::Html(502), KmsError::Unreachable, 3),
        (Fault::Html(503), KmsError::Unreachable, 3),
        (Fault::Garbage, KmsError::Unexpected, 1),
        (Fault::Code(400, "AccessDeniedException"), KmsError::Denied, 1),
        (Fault::Code(400, "DisabledException"), KmsError::Denied, 1),
        (Fault::Code(400, "KMSInvalidStateException"), KmsError::Denied, 1),
        (Fault::Code(400, "NotFoundException"), KmsError::Denied, 1),
        (Fault::Code(400, "ExpiredTokenException"), KmsError::Credentials, 1),
        (Fault::Code(400, "UnrecognizedClientException"), KmsError::Credentials, 1),
        (Fault::Code(400, "InvalidSignatureException"), KmsError::Credentials, 1),
        (Fault::Code(400, "ValidationException"), KmsError::Unexpected, 1),
    ] {
        let (double, kms) = house().await;
        let (_, wrapped) = kms.generate_data_key(&context()).await.unwrap();
        double.fail_always(Some(fault));
        let unwrapped = kms.unwrap(&context(), &wrapped.bytes, &wrapped.kms_key).await;
        assert_eq!(unwrapped.unwrap_err(), expected, "{fault:?}");
        assert_eq!(double.calls("Decrypt"), calls, "{fault:?}");
        assert_eq!(kms.generate_data_key(&context()).await.unwrap_err(), expected, "{fault:?}");
        assert_eq!(kms.check().await.unwrap_err(), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_burst_is_ridden_out() {
    for burst in [&[THROTTLED][..], &[THROTTLED, INTERNAL], &[Fault::Html(503), THROTTLED]] {
        let (double, kms) = house().await;
        let (key, wrapped) = kms.generate_data_key(&context()).await.unwrap();
        double.fail_next(burst);
        let again = kms.unwrap(&context(), &wrapped.bytes, &wrapped.kms_key).await.unwrap();
        assert_eq!(probe(&again), probe(&key));
        assert_eq!(double.calls("Decrypt"), burst.len() + 1);
    }
}

#[tokio::test]
async fn a_key_of_the_wrong_length_is_no_key() {
    for fault in [Fault::ShortKey, Fault::NoPlaintext] {
        let (double, kms) = house().await;
        let (_, wrapped) = kms.generate_data_key(&context()).await.unwrap();
        double.fail_always(Some(fault));
        let unwrapped = kms.unwrap(&context(), &wrapped.bytes, &wrapped.kms_key).await;
        assert_eq!(unwrapped.unwrap_err(), KmsError::Mismatch, "{fault:?}");
        let generated = kms.generate_data_key(&context()).await;
        assert_eq!(generated.unwrap_err(), KmsError::Unexpected, "{fault:?}");
    }
}

/// Every call ends within the operation timeout; the rest is room for a busy machine.
async fn unreachable_in_time(kms: &AwsKms, what: &str) {
    let start = Instant::now();
    let error = kms.unwrap(&context(), &[1; 100], "").await.unwrap_err();
    assert_eq!(error, KmsError::Unreachable, "{what}");
    let took = start.elapsed();
    assert!(took < limits().operation_timeout + Duration::from_secs(20), "{what} took {took:?}");
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    unreachable_in_time(&*kms_at(&format!("http://{free}")).await, "closed port").await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    unreachable_in_time(&*kms_at("http://kms.invalid").await, "no such name").await;
}

#[tokio::test]
async fn a_black_hole_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    unreachable_in_time(&*kms_at(&format!("http://{address}")).await, "black hole").await;
    server.abort();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"Plain").await;
        }
    });
    unreachable_in_time(&*kms_at(&format!("http://{address}")).await, "broken answer").await;
    server.abort();
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_unreachable() {
    let (double, kms) = house().await;
    double.fail_always(Some(Fault::Slow(Duration::from_secs(20))));
    unreachable_in_time(&kms, "slow").await;
    assert!(double.calls("Decrypt") >= 2, "asked again within the operation timeout");
}

#[tokio::test]
async fn one_slow_answer_does_not_fail_the_call() {
    let (double, kms) = house().await;
    let (_, wrapped) = kms.generate_data_key(&context()).await.unwrap();
    double.fail_next(&[Fault::Slow(Duration::from_secs(20))]);
    assert!(kms.unwrap(&context(), &wrapped.bytes, &wrapped.kms_key).await.is_ok());
}

/// TLS before the double, under a CA made for this test.
async fn tls_front(double: &Double) -> (String, Vec<u8>) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem().into_bytes();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = double.port;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let mut plain = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
            });
        }
    });
    (format!("https://localhost:{port}"), ca_pem)
}

#[tokio::test]
async fn an_endpoint_under_a_private_ca_is_trusted_only_with_it() {
    let double = Double::start().await;
    let key = make_key(&admin(&double.endpoint)).await;
    let (endpoint, ca_pem) = tls_front(&double).await;
    let mut trusting = config(&endpoint, &key);
    trusting.endpoint_ca_pem = Some(ca_pem);
    let kms = aws(trusting).await;
    let (_, wrapped) = kms.generate_data_key(&context()).await.unwrap();
    assert!(kms.unwrap(&context(), &wrapped.bytes, &wrapped.kms_key).await.is_ok());

    let mut doubting = config(&endpoint, &key);
    doubting.limits = limits();
    assert_eq!(aws(doubting).await.check().await, Err(KmsError::Unreachable));
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_what_to_do() {
    let refused = |config, environment| async move {
        AwsKms::from_config(config, environment, Arc::new(SystemChance)).await.unwrap_err()
    };
    let plain = config("http://127.0.0.1:1", "alias/a");
    assert_eq!(refused(plain, Environment::Live).await, AwsKmsConfigError::PlaintextEndpoint);
    assert_eq!(refused(config("kms", "alias/a"), Environment::Test).await, AwsKmsConfigError::Endpoint);
    assert_eq!(refused(config("https://kms", ""), Environment::Test).await, AwsKmsConfigError::Key);
    let mut no_ca = config("https://kms", "alias/a");
    no_ca.endpoint_ca_pem = Some(b"not PEM".to_vec());
    assert_eq!(refused(no_ca, Environment::Test).await, AwsKmsConfigError::EndpointCa);
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let mut config = config("https://kms", "alias/a");
    config.credentials = AwsCredentials::Static {
        access_key_id: "id".to_owned(),
        secret_access_key: SecretString::from("marked-secret"),
    };
    let shown = format!("{config:?}");
    assert!(!shown.contains("marked-secret"), "{shown}");
    let shown = format!("{:?}", aws(config).await);
    assert!(!shown.contains("marked-secret"), "{shown}");
}

//! The cryptographic bill of materials: what the running service uses, holds and has seen.

use serde_json::{Value, json};

use super::{derived_id, of_bundle};
use crate::evidence::facts::Facts;
use crate::evidence::material::CertificateRow;
use crate::evidence::tally::TlsSession;
use crate::store::inventory::KeyFacts;

/// One algorithm: reference, name, primitive, parameter set, functions, classical and NIST quantum security level, what for.
struct Algorithm {
    reference: &'static str,
    name: &'static str,
    primitive: &'static str,
    parameter: &'static str,
    functions: &'static [&'static str],
    classical_bits: u32,
    quantum_level: u32,
    purpose: &'static str,
}

const AES: &str = "algorithm/aes-256-gcm";
const HMAC: &str = "algorithm/hmac-sha-256";

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm {
        reference: AES,
        name: "AES-256-GCM",
        primitive: "ae",
        parameter: "256",
        functions: &["encrypt", "decrypt"],
        classical_bits: 256,
        quantum_level: 5,
        purpose: "seals card records",
    },
    Algorithm {
        reference: "algorithm/hkdf-sha-512",
        name: "HKDF-SHA-512",
        primitive: "kdf",
        parameter: "512",
        functions: &["keyderive"],
        classical_bits: 256,
        quantum_level: 5,
        purpose: "derives one key and one commitment for each record",
    },
    Algorithm {
        reference: HMAC,
        name: "HMAC-SHA-256",
        primitive: "mac",
        parameter: "256",
        functions: &["tag", "verify"],
        classical_bits: 256,
        quantum_level: 5,
        purpose: "fingerprints, digests of idempotent requests, MACs of audit entries",
    },
    Algorithm {
        reference: "algorithm/sha-256",
        name: "SHA-256",
        primitive: "hash",
        parameter: "256",
        functions: &["digest"],
        classical_bits: 128,
        quantum_level: 2,
        purpose: "the tree of the log, references of tokens, content hashes; never of a card number alone",
    },
    Algorithm {
        reference: "algorithm/ed25519",
        name: "Ed25519",
        primitive: "signature",
        parameter: "25519",
        functions: &["sign", "verify"],
        classical_bits: 128,
        quantum_level: 0,
        purpose: "checkpoints of the log, this bundle",
    },
    Algorithm {
        reference: "algorithm/x25519mlkem768",
        name: "X25519MLKEM768",
        primitive: "kem",
        parameter: "768",
        functions: &["encapsulate", "decapsulate"],
        classical_bits: 192,
        quantum_level: 3,
        purpose: "key exchange of TLS 1.3, offered first",
    },
];

pub(super) fn cbom(facts: &Facts) -> Value {
    let mut components: Vec<Value> = ALGORITHMS.iter().map(algorithm).collect();
    components.extend(protocol(facts));
    components.extend(facts.keys.iter().map(key));
    let mut signatures: Vec<&str> = facts
        .measured
        .certificates
        .iter()
        .map(|certificate| certificate.signature_algorithm.as_str())
        .collect();
    signatures.sort_unstable();
    signatures.dedup();
    components.extend(signatures.into_iter().map(signature_algorithm));
    let mut certificates: Vec<Value> = facts.measured.certificates.iter().filter_map(certificate).collect();
    certificates.sort_by_key(|certificate| certificate["bom-ref"].to_string());
    certificates.dedup_by_key(|certificate| certificate["bom-ref"].to_string());
    components.extend(certificates);
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": format!("urn:uuid:{}", of_bundle(facts, "cbom")),
        "version": 1,
        "metadata": {
            "timestamp": facts.about.made_at,
            "component": {
                "type": "application",
                "bom-ref": "strongroom-vault",
                "name": "strongroom-vault",
                "version": facts.about.version,
            },
        },
        "components": components,
    })
}

fn algorithm(algorithm: &Algorithm) -> Value {
    json!({
        "type": "cryptographic-asset",
        "bom-ref": algorithm.reference,
        "name": algorithm.name,
        "description": algorithm.purpose,
        "cryptoProperties": {
            "assetType": "algorithm",
            "algorithmProperties": {
                "primitive": algorithm.primitive,
                "parameterSetIdentifier": algorithm.parameter,
                "executionEnvironment": "software-plain-ram",
                "cryptoFunctions": algorithm.functions,
                "classicalSecurityLevel": algorithm.classical_bits,
                "nistQuantumSecurityLevel": algorithm.quantum_level,
            },
        },
    })
}

/// Sessions as they were seen in the period.
fn protocol(facts: &Facts) -> Vec<Value> {
    let sessions: Vec<&TlsSession> = facts.log.tls.of_period().map(|(session, _)| session).collect();
    let mut versions: Vec<&str> = sessions.iter().map(|session| session.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let one = |version: &str| {
        let mut suites: Vec<&str> = sessions
            .iter()
            .filter(|session| session.version == version)
            .map(|session| session.suite.as_str())
            .collect();
        suites.sort_unstable();
        suites.dedup();
        let suites: Vec<Value> = suites.iter().map(|suite| json!({ "name": suite })).collect();
        json!({
            "type": "cryptographic-asset",
            "bom-ref": format!("protocol/{version}"),
            "name": version,
            "description": "seen at the vault's api in the period",
            "cryptoProperties": {
                "assetType": "protocol",
                "protocolProperties": {
                    "type": "tls",
                    "version": version.trim_start_matches("TLSv"),
                    "cipherSuites": suites,
                },
            },
        })
    };
    versions.into_iter().map(one).collect()
}

fn key(key: &KeyFacts) -> Value {
    let algorithm = if key.purpose == "card" { AES } else { HMAC };
    json!({
        "type": "cryptographic-asset",
        "bom-ref": format!("key/{}", key.id),
        "name": format!("{} key of {}", key.purpose, key.scope),
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": {
                "type": "secret-key",
                "id": key.id,
                "state": key.state,
                "algorithmRef": algorithm,
                "creationDate": key.created_at,
                "expirationDate": key.seals_until,
                "size": 256,
                "securedBy": { "mechanism": format!("wrapped by KMS ({})", key.provider) },
            },
        },
    })
}

fn signature_algorithm(oid: &str) -> Value {
    json!({
        "type": "cryptographic-asset",
        "bom-ref": format!("oid/{oid}"),
        "name": oid,
        "description": "signs certificates or revocation lists of the configuration",
        "cryptoProperties": {
            "assetType": "algorithm",
            "algorithmProperties": { "primitive": "signature" },
            "oid": oid,
        },
    })
}

/// A revocation list is no certificate: none.
fn certificate(row: &CertificateRow) -> Option<Value> {
    (row.key_bits > 0).then(|| {
        json!({
            "type": "cryptographic-asset",
            "bom-ref": format!("certificate/{}", derived_id("certificate", &[&row.sha256, row.role])),
            "name": format!("{}: {}", row.role, row.subject),
            "hashes": [{ "alg": "SHA-256", "content": row.sha256 }],
            "cryptoProperties": {
                "assetType": "certificate",
                "certificateProperties": {
                    "subjectName": row.subject,
                    "issuerName": row.issuer,
                    "notValidBefore": row.not_before,
                    "notValidAfter": row.not_after,
                    "signatureAlgorithmRef": format!("oid/{}", row.signature_algorithm),
                    "certificateFormat": "X.509",
                },
            },
        })
    })
}

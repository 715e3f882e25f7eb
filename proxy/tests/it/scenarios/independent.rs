//! What the proxy signs and encrypts with a random draw, judged by implementations that are not ours.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use strongroom_domain::Environment;
use strongroom_domain::route::{Encryption, Route, Signing, SigningKeyFiles};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_proxy::sign::jwe::Recipient;
use strongroom_proxy::sign::{Message, SignError, Signer, SigningKey};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent");
const BODY: &str = r#"{"card":{"number":"4111111111111111","note":"a  b"},"amount":7}"#;
const TARGET: &str = "/v1/pay?a=1&b=%2F";

fn python() -> PathBuf {
    python_with("independent-venv", Path::new(FOLDER))
}

/// Python with the pinned packages of a folder, in a virtual environment under `target/`; made once, whoever comes first.
pub(super) fn python_with(name: &str, packages: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let python = folder.join("venv/bin/python");
    let requirements = packages.join("requirements.txt");
    let wanted = fs::read(&requirements).unwrap();
    let done = folder.join("installed.txt");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")));
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    run(Command::new(&python).args(options).arg("-r").arg(&requirements));
    fs::write(done, wanted).unwrap();
    python
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("this test needs python3 with venv and pip");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn signing(sign: &str) -> Signing {
    let text = format!(
        "[route.psp]\nupstream = \"https://psp.example\"\n[route.psp.sign]\n{sign}\n\
         [[route.psp.pass]]\nmethod = \"GET\"\npath = \"/p\"\n"
    );
    Route::parse("psp", &text, Environment::Live).unwrap().signing.unwrap()
}

fn private(signing: &Signing, name: &str, folder: &Path) -> Result<SigningKey, String> {
    let files = SigningKeyFiles {
        private_key_file: Some(format!("{name}.pem").into()),
        ..SigningKeyFiles::default()
    };
    SigningKey::read(signing, &files, folder).map_err(|error| error.to_string())
}

fn headers() -> HeaderMap {
    let pairs = [("host", "psp.example"), ("content-type", "application/json"), ("idempotency-key", "i-1")];
    pairs
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

fn signed(signer: &Signer, mut headers: HeaderMap) -> Result<HeaderMap, SignError> {
    let form = signer.prepare(&Method::POST, TARGET, &mut headers, true)?;
    let body = Bytes::from_static(BODY.as_bytes());
    let mut message = Message { method: &Method::POST, target: TARGET, headers: &mut headers, body };
    // Whole seconds now: the judge compares with its own clock.
    let now = strongroom_domain::Clock::now(&strongroom_perimeter::clock::SystemClock);
    signer.sign(&form, &mut message, now)?;
    Ok(headers)
}

fn message(algorithm: &str, key: &str, folder: &Path) -> Value {
    let components =
        ["@method", "@target-uri", "@authority", "@path", "@query", "content-digest", "idempotency-key"];
    let declared = signing(&format!(
        "kind = \"message-signature\"\nalgorithm = \"{algorithm}\"\ncomponents = {components:?}\ntag = \"pay\""
    ));
    let key_pair = private(&declared, key, folder).unwrap();
    let signer = Signer::new(declared, Some("key-one".into()), key_pair);
    let mut came = headers();
    // The caller's own leaves nothing behind.
    came.insert("signature", HeaderValue::from_static("sig9=:AAAA:"));
    came.insert("signature-input", HeaderValue::from_static("sig9=();created=1"));
    let headers = signed(&signer, came).unwrap();
    let headers: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
    let url = format!("https://psp.example{TARGET}");
    json!({ "kind": "message", "name": algorithm, "algorithm": algorithm, "key": key, "method": "POST", "url": url,
            "headers": headers, "components": components, "body": BODY })
}

fn token(folder: &Path) -> Value {
    let declared = signing("kind = \"cybersource\"");
    let key = private(&declared, "rsa", folder).unwrap();
    let signer = Signer::new(declared, Some("key-one".into()), key);
    let claims = json!({ "digest-algorithm": "SHA-256", "iat": 1, "request-host": "psp.example",
                         "request-method": "post", "request-resource-path": TARGET, "v-c-merchant-id": "m" });
    let mut whole = claims.clone();
    whole["digest"] = "of the caller's body".into();
    let encode = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
    let head = encode(r#"{"kid":"strongroom","alg":"RS256","typ":"JWT"}"#);
    let came = format!("Bearer {head}.{}.c2lnbmF0dXJl", encode(&whole.to_string()));
    let mut headers = headers();
    headers.insert("authorization", HeaderValue::try_from(came).unwrap());
    let headers = signed(&signer, headers).unwrap();
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    json!({ "kind": "jwt", "name": "jwt", "token": token, "body": BODY, "claims": claims })
}

fn encrypted(folder: &Path) -> Vec<Value> {
    let pem = fs::read(folder.join("rsa.pub.pem")).unwrap();
    let recipient = Recipient::from_pem(&pem, Some("psp-key")).unwrap();
    let body = Bytes::from_static(BODY.as_bytes());
    let with = |fields: &[&str], wrap: Option<&str>| Encryption {
        fields: fields.iter().map(|at| (*at).to_owned()).collect(),
        wrap: wrap.map(str::to_owned),
        content_type: None,
    };
    let case = |name: &str, token: &str, plaintext: &str| json!({ "kind": "jwe", "name": name, "token": token, "plaintext": plaintext });
    let seal = |declared: &Encryption, headers: &mut HeaderMap| {
        let sealed = recipient.encrypt(declared, &body, headers, &SystemRandom::new()).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("4111"));
        String::from_utf8(sealed.to_vec()).unwrap()
    };
    let (mut whole, mut wrapped, mut fields) = (headers(), headers(), headers());
    let jwe = seal(&with(&[], None), &mut whole);
    assert_ne!(jwe, seal(&with(&[], None), &mut whole), "each has its own key and nonce");
    assert_eq!(
        (&whole["content-type"], &fields["content-type"]),
        (&"application/jose".parse().unwrap(), &"application/json".parse().unwrap())
    );
    let member: Value =
        serde_json::from_str(&seal(&with(&[], Some("encryptedRequest")), &mut wrapped)).unwrap();
    let card = seal(&with(&["/card"], None), &mut fields);
    assert!(card.ends_with(r#"","amount":7}"#), "the rest is as it came: {card}");
    let card: Value = serde_json::from_str(&card).unwrap();
    let number: Value = serde_json::from_str(&seal(&with(&["/card/number"], None), &mut fields)).unwrap();
    vec![
        case("jwe body", &jwe, BODY),
        case("jwe wrapped", member["encryptedRequest"].as_str().unwrap(), BODY),
        case("jwe field", card["card"].as_str().unwrap(), r#"{"number":"4111111111111111","note":"a  b"}"#),
        case("jwe string", number["card"]["number"].as_str().unwrap(), r#""4111111111111111""#),
    ]
}

#[test]
fn others_verify_what_is_signed_and_open_what_is_encrypted() {
    let (python, folder) = (python(), tempfile::tempdir().unwrap());
    let at = folder.path();
    let script = format!("{FOLDER}/verify.py");
    run(Command::new(&python).arg(&script).arg("keys").arg(at));
    let mut cases = vec![token(at)];
    for (algorithm, key) in [
        ("rsa-pss-sha512", "rsa"),
        ("rsa-v1_5-sha256", "rsa"),
        ("ecdsa-p256-sha256", "p256"),
        ("ecdsa-p384-sha384", "p384"),
        ("ed25519", "ed25519"),
    ] {
        cases.push(message(algorithm, key, at));
        let declared = signing(&format!(
            "kind = \"message-signature\"\nalgorithm = \"{algorithm}\"\ncomponents = [\"content-digest\"]"
        ));
        let others = ["rsa", "p256", "p384", "ed25519"].into_iter().filter(|other| *other != key);
        for other in others.chain(["short"]) {
            assert!(private(&declared, other, at).is_err(), "{algorithm} with {other}");
        }
    }
    cases.extend(encrypted(at));
    fs::write(at.join("messages.json"), serde_json::to_vec(&cases).unwrap()).unwrap();
    let held = run(Command::new(&python).arg(&script).arg("check").arg(at));
    let names: Vec<_> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(held.lines().collect::<Vec<_>>(), names);
}

#[test]
fn what_should_be_encrypted_and_is_not_there_is_refused() {
    let declared = Encryption { fields: ["/card".to_owned()].into(), wrap: None, content_type: None };
    for body in [r#"{"amount":7}"#, "[]", "", r#"{"Card":{}}"#, "{"] {
        let refused = strongroom_proxy::sign::jwe::spans(&declared, body.as_bytes());
        assert_eq!(refused.unwrap_err(), SignError::NothingToEncrypt, "{body}");
    }
}

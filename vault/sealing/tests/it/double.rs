//! A strict KMS double: the operations we use, in the real wire shape, with the errors the documentation promises.
//! It counts calls and can be told to be ill.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use strongroom_domain::Random;

use crate::world::{REGION, SystemChance};

const ACCOUNT: &str = "111122223333";
/// The operations the service itself calls: only these are counted and fall ill.
const SERVICE_CALLS: [&str; 3] = ["GenerateDataKey", "Decrypt", "DescribeKey"];

/// A way to be ill.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// An error of the protocol.
    Code(u16, &'static str),
    /// What a load balancer says when nobody is behind it.
    Html(u16),
    /// The right answer, too late.
    Slow(Duration),
    /// 200 and something that is no JSON.
    Garbage,
    /// A plaintext of 16 bytes.
    ShortKey,
    /// No plaintext.
    NoPlaintext,
}

pub(crate) struct Double {
    pub(crate) endpoint: String,
    pub(crate) port: u16,
    house: Arc<Mutex<House>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct House {
    keys: Vec<KmsKey>,
    aliases: HashMap<String, usize>,
    calls: HashMap<String, usize>,
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

struct KmsKey {
    arn: String,
    secret: [u8; 32],
    state: &'static str,
}

impl Double {
    pub(crate) async fn start() -> Self {
        let house = Arc::new(Mutex::new(House::default()));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&house));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint: format!("http://127.0.0.1:{port}"), port, house, server }
    }

    /// How often the service called this operation.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.house.lock().unwrap().calls.get(operation).copied().unwrap_or_default()
    }

    /// The next calls fail so, one each; later ones do not.
    pub(crate) fn fail_next(&self, faults: &[Fault]) {
        self.house.lock().unwrap().next.extend(faults);
    }

    /// Every call fails so, until told otherwise.
    pub(crate) fn fail_always(&self, fault: Option<Fault>) {
        self.house.lock().unwrap().always = fault;
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `Err` is an error of the protocol: its code.
type Answer = Result<Value, &'static str>;

async fn answer(State(house): State<Arc<Mutex<House>>>, headers: HeaderMap, body: String) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = header("x-amz-target").strip_prefix("TrentService.").unwrap_or_default().to_owned();
    let authorization = header("authorization");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 "), "unsigned: {operation}");
    assert!(authorization.contains(&format!("/{REGION}/kms/aws4_request")), "signed for another service");
    assert!(authorization.contains("x-amz-target"), "the operation is not signed");
    assert_eq!(header("content-type"), "application/x-amz-json-1.1");
    let input: Value = serde_json::from_str(&body).unwrap();

    let fault = SERVICE_CALLS.contains(&operation.as_str()).then(|| {
        let mut house = house.lock().unwrap();
        *house.calls.entry(operation.clone()).or_default() += 1;
        house.next.pop_front().or(house.always)
    });
    match fault.flatten() {
        Some(Fault::Code(status, code)) => return error(status, code),
        Some(Fault::Html(status)) => {
            return (StatusCode::from_u16(status).unwrap(), "<html>Bad Gateway</html>").into_response();
        }
        Some(Fault::Garbage) => return "{\"Plaintext\": ".into_response(),
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        Some(Fault::ShortKey | Fault::NoPlaintext) | None => {}
    }
    match house.lock().unwrap().run(&operation, &input) {
        Ok(mut output) => {
            match fault.flatten() {
                Some(Fault::ShortKey) => output["Plaintext"] = json!(BASE64_STANDARD.encode([7; 16])),
                Some(Fault::NoPlaintext) => output["Plaintext"] = Value::Null,
                _ => {}
            }
            ([("content-type", "application/x-amz-json-1.1")], output.to_string()).into_response()
        }
        Err(code) => error(400, code),
    }
}

fn error(status: u16, code: &str) -> Response {
    let body = json!({ "__type": code, "message": "told by the double" }).to_string();
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/x-amz-json-1.1")], body)
        .into_response()
}

impl House {
    fn run(&mut self, operation: &str, input: &Value) -> Answer {
        match operation {
            "CreateKey" => Ok(json!({ "KeyMetadata": self.create_key() })),
            "CreateAlias" | "UpdateAlias" => self.point_alias(input),
            "EnableKey" => self.set_state(input, "Enabled"),
            "DisableKey" => self.set_state(input, "Disabled"),
            "ScheduleKeyDeletion" => self.set_state(input, "PendingDeletion"),
            "DescribeKey" => {
                self.find(&input["KeyId"]).map(|key| json!({ "KeyMetadata": self.keys[key].describe() }))
            }
            "GenerateDataKey" => self.generate(input),
            "Decrypt" => self.decrypt(input),
            _ => Err("UnknownOperationException"),
        }
    }

    fn create_key(&mut self) -> Value {
        let arn =
            format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-{:012}", self.keys.len());
        self.keys.push(KmsKey { arn, secret: random(), state: "Enabled" });
        self.keys[self.keys.len() - 1].describe()
    }

    fn point_alias(&mut self, input: &Value) -> Answer {
        let key = self.find(&input["TargetKeyId"])?;
        self.aliases.insert(input["AliasName"].as_str().unwrap().to_owned(), key);
        Ok(json!({}))
    }

    fn set_state(&mut self, input: &Value, state: &'static str) -> Answer {
        let key = self.find(&input["KeyId"])?;
        self.keys[key].state = state;
        Ok(json!({ "KeyId": self.keys[key].arn }))
    }

    /// By ARN, by id at its end, or by alias.
    fn find(&self, name: &Value) -> Result<usize, &'static str> {
        let name = name.as_str().ok_or("ValidationException")?;
        let by_name =
            self.keys.iter().position(|key| key.arn == name || key.arn.ends_with(&format!("/{name}")));
        by_name.or_else(|| self.aliases.get(name).copied()).ok_or("NotFoundException")
    }

    fn usable(&self, key: usize) -> Result<&KmsKey, &'static str> {
        match self.keys[key].state {
            "Enabled" => Ok(&self.keys[key]),
            "Disabled" => Err("DisabledException"),
            _ => Err("KMSInvalidStateException"),
        }
    }

    fn generate(&self, input: &Value) -> Answer {
        assert_eq!(input["KeySpec"], "AES_256");
        let number = self.find(&input["KeyId"])?;
        let key = self.usable(number)?;
        let (plaintext, nonce) = (random::<32>(), random::<12>());
        let payload = Payload { msg: &plaintext, aad: &encryption_context(input) };
        let sealed = Aes256Gcm::new(&key.secret.into()).encrypt(&nonce.into(), payload).unwrap();
        let blob = [&[0xd0, u8::try_from(number).unwrap()], nonce.as_slice(), &sealed].concat();
        Ok(json!({
            "KeyId": key.arn,
            "CiphertextBlob": BASE64_STANDARD.encode(blob),
            "Plaintext": BASE64_STANDARD.encode(plaintext),
        }))
    }

    fn decrypt(&self, input: &Value) -> Answer {
        let named = self.find(&input["KeyId"])?;
        let blob = BASE64_STANDARD.decode(input["CiphertextBlob"].as_str().unwrap()).unwrap();
        let (header, rest) = blob.split_first_chunk::<2>().ok_or("InvalidCiphertextException")?;
        let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or("InvalidCiphertextException")?;
        let number = usize::from(header[1]);
        if header[0] != 0xd0 || number >= self.keys.len() {
            return Err("InvalidCiphertextException");
        }
        if number != named {
            return Err("IncorrectKeyException");
        }
        let key = self.usable(number)?;
        let payload = Payload { msg: sealed, aad: &encryption_context(input) };
        let plaintext = Aes256Gcm::new(&key.secret.into()).decrypt(nonce.into(), payload);
        let plaintext = plaintext.map_err(|_| "InvalidCiphertextException")?;
        Ok(json!({ "KeyId": key.arn, "Plaintext": BASE64_STANDARD.encode(plaintext) }))
    }
}

impl KmsKey {
    fn describe(&self) -> Value {
        let id = self.arn.rsplit('/').next().unwrap();
        json!({ "KeyId": id, "Arn": self.arn, "KeyState": self.state, "KeyUsage": "ENCRYPT_DECRYPT" })
    }
}

/// Our five names, no more and no less, in one order.
fn encryption_context(input: &Value) -> Vec<u8> {
    let pairs: BTreeMap<String, String> =
        serde_json::from_value(input["EncryptionContext"].clone()).expect("every call has a context");
    let names: Vec<&str> = pairs.keys().map(String::as_str).collect();
    assert_eq!(names, ["app", "environment", "key_id", "purpose", "tenant"]);
    serde_json::to_vec(&pairs).unwrap()
}

fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    SystemChance.fill(&mut out).unwrap();
    out
}

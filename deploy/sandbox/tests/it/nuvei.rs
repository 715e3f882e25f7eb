//! Nuvei's official client for Node, whose address is fixed: HTTPS_PROXY is all that can change, so that it pays through a relay's
//! `CONNECT`, to a PSP under Nuvei's own name. The PSP verifies the checksum in each body, so what it takes was made anew with the
//! account's key.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use strongroom_proxy::upstream::{Resolve, SystemResolver};
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::pki::{MintOptions, Pki, SignedBy};
use strongroom_sandbox::psp::{Psp, PspConfig, cards};

use crate::adyen::{assert_same, by_node, numbers, tokens};
use crate::stripe::unknown_token;
use crate::support::{HandClock, SystemRandom};
use crate::tunnel::Beside;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/nuvei.js");
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");
const HOST: &str = "ppp-test.nuvei.com";
/// The account's, which no caller has.
const SECRET: &str = "own-secret-of-the-merchant";
const ACCOUNT: &str = "tenants = [\"*\"]\n[identity]\nmerchant = \"1001\"\nsite = \"2002\"\n\
                       [signing]\nsecret_file = \"nuvei.secret.key\"\n";

/// Stands in for an entry in the DNS, and for port 443 there.
struct Entry(Mutex<Option<SocketAddr>>);

#[async_trait]
impl Resolve for Entry {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if host != HOST {
            return SystemResolver.resolve(host, port).await;
        }
        assert_eq!(port, 443);
        Ok(self.0.lock().unwrap().into_iter().collect())
    }
}

/// A PSP under Nuvei's name, in a certificate of the sandbox's.
async fn psp(pki: &Pki, folder: &Path, secret: &str) -> Psp {
    let options = MintOptions::server(&[HOST]).without_addresses().signed_by(SignedBy::Psp);
    let identity = pki.mint("nuvei", &options).unwrap();
    let config = PspConfig { api_key: Some(secret.to_owned()), ..PspConfig::new(identity, folder) };
    Psp::start(config, HandClock::now(), Arc::new(SystemRandom)).await.unwrap()
}

/// The shipped route as it is, but for what it trusts and where its name may lead.
fn route() -> String {
    let text = fs::read_to_string(Path::new(POLICIES).join("routes/nuvei.toml")).unwrap();
    let upstream = format!("upstream = \"https://{HOST}\"\n");
    assert!(text.contains(&upstream), "the route leads to Nuvei's test host");
    let here = "roots_file = {roots_file}\nprivate_addresses = [\"127.0.0.1\"]\n";
    text.replace(&upstream, &format!("{upstream}{here}"))
}

fn printed() -> Value {
    let paid = |status: &str, reason: &str, card: &str| json!(["SUCCESS", status, "order-7", reason, card]);
    json!({
        "paid": paid("APPROVED", "", "4****4242"),
        "refund": ["SUCCESS", "APPROVED", "order-7", "", null],
        "declined": paid("DECLINED", "Insufficient Funds", "4****9995"),
        "invalid": { "status": "ERROR", "code": 1019, "reason": "Invalid amount" },
        "refused": [],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nuvei_s_client_prints_through_a_relay_what_it_prints_against_the_psp() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), HandClock::now()).unwrap();
    let direct_psp = psp(&pki, &folder.path().join("psp"), "a secret of the caller's").await;
    let given = json!({ "port": direct_psp.address().port(), "secret": "a secret of the caller's" });
    let direct = by_node(SCRIPT, given, &numbers(), &[], &pki.psp_ca_file()).await;
    assert_eq!(direct, printed());

    let data = tempfile::tempdir().unwrap();
    let secrets = data.path().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::write(secrets.join("nuvei.secret.key"), SECRET).unwrap();
    fs::set_permissions(secrets.join("nuvei.secret.key"), PermissionsExt::from_mode(0o600)).unwrap();
    let entry = Arc::new(Entry(Mutex::new(None)));
    let mut options = HouseOptions { resolver: entry.clone(), ..HouseOptions::new(data.path()) };
    options.policies.push(("routes/nuvei.toml".into(), route()));
    options.policies.push(("accounts/nuvei/default.toml".into(), ACCOUNT.into()));
    let house = House::start(options).await.unwrap();
    let named = psp(house.pki(), &data.path().join("nuvei"), SECRET).await;
    *entry.0.lock().unwrap() = Some(named.address());
    let relay = Beside::to(&house, &format!("{HOST}:443"), "nuvei");
    let given = json!({ "proxy": format!("http://{}", relay.address), "secret": "strongroom" });
    let refused = [unknown_token(), cards::APPROVED.to_owned()];
    let told = by_node(SCRIPT, given, &tokens(&house).await, &refused, &house.connect_ca_file()).await;
    let expected =
        json!([{ "status": 404, "code": "token-not-found" }, { "status": 400, "code": "pan-in-request" }]);
    assert_same(&told, &direct, expected, "connect");

    let arrived = fs::read_to_string(named.log_file()).unwrap();
    // One that is paid, and one whose amount is none.
    assert_eq!(arrived.matches(cards::APPROVED).count(), 2, "{arrived}");
    assert!(!arrived.contains("tok_test_"), "{arrived}");
    assert!(arrived.contains("/ppp//api/v1/payment.do"), "two slashes, as they came: {arrived}");
    drop(relay);
    house.stop().await;
}

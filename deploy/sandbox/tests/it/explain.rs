//! Explaining requests in a whole house: the vault tells facts to whoever may read cards, and to nobody through the proxy.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use strongroom_domain::{Brand, CardName, ProblemKind, TenantId};
use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
use strongroom_proxy::explain::cli;
use strongroom_proxy::inject::Known;
use strongroom_proxy::upstream::{Resolve, SystemResolver};
use strongroom_proxy::vault::{OpenError, VaultClient};
use strongroom_sandbox::house::{House, HouseOptions, TENANT};

use crate::house::tokenize;

const VISA: &str = "4242424242424242";
/// A token no vault gave out.
const NOBODYS: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    explain: cli::Arguments,
}

fn vault(house: &House, workload: &str) -> VaultClient {
    let identity = house.pki().client(workload).unwrap();
    let config = ClientTlsConfig {
        certificate_file: identity.certificate_pem_path,
        key_file: identity.key_pem_path,
        ca_file: house.pki().ca_file(),
        crl_files: Vec::new(),
    };
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
    let url = format!("https://localhost:{}", house.vault().port());
    let tls = client_config(&config).unwrap();
    VaultClient::new(&[url], tls, &resolver, Duration::from_secs(30)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_for_whoever_may_read_cards_and_never_for_the_proxy() {
    let data = tempfile::tempdir().unwrap();
    let house = House::start(HouseOptions::new(data.path())).await.unwrap();
    let token = tokenize(&house, VISA).await;
    let names = [CardName::parse(&token).unwrap(), CardName::parse(NOBODYS).unwrap()];
    let tenant = TenantId::parse(TENANT).unwrap();
    let known = Known { brand: Some(Brand::Visa), length: Some(16) };
    let told = vault(&house, "orchestrator").look_up(&tenant, &names).await.unwrap();
    assert_eq!(told, [Some(known), None]);
    for workload in ["proxy", "checkout"] {
        let refused = vault(&house, workload).look_up(&tenant, &names).await.unwrap_err();
        let forbidden = matches!(refused, OpenError::Refused { kind: Some(ProblemKind::Forbidden), .. });
        assert!(forbidden, "{workload}: {refused:?}");
    }

    let body = json!({ "amount": 1099, "card": { "number": token, "expiry_month": 1, "expiry_year": 2000 } });
    let message =
        format!("POST /sandbox/json/payments\nHost: proxy\nContent-Type: application/json\n\n{body}\n");
    let file = data.path().join("request.http");
    std::fs::write(&file, &message).unwrap();
    let own = by_command(&house, &file, true).await;
    assert_eq!(own["cards"][0]["brand"], "visa", "{own}");
    assert_eq!(own["fields"][0]["word"], "NUMBER_visa_16", "{own}");
    let without = by_command(&house, &file, false).await;
    assert_eq!(
        (&without["cards"][0]["facts"], &without["fields"][0]["word"]),
        (&json!("unknown"), &json!("NUMBER"))
    );

    // The running proxy says the same as the command that asks no vault, and nothing more.
    let client = house.proxy_client("orchestrator").unwrap();
    let headers = [("Content-Type", "message/http")];
    let answer = client.send("POST", "/-/explain", &headers, message.as_bytes()).await.unwrap();
    assert_eq!((answer.status(), answer.json()), (200, without));
    let calls = std::fs::read_to_string(house.psp().log_file()).unwrap_or_default();
    assert!(!calls.contains("/json/payments"), "{calls}");
    house.stop().await;
}

async fn by_command(house: &House, file: &Path, with_facts: bool) -> serde_json::Value {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut line = vec!["explain".to_owned(), text(file), "--environment".into(), "test".into()];
    line.extend(["--policies".to_owned(), text(&house.folder().policies())]);
    if with_facts {
        let identity = house.pki().client("orchestrator").unwrap();
        line.extend(["--vault".to_owned(), format!("https://localhost:{}", house.vault().port())]);
        line.extend(["--tenant".to_owned(), TENANT.to_owned()]);
        line.extend(["--certificate".to_owned(), text(&identity.certificate_pem_path)]);
        line.extend(["--key".to_owned(), text(&identity.key_pem_path)]);
        line.extend(["--ca".to_owned(), text(&house.pki().ca_file())]);
    }
    let command = Command::try_parse_from(line).unwrap();
    serde_json::to_value(cli::explained(&command.explain).await.unwrap()).unwrap()
}

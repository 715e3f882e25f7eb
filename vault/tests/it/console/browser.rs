//! Every page in a real Chromium that presents a client certificate over TLS 1.3: nothing on its console, nothing its policy
//! stopped, nothing axe-core finds; with script and without. It takes the pictures of `vault/docs/console.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{forwarded, told};
use crate::find::indexed;
use crate::service::{Service, VISA};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/console");

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "this test needs chromium, node, npm, openssl and libnss3-tools: {:?}: {error}",
            command.get_program()
        )
    });
    let told = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{}\n{}", output.status, told[0], told[1]);
    told.into_iter().next().unwrap()
}

/// The locked axe-core, installed once under `target/`.
fn axe() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-node");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = folder.join("installed");
    let wanted = fs::read(format!("{FOLDER}/package-lock.json")).unwrap();
    if fs::read(&done).ok().as_ref() != Some(&wanted) {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(format!("{FOLDER}/{file}"), folder.join(file)).map(|_| ()).unwrap();
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder));
        fs::write(done, wanted).unwrap();
    }
    folder.join("node_modules/axe-core/axe.min.js")
}

/// A home whose browser has this identity's certificate, trusts the house's authority, and asks nobody which to present.
fn home(vault: &Service, who: &str, origin: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join(".pki/nssdb");
    fs::create_dir_all(&database).unwrap();
    let store = format!("sql:{}", database.display());
    let identity = vault.pki.client(who).unwrap();
    let bundle = home.path().join("identity.p12");
    run(Command::new("openssl")
        .args(["pkcs12", "-export", "-passout", "pass:generated", "-name", who])
        .arg("-in")
        .arg(&identity.certificate_pem_path)
        .arg("-inkey")
        .arg(&identity.key_pem_path)
        .arg("-out")
        .arg(&bundle));
    run(Command::new("certutil").args(["-N", "--empty-password", "-d", &store]));
    run(Command::new("pk12util").args(["-d", &store, "-W", "generated", "-i"]).arg(&bundle));
    run(Command::new("certutil")
        .args(["-A", "-d", &store, "-n", "house", "-t", "C,,", "-i"])
        .arg(vault.pki.ca_file()));
    let profile = home.path().join("profile/Default");
    fs::create_dir_all(&profile).unwrap();
    let any = json!({ "pattern": origin, "filter": {} }).to_string();
    let preferences = json!({ "profile": { "managed_auto_select_certificate_for_urls": [any] } });
    fs::write(profile.join("Preferences"), preferences.to_string()).unwrap();
    home
}

/// Traffic of two merchants, refusals, a finding, a forward that was declined and one that is unknown.
async fn busy() -> (Service, String, String) {
    let vault =
        Service::start_watched(tempfile::tempdir().unwrap(), "denied_least = 5\ndenied_percent = 1").await;
    for tenant in ["acme", "globex"] {
        vault.onboard(tenant).await;
    }
    let mut tokens = Vec::new();
    for number in [VISA, "5555555555554444", "4000056655665556", "378282246310005"] {
        for tenant in ["acme", "globex"] {
            tokens.push(
                vault.tokenize(tenant, &json!({ "number": number, "exp_month": 3, "exp_year": 2031 })).await,
            );
        }
    }
    let answered = json!({
        "outcome": "answered", "status": 200, "upstream_ms": 184, "scrubbed": 1, "pan_suspected": 0, "psp_request_id": "req_7Hq2LmXw81",
        "timings": {
            "receive_us": 310, "plan_us": 420, "connect_us": 11_900, "open_us": 5_400, "inject_us": 90, "sign_us": 140, "upstream_us": 184_200,
            "scrub_us": 260,
        },
    });
    let mut forwards = Vec::new();
    for token in tokens.iter().chain(&tokens) {
        forwards.push(forwarded(&vault, token).await);
        told(&vault, forwards.last().unwrap(), &answered).await;
    }
    let lost = forwarded(&vault, &tokens[0]).await;
    told(&vault, &lost, &json!({ "outcome": "unknown" })).await;
    for who in ["checkout", "checkout", "checkout", "checkout", "checkout", "checkout", "intruder"] {
        assert_eq!(vault.send(who, "GET", "/v1/tenants/acme/cards", None).await.status(), 403);
    }
    vault.awaited("anomaly.found", "denied-ratio").await;
    indexed(&vault).await;
    (vault, tokens.swap_remove(0), forwards.swap_remove(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_with_a_client_certificate_shows_every_page_and_has_nothing_to_say() {
    let (vault, token, forward) = busy().await;
    let origin = format!("https://localhost:{}", vault.address.port());
    let entry = vault.newest("pan.tokenize").await;
    let receipt = format!("{}.{}", entry["boot_id"].as_str().unwrap(), entry["instance_seq"]);
    let home = home(&vault, "security", &origin);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-pages");
    fs::create_dir_all(&pictures).unwrap();
    let page = |name: &str, path: &str| json!({ "name": name, "path": path });
    let plan = json!({
        "origin": origin, "home": home.path(), "profile": home.path().join("profile"), "downloads": home.path().join("downloads"),
        "pictures": pictures, "axe": axe(), "token": token, "dark": ["overview", "forward"],
        "pages": [
            page("overview", "/console"),
            page("search", "/console/search?tenant=acme"),
            json!({ "name": "forward", "path": format!("/console/tenants/acme/forwards/{forward}"), "height": 1300 }),
            page("blast-radius", "/console/blast-radius?workload=spiffe%3A%2F%2Fstrongroom.test%2Forchestrator"),
            page("access", "/console/access"),
            page("evidence", "/console/evidence"),
            page("receipt", &format!("/console/receipts/{receipt}")),
        ],
    });
    let file = home.path().join("plan.json");
    fs::write(&file, plan.to_string()).unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        run(Command::new("node").arg(format!("{FOLDER}/browser.mjs")).arg(file))
    });
    let seen: Value = serde_json::from_str(seen.await.unwrap().trim()).unwrap();
    assert_eq!(seen["error"], Value::Null, "{seen:#}");
    for (name, page) in seen["pages"].as_object().unwrap() {
        assert_eq!((&page["status"], &page["tls"]), (&json!(200), &json!("TLS 1.3")), "{name}");
        assert_eq!(page["said"], json!([]), "{name}");
        for scheme in ["light", "dark"] {
            assert_eq!(page[scheme]["violations"], json!([]), "{name} {scheme}");
            assert!(page[scheme]["passes"].as_u64().unwrap() > 10, "{name}: axe-core looked");
        }
        assert_eq!(page["sideways"], 0, "{name}: at 320 pixels nothing but tables scrolls sideways");
        assert!(fs::metadata(pictures.join(format!("{name}.png"))).unwrap().len() > 10_000, "{name}");
    }
    assert_eq!(seen["pages"].as_object().unwrap().len(), 7);
    let refused = seen["refused"].to_string();
    for word in ["style", "TrustedHTML", "connect"] {
        assert!(refused.contains(word), "the browser tells what is stopped: {refused}");
    }
    assert_eq!(
        (&seen["live"]["before"], &seen["live"]["paused"]),
        (&json!("Pause refreshing"), &json!("Go on refreshing"))
    );
    assert_eq!(seen["live"]["said"], json!([]));
    let asked = &seen["token"];
    assert_eq!(
        (&asked["shown"], &asked["holds"], &asked["said"]),
        (&json!(true), &json!(false), &json!([])),
        "{asked}"
    );
    assert!(!asked["addresses"].to_string().contains(&token), "the token is in no history: {asked}");
    let bundle = &seen["bundle"];
    assert_eq!((&bundle["state"], &bundle["said"]), (&json!("completed"), &json!([])), "{bundle}");
    assert!(
        bundle["name"].as_str().unwrap().starts_with("evidence-")
            && bundle["bytes"].as_u64().unwrap() > 10_000
    );
    assert!(
        seen["plain"].as_str().unwrap().contains("<a href=\"/console\">Refresh</a>"),
        "{}",
        seen["plain"]
    );
    let looked = vault.newest("evidence.make").await;
    assert_eq!(looked["actor"]["id"], "spiffe://strongroom.test/security", "the certificate says who looked");
}

//! The forms for machines and browsers: valid by published schemas; pages that load and run nothing, in a real browser.

use std::process::Command;

use serde_json::json;
use strongroom_domain::Clock;
use strongroom_perimeter::clock::SystemClock;

use super::ground::{DAY, bundle, json as read_json, python};
use crate::reviews::review;
use crate::service::{Service, VISA};

async fn made() -> (Service, tempfile::TempDir) {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA, "cvc": "123" })).await;
    assert_eq!(vault.forward(&token, &["number", "cvc"]).await.status(), 201);
    for kind in ["access", "log"] {
        review(&vault, "reviewer", kind, "follow-up", "one grant is to be asked for").await;
    }
    let folder = bundle(&vault, SystemClock.now().minus(DAY), SystemClock.now(), 2).await;
    (vault, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_of_materials_and_oscal_are_valid_by_their_published_schemas() {
    let (_vault, folder) = made().await;
    let said = python("schemas.py", &[folder.path()]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(text.lines().filter(|line| line.ends_with(" is valid")).count(), 4, "{text}");
    let sbom = read_json(folder.path(), "machine/sbom.cdx.json");
    let names: Vec<_> =
        sbom["components"].as_array().unwrap().iter().map(|one| one["name"].as_str()).collect();
    for crate_name in ["rustls", "cedar-policy", "aes-gcm", "maud"] {
        assert!(names.contains(&Some(crate_name)), "{crate_name}");
    }
    let cbom = read_json(folder.path(), "machine/cbom.cdx.json");
    let facts = read_json(folder.path(), "evidence.json");
    let of = |kind: &str| {
        let components = cbom["components"].as_array().unwrap();
        components.iter().filter(|one| one["cryptoProperties"]["assetType"] == kind).count()
    };
    assert_eq!(of("related-crypto-material"), facts["keys"].as_array().unwrap().len());
    assert_eq!(of("protocol"), 1);
    assert!(of("certificate") >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_shows_every_page_without_a_word_on_its_console() {
    let (_vault, folder) = made().await;
    let pages: Vec<_> = super::ground::files(folder.path())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "html"))
        .collect();
    assert_eq!(pages.len(), 9);
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("evidence-pages");
    std::fs::create_dir_all(&pictures).unwrap();
    let open = |page: &std::path::Path| {
        let picture = pictures.join(page.file_stem().unwrap()).with_extension("png");
        let profile = tempfile::tempdir().unwrap();
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args([format!("--screenshot={}", picture.display()), "--window-size=1300,1800".to_owned()])
            .arg(format!("file://{}", page.display()))
            .output()
            .expect("this test needs Debian's chromium");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    for page in &pages {
        let [shown, said] = open(page);
        assert!(shown.contains("This software supports"), "{}: {shown}", page.display());
        assert!(!said.contains("CONSOLE"), "{}: {said}", page.display());
    }
    // The page's own policy stops what somebody put into it: the console does speak where there is something to say.
    let planted = folder.path().join("planted.html");
    let text = std::fs::read_to_string(&pages[0]).unwrap();
    std::fs::write(&planted, text.replace("</body>", "<script>document.title='run'</script></body>"))
        .unwrap();
    let [shown, said] = open(&planted);
    assert!(!shown.contains("<title>run</title>"), "{shown}");
    assert!(said.contains("CONSOLE"), "{said}");
}

//! The authorization matrix: role × action × resource under the shipped policies, as a golden file, so that a change of
//! policy is a diff people can read. And: every guardrail bites, whatever the families permit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use strongroom_domain::Environment;
use strongroom_vault::authz::{ActionKind, Answer, Ask, Authorizer, PolicySource, PolicyTests};

const GOLDEN: &str = include_str!("../golden/authz-matrix.txt");

/// Who asks: a workload of each role, and of each pair the separation of duties is about.
const WHO: [&str; 29] = [
    "checkout",
    "import",
    "orchestrator",
    "owner",
    "support",
    "updater",
    "matcher",
    "reconciler",
    "proxy",
    "platform",
    "security",
    "custodian",
    "proxy+checkout",
    "platform+checkout",
    "security+orchestrator",
    "custodian+owner",
    "exporter",
    "exporter+checkout",
    "exporter-service",
    "inbound",
    "inbound+checkout",
    "auditor",
    "auditor+support",
    "reviewer",
    "reviewer-service",
    "reviewer+support",
    "security+reviewer",
    "nobody",
    "stranger",
];

/// The shipped policies over workloads and routes of the matrix's own.
fn fixture() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(policies_folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && name != "workloads.json" {
            files.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    files.insert("workloads.json".into(), workloads().to_string());
    files.insert("routes/psp.toml".into(), route("psp"));
    files.insert("routes/other.toml".into(), route("other"));
    let account = |tenant: &str| format!("tenants = [\"{tenant}\"]\ncredential_file = \"key\"");
    files.insert("accounts/psp/default.toml".into(), account("*"));
    files.insert("accounts/psp/elsewhere.toml".into(), account("elsewhere"));
    files.insert("accounts/other/default.toml".into(), account("*"));
    files.insert("accounts/other/special.toml".into(), account("*"));
    files
}

fn policies_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn id(name: &str) -> String {
    format!("spiffe://matrix.test/{}", name.replace('+', "-and-"))
}

fn workloads() -> Value {
    let mut workloads = Vec::new();
    for who in WHO.iter().filter(|who| !matches!(**who, "nobody" | "stranger")) {
        let roles: Vec<&str> = who.trim_end_matches("-service").split('+').collect();
        let groups = if *who == "platform" { ["*"] } else { ["ours"] };
        let callers: Vec<String> = if roles.contains(&"proxy") {
            [
                "orchestrator",
                "proxy",
                "support",
                "foreign-orchestrator",
                "routeless-orchestrator",
                "wide-orchestrator",
            ]
            .map(id)
            .into()
        } else {
            Vec::new()
        };
        let is_person =
            roles.iter().any(|role| matches!(*role, "exporter" | "reviewer")) && !who.ends_with("-service");
        workloads.push(json!({
            "id": id(who), "person": is_person.then_some("one"), "roles": roles, "tenants": { "groups": groups, "ids": ["elsewhere"] },
            "routes": ["psp"], "accounts": ["other/special"], "callers": callers,
        }));
    }
    let orchestrator = |name: &str, group: &str, routes: Value| json!({ "id": id(name), "roles": ["orchestrator"], "tenants": { "groups": [group] }, "routes": routes });
    workloads.push(orchestrator("unbound-orchestrator", "ours", json!(["psp"])));
    workloads.push(orchestrator("foreign-orchestrator", "theirs", json!(["psp"])));
    workloads.push(orchestrator("routeless-orchestrator", "ours", json!([])));
    workloads.push(orchestrator("wide-orchestrator", "ours", json!(["*"])));
    // A role, and bound to nothing.
    workloads.push(json!({ "id": id("nobody"), "roles": ["checkout"] }));
    json!({ "workloads": workloads })
}

fn route(name: &str) -> String {
    format!(
        r#"
[route.{name}]
upstream = "https://{name}.example"
credential = {{ header = "authorization", scheme = "Bearer" }}
[[route.{name}.allow]]
method = "POST"
path = "/cards/{{id}}"
body = "json"
inject = [{{ at = "/number", value = "number" }}, {{ at = "/exp", value = "exp", format = "MM/YY" }}]
[[route.{name}.pass]]
method = "GET"
path = "/cards/{{id}}"
"#
    )
}

fn load(files: &BTreeMap<String, String>) -> Authorizer {
    let files = files.iter().map(|(path, text)| (path.clone(), text.clone())).collect();
    Authorizer::for_review(&PolicySource::Files(files), Environment::Test).unwrap()
}

/// What an action is tried on: a name, and what it changes of a request that is all right.
fn resources(action: ActionKind) -> Vec<(&'static str, Value)> {
    let tenants = [
        ("own group", json!({})),
        ("own tenant", json!({ "tenant": { "id": "elsewhere" } })),
        ("other group", json!({ "tenant": { "groups": ["theirs"] } })),
        ("no group", json!({ "tenant": { "groups": [] } })),
        ("suspended", json!({ "tenant": { "suspended": true } })),
    ];
    let live_token = ("live token", json!({ "token_environment": "live" }));
    match action {
        ActionKind::ReadAudit
        | ActionKind::ReadEvidence
        | ActionKind::SuspendWorkload
        | ActionKind::ResumeWorkload
        | ActionKind::ReviewAccess
        | ActionKind::ReviewLog
        | ActionKind::ManageKeys
        | ActionKind::ManageEvents => {
            vec![("vault", json!({}))]
        }
        ActionKind::RecordOutcome => vec![
            ("own forward", json!({})),
            ("another's forward", json!({ "opened_by": "spiffe://matrix.test/another-proxy" })),
        ],
        ActionKind::ReadCard | ActionKind::UpdateCard | ActionKind::EraseCard | ActionKind::AttachCvc => {
            tenants.into_iter().chain([live_token]).collect()
        }
        ActionKind::OpenForward => {
            tenants.into_iter().chain([live_token]).chain(forward_resources()).collect()
        }
        _ => tenants.into(),
    }
}

fn forward_resources() -> Vec<(&'static str, Value)> {
    let with = |key: &str, value: Value| json!({ "forward": { key: value } });
    vec![
        ("caller unknown", with("caller", json!("spiffe://matrix.test/stranger"))),
        ("caller not bound", with("caller", json!(id("unbound-orchestrator")))),
        ("caller no orchestrator", with("caller", json!(id("support")))),
        ("caller is a proxy", with("caller", json!(id("proxy")))),
        ("caller of other group", with("caller", json!(id("foreign-orchestrator")))),
        ("caller without route", with("caller", json!(id("routeless-orchestrator")))),
        ("route not bound", with("route", json!("other"))),
        (
            "route the caller's only",
            json!({ "forward": { "route": "other", "caller": id("wide-orchestrator") } }),
        ),
        ("account bound", json!({ "forward": { "route": "other", "account": "special" } })),
        ("route unknown", with("route", json!("nowhere"))),
        ("route file differs", with("route_sha256", json!("00".repeat(32)))),
        ("account unknown", with("account", json!("none"))),
        ("account of another", with("account", json!("elsewhere"))),
        ("host differs", with("host", json!("evil.example"))),
        ("path not listed", with("path", json!("/payouts"))),
        ("method not listed", with("method", json!("PUT"))),
        ("call only passes", with("method", json!("GET"))),
        ("one attribute", with("attributes", json!(["number"]))),
        ("undeclared attribute", with("attributes", json!(["number", "cvc"]))),
        ("no attribute", with("attributes", json!([]))),
    ]
}

fn ask(who: &str, action: ActionKind, change: &Value) -> Ask {
    let mut ask = json!({ "workload": id(who), "action": action });
    match action {
        ActionKind::ReadAudit
        | ActionKind::ReadEvidence
        | ActionKind::SuspendWorkload
        | ActionKind::ResumeWorkload
        | ActionKind::ReviewAccess
        | ActionKind::ReviewLog
        | ActionKind::ManageKeys
        | ActionKind::ManageEvents => {}
        ActionKind::RecordOutcome => ask["opened_by"] = json!(id(who)),
        _ => ask["tenant"] = json!({ "id": "shop", "groups": ["ours"] }),
    }
    if action == ActionKind::OpenForward {
        ask["forward"] = json!({
            "caller": id("orchestrator"), "route": "psp", "account": "default",
            "method": "POST", "path": "/cards/c_1", "attributes": ["number", "exp"],
        });
    }
    merge(&mut ask, change);
    serde_json::from_value(ask).unwrap()
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value.clone(),
    }
}

fn matrix(authorizer: &Authorizer) -> Vec<(String, Answer)> {
    let mut rows = Vec::new();
    for who in WHO {
        for action in ActionKind::ALL {
            for (resource, change) in resources(*action) {
                let answer = authorizer.answer(&ask(who, *action, &change)).unwrap();
                rows.push((format!("{who:21} {:18} {resource:23}", action.as_str()), answer));
            }
        }
    }
    rows
}

fn render(rows: &[(String, Answer)]) -> String {
    let mut text =
        String::from("# who                 action             resource                decision\n");
    for (row, answer) in rows {
        let decision = if answer.allowed { "allow" } else { "deny " };
        let reason = if answer.allowed { String::new() } else { format!(" {}", answer.reason) };
        let policies: String = answer.policies.iter().fold(String::new(), |mut text, policy| {
            write!(text, " {policy}").unwrap();
            text
        });
        writeln!(text, "{row} {decision}{reason}{policies}").unwrap();
    }
    text
}

#[test]
fn the_matrix_is_as_written() {
    let actual = render(&matrix(&load(&fixture())));
    if bless() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/authz-matrix.txt");
        std::fs::write(path, &actual).unwrap();
        return;
    }
    let (was, is): (Vec<_>, Vec<_>) = (GOLDEN.lines().collect(), actual.lines().collect());
    let gone = was.iter().filter(|line| !is.contains(line)).map(|line| format!("- {line}\n"));
    let new = is.iter().filter(|line| !was.contains(line)).map(|line| format!("+ {line}\n"));
    let diff: String = gone.chain(new).collect();
    assert!(
        GOLDEN == actual,
        "the authorization matrix changed:\n{diff}\nIf this is meant, run\n  STRONGROOM_BLESS=1 cargo test -p strongroom-vault --test it authz_matrix\nand commit vault/tests/golden/authz-matrix.txt with the policy."
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch for the person who changes a policy, not configuration"
)]
fn bless() -> bool {
    std::env::var("STRONGROOM_BLESS").is_ok_and(|value| value == "1")
}

/// With every role permitted everything, only the guardrails are left. Without any one of them, something is allowed
/// that was denied, and nothing is denied that was allowed.
#[test]
fn every_guardrail_bites() {
    let mut files = fixture();
    files.insert("rogue.cedar".into(), everything_to_everybody());
    let held = matrix(&load(&files));
    let guardrails = files["guardrails.cedar"].clone();
    let mut dull = Vec::new();
    for name in guardrails.split("@id(\"").skip(1).map(|part| part.split('"').next().unwrap()) {
        files.insert("guardrails.cedar".into(), without(&guardrails, name));
        let loose = matrix(&load(&files));
        let opened = held.iter().zip(&loose).filter(|((_, was), (_, is))| was.allowed != is.allowed);
        let opened: Vec<_> =
            opened.inspect(|((row, _), (_, is))| assert!(is.allowed, "{name}: {row}")).collect();
        if opened.is_empty() {
            dull.push(name);
        }
    }
    // Code refuses these before policy is asked; that the guardrail bites too is tested where code can be left out.
    assert_eq!(dull, ["only-declared-attributes"]);
}

/// No role alone, given everything, gets beyond the guardrails: what the bounds forbid stays forbidden.
#[test]
fn guardrails_hold_whatever_is_permitted() {
    let mut files = fixture();
    files.insert("rogue.cedar".into(), everything_to_everybody());
    for (row, answer) in matrix(&load(&files)) {
        let out_of_bounds =
            ["other group", "no group", "live token", "another's forward", "caller is a proxy"];
        let everywhere = row.starts_with("platform ") || row.starts_with("stranger");
        if out_of_bounds.iter().any(|resource| row.contains(resource)) && !everywhere {
            assert!(!answer.allowed, "{row}");
        }
        if row.contains("OpenForward") && answer.allowed {
            assert!(row.starts_with("proxy"), "{row}");
        }
    }
}

fn everything_to_everybody() -> String {
    let mut text = String::new();
    for role in WHO.iter().filter(|who| !who.contains(['+', '-']) && !matches!(**who, "nobody" | "stranger"))
    {
        for action in ActionKind::ALL {
            let name = action.as_str().to_lowercase();
            writeln!(
                text,
                "@id(\"rogue-{role}-{name}\") permit (principal in Role::\"{role}\", action == Action::\"{action}\", resource);"
            )
            .unwrap();
        }
    }
    text
}

fn without(guardrails: &str, name: &str) -> String {
    let start = guardrails.find(&format!("@id(\"{name}\")")).unwrap();
    let end = start + guardrails[start..].find("};").map_or(0, |at| at + 2);
    format!("{}{}", &guardrails[..start], &guardrails[end..])
}

/// `vault policy test policies`, in the test run.
#[test]
fn the_policies_own_tests_pass() {
    let authorizer =
        Authorizer::for_review(&PolicySource::Folder(policies_folder()), Environment::Test).unwrap();
    assert!(authorizer.bundle().warnings.is_empty(), "{:?}", authorizer.bundle().warnings);
    let mut count = 0;
    for entry in std::fs::read_dir(policies_folder().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let tests = PolicyTests::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for test in tests.tests {
            count += 1;
            test.run(&authorizer).unwrap_or_else(|was| panic!("{}: {}: {was}", path.display(), test.name));
        }
    }
    assert!(count >= 10, "only {count} policy tests were found");
}

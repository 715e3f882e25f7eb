//! What is refused, and how it is said.

use crate::authz::fixture::{Files, ROUTE, files, load, source, with};
use crate::authz::{BundleError, PolicySource};

fn refusal(files: &Files) -> BundleError {
    load(files).err().expect("this bundle is refused")
}

fn assert_refused(files: &Files, file: &str, what: &[&str]) {
    let error = refusal(files);
    assert_eq!(error.file, file, "{error}");
    for part in what {
        assert!(error.what.contains(part), "{error}\nlacks: {part}");
    }
}

fn and(path: &str, text: &str) -> Files {
    let mut files = files();
    files.insert(path.into(), text.into());
    files
}

#[test]
fn the_shipped_bundle_is_taken_without_a_warning() {
    let loaded = load(&files()).unwrap();
    let bundle = loaded.bundle();
    assert_eq!(bundle.warnings, Vec::<String>::new());
    assert_eq!((bundle.version, bundle.workloads.len(), bundle.routes.iter().count()), (1, 12, 1));
    assert_eq!(loaded.bundle_sha256(), &bundle.sha256);
}

#[test]
fn a_typo_is_told_with_its_line() {
    let typo = with("platform.cedar", "permit (", "permitt (");
    assert_refused(&typo, "platform.cedar", &["line 4", "permitt"]);
}

#[test]
fn an_unknown_attribute_is_told_with_its_policy() {
    let unknown = with("proxy.cedar", "context.caller in", "context.colour in");
    assert_refused(
        &unknown,
        "proxy.cedar",
        &["policy `proxy-forwards-for-orchestrators`", "line ", "colour"],
    );
}

#[test]
fn an_unknown_role_or_action_in_a_policy_is_refused() {
    let role = with("security.cedar", "Role::\"security\"", "Role::\"securty\"");
    assert_refused(&role, "security.cedar", &["policy `security-reads-audit-and-evidence`", "securty"]);
    let action = with("security.cedar", "Action::\"ReadAudit\"", "Action::\"ReadAudits\"");
    assert_refused(&action, "security.cedar", &["policy `security-reads-audit-and-evidence`", "ReadAudits"]);
}

#[test]
fn guardrails_only_forbid_and_families_only_permit() {
    let mut permit = files();
    permit.get_mut("guardrails.cedar").unwrap().push_str(
        "@id(\"generous\") permit (principal in Role::\"checkout\", action == Action::\"ReadCard\", resource);",
    );
    assert_refused(&permit, "guardrails.cedar", &["policy `generous`", "only `forbid`"]);
    let forbid = and("extra.cedar", "@id(\"strict\") forbid (principal, action, resource);");
    assert_refused(&forbid, "extra.cedar", &["policy `strict`", "guardrails.cedar"]);
    let mut none = files();
    none.insert("guardrails.cedar".into(), "// all gone\n".into());
    assert_refused(&none, "guardrails.cedar", &["holds no policy"]);
    none.remove("guardrails.cedar");
    assert_refused(&none, "guardrails.cedar", &["is missing"]);
}

#[test]
fn a_permit_says_to_whom_and_for_what() {
    for (text, what) in [
        ("@id(\"all\") permit (principal, action == Action::\"ReadCard\", resource);", "names whom"),
        (
            "@id(\"all\") permit (principal is Workload, action == Action::\"ReadCard\", resource);",
            "names whom",
        ),
        ("@id(\"all\") permit (principal in Role::\"support\", action, resource);", "names its actions"),
        (
            "permit (principal in Role::\"support\", action == Action::\"ReadCard\", resource);",
            "needs an @id",
        ),
        (
            "@id(\"Spaces no\") permit (principal in Role::\"support\", action == Action::\"ReadCard\", resource);",
            "needs an @id",
        ),
        (
            "@id(\"allow-4242424242424242\") permit (principal in Role::\"support\", action == Action::\"ReadCard\", resource);",
            "needs an @id",
        ),
        (
            "@id(\"owner-erases\") permit (principal in Role::\"support\", action == Action::\"EraseCard\", resource);",
            "also in",
        ),
        (
            "@id(\"linked\") permit (principal == ?principal, action == Action::\"EraseCard\", resource);",
            "templates",
        ),
    ] {
        let error = refusal(&and("extra.cedar", text));
        assert!(error.what.contains(what), "{error}\nlacks: {what}");
    }
}

#[test]
fn the_schema_is_the_one_this_vault_asks_by() {
    let mut missing =
        with("schema.cedarschema", "Tokenize, MatchFingerprint, OpenCapture", "Tokenize, OpenCapture");
    let guardrails = missing.get_mut("guardrails.cedar").unwrap();
    *guardrails = guardrails.replace("Action::\"MatchFingerprint\", ", "");
    let family = missing.get_mut("orchestration.cedar").unwrap();
    *family = family.replace("Action::\"MatchFingerprint\"", "Action::\"Import\"");
    assert_refused(&missing, "schema.cedarschema", &["MatchFingerprint", "is missing"]);
    let more = with("schema.cedarschema", "Tokenize, Match", "Tokenize, Detokenize, Match");
    assert_refused(&more, "schema.cedarschema", &["Detokenize", "no action of this vault"]);
    let typed = with("schema.cedarschema", "opened_by: Workload,", "opened_by: Workload, colour: String,");
    assert_refused(
        &typed,
        "schema.cedarschema",
        &["does not describe what this vault asks", "RecordOutcome"],
    );
    let entity = with("schema.cedarschema", "suspended: Bool,", "suspended: Bool, colour: String,");
    assert_refused(&entity, "schema.cedarschema", &["does not describe what this vault asks", "colour"]);
    let group = with(
        "schema.cedarschema",
        "action ManageTenant appliesTo",
        "action all;\naction ManageTenant in [all] appliesTo",
    );
    assert_refused(&group, "schema.cedarschema", &["action groups"]);
    let broken = with("schema.cedarschema", "entity Vault;", "entity Vault");
    assert_refused(&broken, "schema.cedarschema", &["line "]);
}

#[test]
fn workloads_are_listed_once_in_roles_that_exist() {
    let twice = with("workloads.json", "strongroom.test/security", "strongroom.test/platform");
    assert_refused(&twice, "workloads.json", &["spiffe://strongroom.test/platform", "listed twice"]);
    for (from, to, what) in [
        ("[\"security\"]", "[\"securty\"]", "lists no role `securty`"),
        ("[\"security\"]", "[]", "needs at least one role"),
        ("\"merchants\"", "\"Merchants!\"", "group `Merchants!`"),
        ("\"roles\": [\"checkout\"]", "\"role\": [\"checkout\"]", "unknown field `role`"),
        ("\"id\": \"spiffe://strongroom.test/checkout\"", "\"id\": \"checkout\"", "neither a SPIFFE ID"),
        ("\"routes\": [\"*\"]", "\"routes\": [\"pspp\"]", "no routes/pspp.toml"),
        ("\"routes\": [\"*\"]", "\"accounts\": [\"psp/mine\"]", "no accounts/psp/mine.toml"),
        (
            "\"callers\": [\"spiffe://strongroom.test/orchestrator\"]",
            "\"callers\": [\"spiffe://strongroom.test/other\"]",
            "is no workload",
        ),
        ("\"roles\": [\"proxy\"]", "\"roles\": [\"checkout\"]", "only a proxy has callers"),
        ("\"roles\": [\"proxy\"],", "\"roles\": [\"proxy\"], \"roles\": [\"proxy\"],", "duplicate field"),
    ] {
        assert_refused(&with("workloads.json", from, to), "workloads.json", &[what]);
    }
}

#[test]
fn routes_and_accounts_are_read_or_refused() {
    assert_refused(&with("routes/psp.toml", "https://", "http://"), "routes/psp.toml", &["psp", "https://"]);
    assert_refused(&and("routes/Other.toml", ROUTE), "routes/Other.toml", &["[route.Other]"]);
    let other = ROUTE.replace("route.psp", "route.other");
    assert_refused(
        &and("routes/other.toml", &other),
        "routes/psp.toml",
        &["psp.proxy.internal", "route `other`"],
    );
    let account = "tenants = [\"*\"]\ncredential_file = \"x\"\n";
    assert_refused(
        &and("accounts/nowhere/default.toml", account),
        "accounts/nowhere",
        &["no routes/nowhere.toml"],
    );
    assert_refused(
        &and("accounts/psp/bad.toml", "tenants = []"),
        "accounts/psp/bad.toml",
        &["at least one tenant"],
    );
    let mut unused = files();
    unused.retain(|path, _| !path.starts_with("accounts/"));
    let warnings = load(&unused).unwrap().bundle().warnings.clone();
    assert!(warnings[0].contains("nobody can use it"), "{warnings:?}");
}

#[test]
fn the_version_is_a_number() {
    assert_refused(&with("bundle.toml", "version = 1", "version = \"1\""), "bundle.toml", &["expected u64"]);
    assert_refused(&with("bundle.toml", "version = 1", "version = 1\nextra = 2"), "bundle.toml", &["extra"]);
}

#[test]
fn a_bundle_is_replaced_by_a_newer_one_only() {
    let load = |files: &Files| load(files).unwrap();
    let (first, same) = (load(&files()), load(&files()));
    let newer = load(&with("bundle.toml", "version = 1", "version = 2"));
    let other = load(&with("workloads.json", "reads the audit log", "reads the log"));
    assert!(same.bundle().may_replace(first.bundle()) && newer.bundle().may_replace(first.bundle()));
    assert!(!first.bundle().may_replace(newer.bundle()) && !other.bundle().may_replace(first.bundle()));
}

#[test]
fn what_nothing_reads_is_told() {
    let files = and("routes/psp.toml.off", "x");
    assert_eq!(load(&files).unwrap().bundle().warnings, ["routes/psp.toml.off: nothing reads this file"]);
}

#[test]
fn the_hash_is_of_every_path_and_byte_and_of_nothing_else() {
    let hash = |files: &Files| *load(files).unwrap().bundle_sha256();
    let own = hash(&files());
    for changed in [
        with("bundle.toml", "version = 1", "version = 2"),
        with("workloads.json", "reads the audit log", "reads the audit-log"),
        with("accounts/psp/default.toml", "psp.key", "other.key"),
        and("routes/roots/psp.pem", "-----BEGIN"),
    ] {
        assert_ne!(hash(&changed), own);
    }
    assert_eq!(hash(&and("README.md", "for people")), own);
    assert_eq!(hash(&and("tests/more.json", "{}")), own);
    let mut moved = files();
    let text = moved.remove("custody.cedar").unwrap();
    moved.insert("keys.cedar".into(), text);
    assert_ne!(hash(&moved), own);
}

#[test]
fn a_folder_and_its_files_in_memory_are_one_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let versioned = folder.path().join("..data");
    for (path, text) in files() {
        let path = versioned.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::write(versioned.join("README.md"), "for people").unwrap();
    // As configuration is mounted: links into a versioned folder.
    let mounted = folder.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    for entry in std::fs::read_dir(&versioned).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), mounted.join(entry.file_name())).unwrap();
    }
    let from_files = super::Bundle::load(&source(&files()), strongroom_domain::Environment::Test).unwrap();
    let from_folder =
        super::Bundle::load(&PolicySource::Folder(mounted.clone()), strongroom_domain::Environment::Test)
            .unwrap();
    assert_eq!(from_folder.sha256, from_files.sha256);
    assert_eq!(PolicySource::Folder(mounted).sha256().unwrap(), from_files.sha256);
    let missing = PolicySource::Folder(folder.path().join("none"));
    let error = super::Bundle::load(&missing, strongroom_domain::Environment::Test).err().unwrap();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn a_file_too_large_or_given_twice_is_refused() {
    let large = and("routes/psp.pem", &"x".repeat(1024 * 1024 + 1));
    assert_refused(&large, "routes/psp.pem", &["at most"]);
    let twice =
        vec![("bundle.toml".into(), "version = 1".into()), ("bundle.toml".into(), "version = 2".into())];
    let error = super::Bundle::load(&PolicySource::Files(twice), strongroom_domain::Environment::Test);
    assert!(error.err().unwrap().what.contains("given twice"));
}

//! Any head of a request, or of a `CONNECT`: it finds the route and account it names, or nothing.
//! Input: `METHOD TARGET VERSION`, then lines `name: value`.

#![no_main]

use std::sync::{Arc, OnceLock};

use http::header::HOST;
use http::request::Parts;
use http::{Method, Request, Version};
use libfuzzer_sys::fuzz_target;
use strongroom_domain::{Clock as _, WorkloadId};
use strongroom_perimeter::caller::{Caller, TlsFacts};
use strongroom_perimeter::clock::SystemClock;
use strongroom_proxy::config::ProxyConfig;
use strongroom_proxy::registry::{Registry, Sources};
use strongroom_proxy::upstream::SystemResolver;
use strongroom_proxy::{authority, tunnel};
use strongroom_proxy_fuzz::header_lines;

const HOSTS: [&str; 2] = ["api.psp.example", "other.psp.example"];

fuzz_target!(|input: &[u8]| {
    let Some(parts) = head(input) else { return };
    let registry = registry();
    if parts.method == Method::CONNECT {
        tunnels(registry, parts);
        return;
    }
    let Ok(found) = registry.entry.find(&parts, None) else { return };
    assert!(found.path_and_query.starts_with('/'));
    assert!(parts.headers.get_all(HOST).iter().count() <= 1);
    let route = found.destination.route.name.as_str();
    let account = found.destination.account.name.as_str();
    // The target names the route and, if it is not the default one, the account.
    let named = format!("{} {:?}", parts.uri, parts.headers.get(HOST)).to_ascii_lowercase();
    let hosts: &[&str] =
        if route == "one" { &["one", "api.psp.example"] } else { &["two", "other.psp.example"] };
    assert!(hosts.iter().any(|name| named.contains(name)), "{named}");
    assert!(account == "default" || named.contains(account), "{named}");
    assert!(!parts.uri.authority().is_some_and(|authority| authority.as_str().contains('@')));
});

fn tunnels(registry: &Registry, mut parts: Parts) {
    let named = parts.uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
    parts.extensions.insert(caller());
    if tunnel::open(registry, &mut parts, None, SystemClock.now()).is_ok() {
        let named = named.expect("a tunnel has a target");
        let (host, port) = named.rsplit_once(':').expect("a tunnel has a port");
        assert!(
            port.parse::<u16>().is_ok_and(|port| port == 443) && HOSTS.contains(&host.trim_end_matches('.')),
            "{named}"
        );
        assert!(parts.headers.get_all(HOST).iter().count() <= 1);
    }
}

fn head(input: &[u8]) -> Option<Parts> {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let line = std::str::from_utf8(&input[..end]).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let version = match version {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let request = Request::builder().method(method).uri(target).version(version).body(()).ok()?;
    let (mut parts, ()) = request.into_parts();
    parts.headers = header_lines(&input[end..]);
    Some(parts)
}

fn caller() -> Caller {
    Caller {
        workload: WorkloadId::parse("spiffe://fuzz.test/orchestrator").expect("a name"),
        certificate_sha256: [7; 32],
        peer: "127.0.0.1:1".parse().expect("an address"),
        tls: TlsFacts { version: "TLSv1_3", suite: "TLS13_AES_256_GCM_SHA384", group: "X25519MLKEM768" },
    }
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let write = |path: &str, text: &str| {
            let path = at.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        for (route, host) in [("one", HOSTS[0]), ("two", HOSTS[1])] {
            write(
                &format!("policies/routes/{route}.toml"),
                &format!(
                    "[route.{route}]\nupstream = \"https://{host}\"\nhosts = [\"{host}\"]\n\
                     credentials = \"unpinned\"\ncredential = {{ header = \"authorization\" }}\n\
                     [[route.{route}.pass]]\nmethod = \"POST\"\npath = \"/v1/refunds\"\n"
                ),
            );
            for account in ["default", "m-501"] {
                write(&format!("policies/accounts/{route}/{account}.toml"), "tenants = [\"*\"]\n");
            }
        }
        write(
            "policies/workloads.json",
            r#"{"workloads":[{"id":"spiffe://fuzz.test/proxy","routes":["*"],"callers":["spiffe://fuzz.test/orchestrator"]},
                {"id":"spiffe://fuzz.test/orchestrator","routes":["*"]}]}"#,
        );
        let hosts = HOSTS.map(str::to_owned).into();
        let life = std::time::Duration::from_secs(30 * 24 * 60 * 60);
        let made = authority::create(&hosts, at, SystemClock.now(), life).expect("an authority");
        let config = format!(
            "environment = \"test\"\npolicies_folder = {0:?}\nsecrets_folder = {0:?}\nhost_suffix = \"proxy.test\"\n\
             listener = {{ address = \"127.0.0.1:0\", certificate_file = \"a\", key_file = \"a\", client_ca_file = \"a\" }}\n\
             ops = {{ address = \"127.0.0.1:0\" }}\n\
             connect = {{ ca_certificate_file = {1:?}, ca_key_file = {2:?} }}\n\
             [vault]\nurls = [\"https://vault.example\"]\n\
             tls = {{ certificate_file = \"a\", key_file = \"a\", ca_file = \"a\" }}\n",
            at.join("policies"),
            made.certificate,
            made.key,
        );
        let config: ProxyConfig = toml::from_str(&config).expect("a configuration");
        let sources = Sources { config, resolver: Arc::new(SystemResolver), clock: Arc::new(SystemClock) };
        sources.read(None).unwrap_or_else(|error| panic!("{error:?}"))
    })
}

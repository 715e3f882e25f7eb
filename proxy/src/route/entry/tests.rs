use super::*;
use http::Request;
use strongroom_domain::route::KeyIdForm;

fn name(text: &str) -> RouteName {
    RouteName::parse(text).unwrap()
}

fn listed(
    route: &str,
    hosts: &[&str],
    accounts: &[(&'static str, &'static str, &str)],
) -> Listed<&'static str> {
    let accounts = accounts.iter().map(|(account, destination, host)| ListedAccount {
        name: name(account),
        upstream: ((*host).to_owned(), 443),
        key_id: Some(format!("KEY-{account}")),
        destination: Arc::new(*destination),
    });
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Listed { name: name(route), hosts, key_ids: Vec::new(), accounts: accounts.collect() }
}

fn entry() -> Entry<&'static str> {
    let routes = [
        listed(
            "stripe",
            &["api.stripe.com"],
            &[("default", "stripe", "api.stripe.com"), ("m-501", "stripe/m-501", "api.stripe.com")],
        ),
        listed("adyen", &[], &[("live", "adyen", "m7-checkout-live.adyen.example")]),
        listed("many", &[], &[("a", "many/a", "api.many.example"), ("b", "many/b", "b.many.example")]),
        listed("twin", &[], &[("default", "twin", "api.stripe.com")]),
    ];
    Entry::new(routes, Some("proxy.internal")).unwrap()
}

fn find_in(
    bound: Option<&Bound>,
    method: &str,
    uri: &str,
    hosts: &[&str],
) -> Result<(&'static str, String), EntryRefused> {
    let mut request = Request::builder().method(method).uri(uri);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    entry().find(&parts, bound).map(|target| (*target.destination, target.path_and_query))
}

fn find(method: &str, uri: &str, hosts: &[&str]) -> Result<(&'static str, String), EntryRefused> {
    find_in(None, method, uri, hosts)
}

#[test]
fn host_or_first_segments_name_route_and_account() {
    for (uri, host, route, rest) in [
        ("/stripe/v1/tokens?x=/y", "proxy", "stripe", "/v1/tokens?x=/y"),
        ("/stripe", "proxy", "stripe", "/"),
        ("/stripe?a", "proxy", "stripe", "/?a"),
        ("/stripe//v1", "proxy", "stripe", "//v1"),
        ("/stripe//@m-501/v1", "proxy", "stripe", "//@m-501/v1"),
        ("/stripe/@m-501/v1/tokens?x", "proxy", "stripe/m-501", "/v1/tokens?x"),
        ("/stripe/@m-501", "proxy", "stripe/m-501", "/"),
        ("/stripe/@m-501?a", "proxy", "stripe/m-501", "/?a"),
        ("/stripe/@default//ppp", "proxy", "stripe", "//ppp"),
        ("/adyen/@live/v72/payments", "proxy", "adyen", "/v72/payments"),
        ("/v1/tokens", "api.stripe.com", "stripe", "/v1/tokens"),
        ("/v1/tokens", "API.Stripe.com:443", "stripe", "/v1/tokens"),
        ("https://api.stripe.com/v1/tokens", "api.stripe.com:8443", "stripe", "/v1/tokens"),
        ("/v72/payments", "adyen.proxy.internal:8443", "adyen", "/v72/payments"),
        ("/stripe/v1", "adyen.proxy.internal", "adyen", "/stripe/v1"),
        ("/v1/tokens", "m-501.stripe.proxy.internal", "stripe/m-501", "/v1/tokens"),
        ("/@b/v1", "a.many.proxy.internal", "many/a", "/@b/v1"),
    ] {
        assert_eq!(find("POST", uri, &[host]), Ok((route, rest.to_owned())), "{uri} {host}");
    }
}

#[test]
fn everything_else_finds_none() {
    for (method, uri, hosts, refusal) in [
        ("POST", "/other/v1", &["proxy"][..], EntryRefused::NoRoute),
        ("POST", "/", &["proxy"], EntryRefused::NoRoute),
        ("POST", "//stripe/v1", &["proxy"], EntryRefused::NoRoute),
        ("POST", "/v1/tokens", &["evil.example"], EntryRefused::NoRoute),
        ("POST", "/v1/tokens", &["m-501.other.proxy.internal"], EntryRefused::NoRoute),
        ("POST", "/v1/tokens", &["a.b.stripe.proxy.internal"], EntryRefused::NoRoute),
        ("POST", "/v1/tokens", &["m-502.stripe.proxy.internal"], EntryRefused::NoAccount),
        ("POST", "/stripe/@m-502/v1", &["proxy"], EntryRefused::NoAccount),
        ("POST", "/stripe/@/v1", &["proxy"], EntryRefused::NoAccount),
        ("POST", "/many/v1", &["proxy"], EntryRefused::NoAccount),
        ("POST", "/stripe/v1", &[], EntryRefused::AmbiguousHost),
        ("POST", "/stripe/v1", &["a", "b"], EntryRefused::AmbiguousHost),
        ("POST", "https://api.stripe.com/v1", &["evil.example"], EntryRefused::AmbiguousHost),
        ("POST", "https://me@api.stripe.com/v1", &["api.stripe.com"], EntryRefused::AmbiguousHost),
        ("POST", "http://api.stripe.com/v1", &["api.stripe.com"], EntryRefused::NotAPath),
        ("CONNECT", "api.stripe.com:443", &["api.stripe.com"], EntryRefused::NotAPath),
        ("OPTIONS", "*", &["proxy"], EntryRefused::NotAPath),
    ] {
        assert_eq!(find(method, uri, hosts), Err(refusal), "{method} {uri} {hosts:?}");
    }
}

#[test]
fn in_a_tunnel_the_tunnel_says_where_and_a_request_may_only_agree() {
    let tunnel = entry().connect("api.stripe.com", 443, Some(&name("stripe")), None).unwrap();
    assert_eq!(entry().in_tunnel(&tunnel).map(|found| **found).collect::<Vec<_>>(), ["stripe"]);
    for (uri, hosts) in [
        ("/v1/tokens", &["api.stripe.com"][..]),
        ("/v1/tokens", &["API.STRIPE.COM.:443"]),
        ("/v1/tokens", &[]),
        ("https://api.stripe.com/v1/tokens", &["api.stripe.com:443"]),
        ("https://Api.Stripe.com:443/v1/tokens", &[]),
    ] {
        let found = find_in(Some(&tunnel), "POST", uri, hosts);
        assert_eq!(found, Ok(("stripe", "/v1/tokens".to_owned())), "{uri} {hosts:?}");
    }
    for (uri, hosts) in [
        ("/v1/tokens", &["adyen.proxy.internal"][..]),
        ("https://evil.example/v1/tokens", &["api.stripe.com"]),
        ("https://evil.example/v1/tokens", &[]),
    ] {
        let found = find_in(Some(&tunnel), "POST", uri, hosts);
        assert_eq!(found, Err(EntryRefused::AmbiguousHost), "{uri} {hosts:?}");
    }
    assert_eq!(find_in(Some(&tunnel), "CONNECT", "a:443", &[]), Err(EntryRefused::NotAPath));
}

#[test]
fn a_tunnel_leads_to_a_route_s_upstream_and_to_an_account_that_has_it() {
    let (stripe, twin) = (name("stripe"), name("twin"));
    let (m501, none) = (name("m-501"), name("m-502"));
    for (host, port, route, account, found) in [
        ("api.stripe.com", 443, Some(&stripe), Some(&m501), Ok("stripe/m-501")),
        ("api.stripe.com", 443, Some(&twin), None, Ok("twin")),
        ("m7-checkout-live.adyen.example", 443, None, None, Ok("adyen")),
        ("b.many.example", 443, None, None, Ok("many/b")),
        ("b.many.example", 443, None, Some(&name("a")), Err(EntryRefused::NoAccount)),
        ("api.stripe.com", 443, None, None, Err(EntryRefused::SeveralRoutes)),
        ("api.stripe.com", 443, Some(&stripe), Some(&none), Err(EntryRefused::NoAccount)),
        ("api.stripe.com", 80, Some(&stripe), None, Err(EntryRefused::NoRoute)),
        ("api.stripe.com", 443, Some(&name("adyen")), None, Err(EntryRefused::NoRoute)),
        ("stripe.proxy.internal", 443, None, None, Err(EntryRefused::NoRoute)),
        ("169.254.169.254", 443, None, None, Err(EntryRefused::NoRoute)),
    ] {
        let entry = entry();
        let connected = entry.connect(host, port, route, account);
        let connected = connected.map(|bound| **entry.in_tunnel(&bound).next().unwrap());
        assert_eq!(connected, found, "{host}:{port} {route:?} {account:?}");
    }
}

#[test]
fn a_port_says_where_whatever_the_host() {
    let port = Bound { route: name("stripe"), account: Some(name("m-501")), upstream: None };
    for hosts in [&["adyen.proxy.internal"][..], &["proxy:8444"], &[]] {
        let found = find_in(Some(&port), "POST", "/v1/tokens", hosts);
        assert_eq!(found, Ok(("stripe/m-501", "/v1/tokens".to_owned())), "{hosts:?}");
    }
}

#[test]
fn http_2_names_its_host_in_the_target() {
    let request =
        Request::builder().version(Version::HTTP_2).uri("https://adyen.proxy.internal/v72/payments");
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    assert_eq!(*entry().find(&parts, None).unwrap().destination, "adyen");
    parts.headers.insert(HOST, "api.stripe.com".parse().unwrap());
    assert_eq!(entry().find(&parts, None).err(), Some(EntryRefused::AmbiguousHost));
}

#[test]
fn one_name_one_route() {
    let routes = ["a", "b"].map(|route| listed(route, &["psp.example"], &[]));
    assert!(Entry::new(routes, None).is_err());
}

#[test]
fn a_route_takes_no_name_that_the_suffix_gives_to_another_or_to_an_account() {
    let with = |host: &str| {
        let routes = [listed("a", &[host], &[]), listed("b", &[], &[("m-501", "b/m-501", "b.psp.example")])];
        Entry::new(routes, Some("proxy.internal")).map(drop)
    };
    for taken in
        ["m-501.b.proxy.internal", "m-501.a.proxy.internal", "x.y.z.proxy.internal", "c.proxy.internal"]
    {
        assert!(matches!(with(taken), Err(EntryError::BelowSuffix(..))), "{taken}");
    }
    assert!(matches!(with("b.proxy.internal"), Err(EntryError::BelowSuffix(..))));
    for free in ["a.proxy.internal", "psp.example", "proxy.internal", "myproxy.internal"] {
        assert!(with(free).is_ok(), "{free}");
    }
}

/// A route whose accounts are found by their keys; `elsewhere` has a host of its own.
fn keyed() -> Entry<&'static str> {
    let key_ids = vec![KeyIdPlace { header: "x-api-key".into(), form: KeyIdForm::Value }];
    let accounts = [
        ("a", "a", "api.psp.example"),
        ("b", "b", "api.psp.example"),
        ("elsewhere", "elsewhere", "e.psp.example"),
    ];
    Entry::new([Listed { key_ids, ..listed("psp", &["psp.internal"], &accounts) }], Some("proxy.internal"))
        .unwrap()
}

fn find_keyed(
    bound: Option<&Bound>,
    uri: &str,
    host: &str,
    key: Option<&str>,
) -> Result<&'static str, EntryRefused> {
    let mut request = Request::builder().method("POST").uri(uri);
    if !host.is_empty() {
        request = request.header(HOST, host);
    }
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    keyed().find(&parts, bound).map(|target| *target.destination)
}

#[test]
fn a_key_id_names_the_account_and_what_else_names_one_must_agree() {
    let port =
        |account: Option<&str>| Bound { route: name("psp"), account: account.map(name), upstream: None };
    let open = port(None);
    let of_b = port(Some("b"));
    for (bound, uri, host, key, found) in [
        (None, "/psp/v1", "proxy", Some("KEY-b"), Ok("b")),
        (None, "/psp/v1", "proxy", None, Err(EntryRefused::NoAccount)),
        (None, "/psp/v1", "proxy", Some("strongroom"), Err(EntryRefused::NoAccount)),
        (None, "/psp/v1", "proxy", Some("KEY-c"), Err(EntryRefused::UnknownKeyId)),
        (None, "/psp/@b/v1", "proxy", Some("KEY-b"), Ok("b")),
        (None, "/psp/@b/v1", "proxy", Some("strongroom"), Ok("b")),
        (None, "/psp/@a/v1", "proxy", Some("KEY-b"), Err(EntryRefused::OtherKeyId)),
        (None, "/psp/@c/v1", "proxy", Some("KEY-b"), Err(EntryRefused::NoAccount)),
        (None, "/v1", "psp.internal", Some("KEY-a"), Ok("a")),
        (None, "/v1", "a.psp.proxy.internal", Some("KEY-a"), Ok("a")),
        (None, "/v1", "a.psp.proxy.internal", Some("KEY-b"), Err(EntryRefused::OtherKeyId)),
        (Some(&open), "/v1", "", Some("KEY-elsewhere"), Ok("elsewhere")),
        (Some(&of_b), "/v1", "", Some("KEY-b"), Ok("b")),
        (Some(&of_b), "/v1", "", Some("KEY-a"), Err(EntryRefused::OtherKeyId)),
    ] {
        assert_eq!(find_keyed(bound, uri, host, key), found, "{uri} {host} {key:?}");
    }
}

#[test]
fn in_a_tunnel_that_named_no_account_a_key_names_one_with_its_upstream() {
    let entry = keyed();
    let open = entry.connect("api.psp.example", 443, None, None).unwrap();
    assert_eq!(entry.in_tunnel(&open).map(|found| **found).collect::<Vec<_>>(), ["a", "b"]);
    let named = entry.connect("api.psp.example", 443, None, Some(&name("a"))).unwrap();
    let own_host = entry.connect("e.psp.example", 443, None, None).unwrap();
    assert_eq!(entry.in_tunnel(&own_host).map(|found| **found).collect::<Vec<_>>(), ["elsewhere"]);
    for (bound, key, found) in [
        (&open, Some("KEY-b"), Ok("b")),
        (&open, Some("KEY-elsewhere"), Err(EntryRefused::OtherKeyId)),
        (&open, Some("KEY-c"), Err(EntryRefused::UnknownKeyId)),
        (&open, None, Err(EntryRefused::NoAccount)),
        (&named, Some("KEY-a"), Ok("a")),
        (&named, Some("KEY-b"), Err(EntryRefused::OtherKeyId)),
        (&named, None, Ok("a")),
        (&own_host, None, Ok("elsewhere")),
        (&own_host, Some("KEY-a"), Err(EntryRefused::OtherKeyId)),
    ] {
        assert_eq!(find_keyed(Some(bound), "/v1", "", key), found, "{bound:?} {key:?}");
    }
}

#[test]
fn one_key_one_account() {
    let key_ids = vec![KeyIdPlace { header: "x-api-key".into(), form: KeyIdForm::Value }];
    let mut twice = Listed { key_ids, ..listed("psp", &[], &[("a", "a", "h"), ("b", "b", "h")]) };
    twice.accounts[1].key_id = Some("KEY-a".into());
    let error = Entry::new([twice], None).err().unwrap().to_string();
    assert!(error.contains("`a` and `b`") && !error.contains("KEY"), "{error}");
}

//! Whose account a call goes to.

use http::HeaderValue;

use crate::world::{Setup, World, usual_form};

async fn with_authorization(world: &World, value: &str) -> (u16, String) {
    let mut request = world.form("/psp/v1/payment_methods", &usual_form());
    request.headers_mut().insert("authorization", HeaderValue::try_from(value).unwrap());
    let reply = world.send(request).await;
    (reply.status, reply.text())
}

#[tokio::test]
async fn the_account_s_own_credential_replaces_the_placeholder_and_nothing_else() {
    let world = World::usual().await;
    for placeholder in ["Bearer strongroom", "Basic c3Ryb25ncm9vbTo=", "strongroom"] {
        assert_eq!(with_authorization(&world, placeholder).await.0, 200, "{placeholder}");
    }
    let sent = world.psp.requests();
    for own in ["Bearer sk_mine", "Basic c2tfbWluZTo=", "Bearer sk_own_account"] {
        let (status, text) = with_authorization(&world, own).await;
        assert_eq!(status, 403, "{own}");
        assert!(text.contains("credential-refused") && !text.contains("sk_"), "{text}");
    }
    assert_eq!(world.psp.requests(), sent);
    for seen in world.psp.seen() {
        assert!(seen.holds("Authorization: Bearer sk_own_account") && !seen.holds("strongroom"));
    }
}

#[tokio::test]
async fn a_second_credential_beside_the_account_s_is_refused() {
    let world = World::usual().await;
    let mut header = world.form("/psp/v1/payment_methods", &usual_form());
    header.headers_mut().insert("x-api-key", HeaderValue::from_static("mine"));
    for request in [
        header,
        world.form("/psp/v1/payment_methods", &format!("{}&key=sk_mine", usual_form())),
        world.form("/psp/v1/payment_methods?k%65y=sk_mine", &usual_form()),
        world.form("/psp/v1/refunds", "ke%79=sk_mine"),
        world.form("/psp/v1/refunds", "charge=ch_1;key=sk_mine"),
        world.form("/psp/v1/refunds", "charge=ch_1&[key]=sk_mine"),
        world.form("/psp/v1/refunds?+key[]=sk_mine", "charge=ch_1"),
        world.request(
            "POST",
            "/psp/v1/payment_methods",
            "application/x-www-form-urlencoded",
            &[usual_form().as_bytes(), b"&note=\xff&key=sk_mine"].concat(),
        ),
        world.request(
            "POST",
            "/psp/v1/refunds",
            "multipart/form-data; boundary=b",
            b"--b\r\ncontent-disposition: form-data; name=key\r\n\r\nsk_mine\r\n--b--",
        ),
        world.request("POST", "/psp/v1/refunds", "text/xml", b"<refund><key>sk_mine</key></refund>"),
        world.request("POST", "/psp/v1/refunds", "application/xml", b"<refund key='sk_mine'/>"),
    ] {
        let reply = world.send(request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "credential-refused"));
    }
    for (kind, body) in [
        (
            "multipart/form-data; boundary=c",
            &b"--b\r\ncontent-disposition: form-data; name=key\r\n\r\nsk_mine\r\n--b--"[..],
        ),
        ("text/xml", b"<!DOCTYPE r [<!ENTITY k '<key>sk_mine</key>'>]><r>&k;</r>"),
        ("application/json", b"\xef\xbb\xbf{\"key\":\"sk_mine\"}"),
    ] {
        let reply = world.send(world.request("POST", "/psp/v1/refunds", kind, body)).await;
        assert_eq!((reply.status, reply.problem().as_str()), (415, "unsupported-media-type"), "{kind}");
    }
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_pinned_credential_passes_and_another_does_not() {
    use sha2::{Digest as _, Sha256};
    let digest = hex::encode(Sha256::digest(b"sk_listed"));
    let world = World::new(Setup {
        route: "credentials = \"pinned\"".into(),
        account: format!("tenants = [\"acme\"]\ncredential_sha256 = [\"{digest}\"]"),
        ..Default::default()
    })
    .await;
    assert_eq!(with_authorization(&world, "Bearer sk_listed").await.0, 200);
    assert_eq!(with_authorization(&world, "Bearer sk_other").await.0, 403);
    assert_eq!(world.create_usual().await.status, 403);
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 1));
    assert!(world.psp.seen()[0].holds("Authorization: Bearer sk_listed"));
}

#[tokio::test]
async fn in_test_a_route_may_take_any_credential() {
    let route = "credentials = \"unpinned\"".into();
    let world = World::new(Setup { route, account: "tenants = [\"*\"]".into(), ..Default::default() }).await;
    assert_eq!(with_authorization(&world, "Bearer sk_mine").await.0, 200);
    assert!(world.psp.seen()[0].holds("Authorization: Bearer sk_mine"));
}

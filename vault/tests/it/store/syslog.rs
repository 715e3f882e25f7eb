//! Findings to a real syslog server (rsyslog) over TLS: killed, away, with a wrong certificate; nothing is lost.

mod ground;

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{BootId, Clock as _};
use strongroom_vault::audit::{Draft, Event, FindingRef, Indexed, Indexer, Object, Outcome};
use strongroom_vault::store::{Change, Committer};
use strongroom_vault::watch::{CloseNotify, SendError, Sent, Syslog, SyslogConfig, SyslogError};

use self::ground::{Driver, Rsyslog};
use super::ground::Ground;
use super::signed_log::sequencer;

fn holder(name: u128) -> BootId {
    BootId::from_uuid(uuid::Uuid::from_u128(name))
}

fn sender(ground: &Ground, name: u128, config: &SyslogConfig) -> Syslog {
    let (store, clock) = (Arc::clone(&ground.store), ground.clock.clone());
    Syslog::open(store, clock, holder(name), "vault-1", config.clone()).unwrap()
}

/// Writes findings whose counts are these, and brings log and index up to date.
async fn found(ground: &Ground, committer: &Committer, counts: std::ops::Range<u64>) {
    let entry = |count| {
        let finding = FindingRef {
            certificate_sha256: None,
            count,
            first_index: 0,
            last_index: 0,
            limit: 1,
            principal: None,
            route: None,
            seconds: 60,
            severity: "high",
        };
        Draft::by_service(ground.clock.now(), Event::AnomalyFound, Outcome::Success, Object::Service("watch"))
            .because("release-rate")
            .finding(finding)
    };
    let other = Draft::by_service(ground.clock.now(), Event::ConfigReload, Outcome::Success, Object::Log);
    let entries = counts.flat_map(|count| [entry(count), other.clone()]).collect();
    committer.commit(Change::Entries { entries }).await.unwrap();
    sequencer(ground, 1, None).step().await.unwrap();
    let mut indexer = Indexer::new(Arc::clone(&ground.store), ground.clock.clone(), holder(2));
    while !matches!(indexer.step().await.unwrap(), Indexed::UpTo { behind: 0, .. }) {}
    ground.clock.go_on(Duration::from_secs(100)); // its lease is over for whoever indexes next
}

/// Sends until nothing waits. Gives how many findings were confirmed.
async fn send_all(syslog: &mut Syslog) -> u64 {
    let mut all = 0;
    loop {
        match syslog.step().await.unwrap() {
            Sent::UpTo { findings, more, .. } => {
                all += findings;
                if !more {
                    return all;
                }
            }
            Sent::Waiting => panic!("nobody else sends"),
        }
    }
}

/// Fails once, and not at once again.
async fn fails(ground: &Ground, syslog: &mut Syslog) -> SyslogError {
    let error = match syslog.step().await {
        Err(SendError::Syslog(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(syslog.step().await.unwrap(), Sent::Waiting, "it waits before it tries again");
    ground.clock.go_on(Duration::from_secs(61));
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_reach_a_server_that_is_killed_in_the_middle_and_none_is_lost() {
    let ground = Ground::sqlite().await;
    let (committer, task, _) = ground.committer().await;
    let mut server = Rsyslog::new(Driver::Ossl);
    server.start();
    let config = server.config();
    let mut syslog = sender(&ground, 5, &config);
    found(&ground, &committer, 0..100).await;
    assert_eq!(send_all(&mut syslog).await, 100, "two sessions");
    server.wait_for(100);
    server.kill();
    found(&ground, &committer, 100..130).await;
    assert!(matches!(fails(&ground, &mut syslog).await, SyslogError::Unreachable(_)));
    // Another replica goes on from the place in the store, while the server is away and once it is back.
    drop(syslog);
    ground.clock.go_on(Duration::from_secs(100));
    let mut other = sender(&ground, 6, &config);
    assert!(matches!(fails(&ground, &mut other).await, SyslogError::Unreachable(_)));
    server.start();
    assert_eq!(send_all(&mut other).await, 30);
    found(&ground, &committer, 130..131).await;
    assert_eq!(send_all(&mut other).await, 1);
    server.wait_for(131);
    let messages = server.messages();
    let counts: Vec<u64> = messages.iter().map(ground::count).collect();
    assert_eq!(counts, (0..131).collect::<Vec<_>>(), "in the order of the log");
    for message in &messages {
        assert!(message.head.starts_with("<106>1 ") && message.head.contains(" vault-1 strongroom-vault "));
        assert!(message.head.contains("[finding@32473 id=\"") && message.head.contains(" index=\""));
        assert_eq!(message.event["metadata"]["version"], "1.8.0");
    }
    task.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_or_name_is_told_nothing_and_neither_are_we_by_ours() {
    let ground = Ground::sqlite().await;
    let (committer, task, _) = ground.committer().await;
    let mut server = Rsyslog::new(Driver::Ossl);
    server.start();
    found(&ground, &committer, 0..3).await;
    for wrong in [server.of_another_authority(), server.under_another_name(), server.shown_a_stranger()] {
        let mut syslog = sender(&ground, 5, &wrong);
        let error = fails(&ground, &mut syslog).await;
        // A server that refuses our certificate may reset the connection before its alert is read.
        assert!(matches!(error, SyslogError::Tls(_) | SyslogError::Broken(_)), "{error:?}");
        ground.clock.go_on(Duration::from_secs(100));
    }
    assert_eq!(server.messages().len(), 0);
    // What was refused waits, and comes once the certificates are right.
    assert_eq!(send_all(&mut sender(&ground, 5, &server.config())).await, 3);
    server.wait_for(3);
    task.stop().await;
}

/// rsyslog does this to a client that is not one of its permitted peers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_the_session_properly_without_reading_has_confirmed_nothing() {
    let ground = Ground::sqlite().await;
    let (committer, task, _) = ground.committer().await;
    let files = Rsyslog::new(Driver::Ossl);
    let (at_once, unread) = (closing_server(&files, false).await, closing_server(&files, true).await);
    found(&ground, &committer, 0..1).await;
    for (port, at_once) in [(at_once, true), (unread, false)] {
        let config = SyslogConfig { server: format!("localhost:{port}"), ..files.config() };
        let mut syslog = sender(&ground, 5, &config);
        for _ in 0..2 {
            let error = fails(&ground, &mut syslog).await;
            // On a busy machine it may end later than we wait for it: then it is the reset that tells.
            let told =
                matches!(error, SyslogError::Broken(_)) || at_once && matches!(error, SyslogError::Refused);
            assert!(told, "{at_once}: {error:?}");
        }
    }
    task.stop().await;
}

/// Ends every session with `close_notify` and the connection with what came unread: at once, or once something came.
async fn closing_server(files: &Rsyslog, waits: bool) -> u16 {
    use tokio::io::AsyncWriteExt as _;
    let acceptor = files.acceptor();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            if waits {
                let _ = stream.get_ref().0.peek(&mut [0; 1]).await;
            }
            stream.get_mut().1.send_close_notify();
            let _ = stream.flush().await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_the_server_does_not_end_properly_counts_only_where_that_was_configured() {
    let ground = Ground::sqlite().await;
    let (committer, task, _) = ground.committer().await;
    let mut server = Rsyslog::new(Driver::Gtls);
    server.start();
    found(&ground, &committer, 0..2).await;
    let mut syslog = sender(&ground, 5, &server.config());
    assert!(matches!(fails(&ground, &mut syslog).await, SyslogError::Unconfirmed));
    drop(syslog);
    let config = SyslogConfig { close_notify: CloseNotify::Optional, ..server.config() };
    assert_eq!(send_all(&mut sender(&ground, 5, &config)).await, 2);
    server.wait_for(4); // they came twice
    task.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_whose_syslog_server_is_away_is_ready_and_sends_when_it_is_back() {
    let mut server = Rsyslog::new(Driver::Ossl);
    let settings = format!("denied_least = 5\ndenied_percent = 90\n[watch.syslog]\n{}", server.settings());
    let folder = tempfile::tempdir().unwrap();
    let vault = crate::service::Service::start_watched(folder, &settings).await;
    vault.onboard("acme").await;
    for _ in 0..5 {
        assert_eq!(vault.send("intruder", "GET", "/v1/tenants", None).await.status(), 403);
    }
    let entry = vault.awaited("anomaly.found", "denied-ratio").await;
    let ready = crate::service::plain_get(vault.ops, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    server.start();
    server.wait_for(1);
    let name = format!("{}/{}", entry["boot_id"].as_str().unwrap(), entry["instance_seq"]);
    let message = &server.messages()[0];
    assert_eq!(message.event["metadata"]["uid"], name);
    assert!(message.head.contains(&format!("id=\"{name}\"")), "{}", message.head);
}

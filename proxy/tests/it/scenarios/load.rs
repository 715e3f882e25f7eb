//! Many calls at once.

use std::time::Duration;

use crate::psp::{Then, json};
use crate::world::{Setup, World};

#[tokio::test]
async fn one_slow_psp_sheds_what_it_cannot_take() {
    let route = "credentials = \"account\"\nin_flight_max = 2".into();
    let world = World::new(Setup { route, ..Default::default() }).await;
    for _ in 0..2 {
        world.psp.then(Then::After(Duration::from_millis(500), json("200 OK", "{}")));
    }
    let late = async {
        while world.psp.requests() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.create_usual().await
    };
    let (first, second, shed) = tokio::join!(world.create_usual(), world.create_usual(), late);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((shed.status, shed.problem().as_str()), (429, "rate-limited"));
    assert!(shed.header("retry-after").is_some());
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (2, 2));
    assert_eq!(world.create_usual().await.status, 200, "the slots are free again");
}

#[tokio::test]
async fn calls_at_once_share_nothing_and_each_is_recorded() {
    let world = World::usual().await;
    let calls: Vec<_> = (0..40).map(|_| world.create_usual()).collect();
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.status, 200);
    }
    assert_eq!((world.psp.requests(), world.vault.outcomes(40).await.len()), (40, 40));
}

#[tokio::test]
async fn a_stop_lets_the_call_end_and_tells_its_outcome() {
    let world = World::usual().await;
    world.psp.then(Then::After(Duration::from_millis(50), json("200 OK", "{}")));
    let stop = async {
        while world.psp.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.stop();
    };
    let (reply, ()) = tokio::join!(world.create_usual(), stop);
    assert_eq!(reply.status, 200);
    assert_eq!(world.vault.outcomes(1).await[0]["outcome"], "answered");
}

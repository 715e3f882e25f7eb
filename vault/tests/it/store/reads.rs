//! Reads of many cards.

use std::sync::Arc;

use strongroom_domain::{Environment, Token};
use strongroom_vault::store::{CardReader, Committed, StoreError};

use super::ground::Ground;

super::both! {
    look_ups_that_share_a_query_get_their_own_cards;
    an_unreadable_row_fails_its_own_look_up_only;
}

async fn look_ups_that_share_a_query_get_their_own_cards(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let mut cards = Vec::new();
    for _ in 0..30 {
        let card = ground.card("acme", key);
        assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
        cards.push(card);
    }
    let unknown = Token::generate(Environment::Test, ground.chance.as_ref()).unwrap();
    let reader = CardReader::start(Arc::clone(&ground.store));
    let lookups = (0..200).map(|n| {
        let (one, other) = (cards[n % 30].clone(), cards[(n * 7) % 30].clone());
        let (reader, unknown) = (reader.clone(), unknown.hash());
        tokio::spawn(async move {
            let found = reader.cards(vec![one.token.hash(), unknown, other.token.hash()]).await.unwrap();
            assert_eq!(found, vec![Some(one), None, Some(other)]);
        })
    });
    for lookup in futures_util::future::join_all(lookups).await {
        lookup.unwrap();
    }
    assert_eq!(reader.cards(Vec::new()).await.unwrap(), Vec::new());
    assert!(matches!(reader.cards(vec![unknown.hash(); 1_000]).await, Err(StoreError::Full)));
}

async fn an_unreadable_row_fails_its_own_look_up_only(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let [good, bad] = [(); 2].map(|()| ground.card("acme", key));
    for card in [&good, &bad] {
        committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    }
    ground.tamper(&format!("UPDATE cards SET token = 'x' WHERE token = '{}'", bad.token.as_str())).await;
    let reader = CardReader::start(Arc::clone(&ground.store));
    let lookups = (0..20).map(|n| {
        let (reader, token) = (reader.clone(), if n % 2 == 0 { good.token.hash() } else { bad.token.hash() });
        tokio::spawn(async move { reader.cards(vec![token]).await })
    });
    for (n, found) in futures_util::future::join_all(lookups).await.into_iter().enumerate() {
        match found.unwrap() {
            Ok(found) => assert_eq!((n % 2, &found[0]), (0, &Some(good.clone()))),
            Err(error) => assert_eq!((n % 2, matches!(error, StoreError::Corrupt(_))), (1, true)),
        }
    }
}

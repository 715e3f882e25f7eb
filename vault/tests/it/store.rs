//! The store: one suite, both drivers.

mod activity;
mod at_once;
mod audit;
mod commits;
mod ends;
mod events;
mod faults;
mod find;
mod first_use;
mod ground;
mod hand_over;
mod list;
pub(crate) mod log_bucket;
mod names;
mod once;
mod outage;
mod plans;
mod reads;
mod receipts;
mod schema;
mod signed_log;
mod signers;
mod suspensions;
mod syslog;
mod updates;
mod watch;

/// One test for each driver.
macro_rules! both {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        mod sqlite {
            $($(#[$doc])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::store::ground::Ground::sqlite().await).await; })*
        }
        mod postgres {
            $($(#[$doc])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::store::ground::Ground::postgres().await).await; })*
        }
    };
}
use both;

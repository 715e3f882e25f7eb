//! Work that follows requests and is none: on threads of its own, so that a request waits for a turn of it at most as long
//! as the system's scheduler lets it, never for a whole batch of entries.
//!
//! Promises: what runs here takes no turn of those who serve, and no connection of theirs to the database.

use std::future::Future;
use std::io;

use tokio::sync::oneshot;

/// What kind of work it is, in the scheduler's words (`nice(2)`).
#[derive(Clone, Copy)]
pub(super) enum Urgency {
    /// Somebody waits for it: a receipt is proved once its entry is in the tree.
    AsRequests,
    /// It may fall behind while requests need the processor, and catches up after.
    AfterRequests,
}

impl Urgency {
    const fn niceness(self) -> i32 {
        match self {
            Self::AsRequests => 0,
            Self::AfterRequests => 10,
        }
    }
}

/// Work on a thread of its own.
pub(super) struct Apart {
    ended: oneshot::Receiver<()>,
}

impl Apart {
    /// Starts it. `name` is the thread's: fifteen bytes are seen.
    pub(super) fn start<W, F>(name: &str, urgency: Urgency, work: W) -> io::Result<Self>
    where
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            give_way(urgency);
            runtime.block_on(work());
            drop(tell);
        })?;
        Ok(Self { ended })
    }

    /// Waits until it ended, in whatever way.
    pub(super) async fn ended(self) {
        let _ = self.ended.await; // nothing is ever sent: it is dropped, by a defect too
    }
}

/// Lets others go first from now on. It can always be asked for; if it is not given, the work only takes more.
fn give_way(urgency: Urgency) {
    let niceness = urgency.niceness();
    if niceness > 0
        && let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), niceness)
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "work behind requests takes turns like requests"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_may_wait_gives_way_and_what_others_wait_for_does_not() {
        for (urgency, niceness) in [(Urgency::AsRequests, 0), (Urgency::AfterRequests, 10)] {
            let (tell, told) = oneshot::channel();
            let apart = Apart::start("apart-test", urgency, move || async move {
                let own = rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
                tell.send(own).unwrap();
            });
            assert_eq!(told.await.unwrap(), niceness);
            apart.unwrap().ended().await;
        }
        // Only that thread: those who serve are as they were.
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_defect_of_it_is_an_end() {
        let apart = Apart::start("apart-test", Urgency::AsRequests, || async { panic!("a defect") });
        apart.unwrap().ended().await;
    }
}

//! One endpoint, one file: handler, request, errors, description.

pub mod audit {
    //! The audit log: its files, and receipts.
    pub mod log;
    pub mod receipt;
}
pub mod cards {
    //! Cards: in, shown, looked up, listed, changed, erased, restored.
    pub mod batch;
    pub mod create;
    mod cursor;
    pub mod erase;
    pub mod facts;
    pub mod list;
    pub mod lookup;
    pub mod match_number;
    pub mod restore;
    pub mod restore_many;
    pub mod show;
    pub mod update;
    pub mod updates;
}
pub mod events {
    //! Events: what destinations are told of cards.
    mod cursor;
    pub mod list;
    pub mod replay;
}
pub mod evidence;
pub mod exports {
    //! Exports: cards handed over in bulk, to one recipient key, when two people say so.
    pub mod approve;
    pub mod list;
    pub mod request;
    pub mod run;
    pub mod show;
    pub mod view;
}
pub mod find {
    //! Questions to the audit log.
    pub mod blast_radius;
    pub mod entries;
    pub(in crate::http) mod wanted;
}
pub mod forwards {
    //! Forwards: the one door out.
    pub mod open;
    pub mod outcome;
    pub mod read;
    pub mod reconcile;
    pub mod show;
    pub mod story;
}
pub mod keys {
    //! Keys: their successors.
    pub mod succeed;
}
pub mod retention;
pub mod suspensions {
    //! Suspensions: identities that are refused everything for now.
    pub mod lift;
    pub mod list;
    pub mod suspend;
    mod view;
}
pub mod reviews {
    //! Reviews: acknowledged by people, who sign.
    pub mod file;
    pub mod show;
}
pub mod tenants {
    //! Tenants: onboarding.
    pub mod list;
    pub mod put;
    pub mod show;
}

//! The values both Strongroom services share: cards, tokens, tenants, routes, problems.
//!
//! Promises: a value of these types has been checked; there is no `validate()`. No I/O, no clock, no ambient chance.
//! Upholds: C-01 (a card number is a type), C-02 (a token is not a card number).

pub mod alias;
pub mod brand;
pub mod card;
pub mod chance;
pub mod clock;
pub mod cvc;
pub mod environment;
pub mod expiry;
pub mod holder;
pub mod ids;
pub mod metadata;
pub mod pan;
pub mod problem;
pub mod route;
pub mod scan;
pub mod tenant;
pub mod test_numbers;
pub mod token;

pub use alias::{Alias, AliasHash, AliasKind, CardName};
pub use brand::Brand;
pub use card::{CardFacts, Digits, FactsKept};
pub use chance::{Random, RandomUnavailable};
pub use clock::{Clock, Timestamp};
pub use cvc::{Cvc, InvalidCvc};
pub use environment::Environment;
pub use expiry::{Expiry, InvalidExpiry};
pub use holder::{Holder, InvalidHolder};
pub use ids::{BootId, DataKeyId, DecisionId, ExportId, ForwardId, InvalidWorkloadId, RequestId, WorkloadId};
pub use metadata::{InvalidMetadata, Metadata, MetadataPatch};
pub use pan::{InvalidPan, Pan};
pub use problem::{Confirm, FirstState, Problem, ProblemKind};
pub use tenant::{InvalidTenantId, TenantId};
pub use token::{InvalidToken, Token, TokenHash, TokenRef};

//! The actions, and what each is about.
//!
//! The list is closed: a new verb is a new marker here, an action in `policies/schema.cedarschema` and a grant in a
//! family file.

use std::fmt;

use strongroom_domain::route::{Attribute, AttributeSet};
use strongroom_domain::{
    Environment, ExportId, ForwardId, TenantId, Timestamp, Token, TokenHash, WorkloadId,
};

use super::route::RouteFacts;
use crate::audit::ReceiptId;

/// One thing that can be permitted. Sealed: no action can be added outside `authz`.
pub trait Action: sealed::Sealed + 'static {
    /// What a permit speaks of. The operation acts on this and nothing else.
    type Subject: fmt::Debug + Send + Sync;
    /// What the store says of the subject; `()` where it says nothing.
    type Facts: Sync;
    /// Its name.
    const KIND: ActionKind;

    /// What policy is asked. Refuses facts about another tenant than the subject's.
    #[doc(hidden)]
    fn question<'a>(subject: &'a Self::Subject, facts: &'a Self::Facts)
    -> Result<Question<'a>, &'static str>;
}

mod sealed {
    pub trait Sealed {}
}

/// What policy is asked, less who asks and for which action.
#[doc(hidden)]
#[derive(Debug)]
pub enum Question<'a> {
    /// About a tenant.
    Tenant(&'a TenantFacts),
    /// About a card of a tenant, named by a token of `environment`.
    Card { tenant: &'a TenantFacts, environment: Environment },
    /// About sending cards of a tenant to an account of a route.
    Forward { tenant: &'a TenantFacts, subject: &'a OpenForwardSubject },
    /// About the story of a forward.
    Outcome(&'a ForwardFacts),
    /// About the vault itself.
    Service,
}

/// What an action is about: the variants of [`Question`], without their content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Tenant,
    Card,
    Forward,
    Outcome,
    Service,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident: $shape:ident($subject:ty, $facts:ty) = $question:expr;)*) => {
        /// The actions of the schema.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub enum ActionKind { $($(#[$doc])* $name,)* }

        impl ActionKind {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in the schema.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it is about.
            pub(super) const fn shape(self) -> Shape {
                match self { $(Self::$name => Shape::$shape,)* }
            }
        }

        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl sealed::Sealed for $name {}

            impl Action for $name {
                type Subject = $subject;
                type Facts = $facts;
                const KIND: ActionKind = ActionKind::$name;

                fn question<'a>(
                    subject: &'a $subject,
                    facts: &'a $facts,
                ) -> Result<Question<'a>, &'static str> {
                    let ask: for<'q> fn(&'q $subject, &'q $facts) -> Result<Question<'q>, &'static str> = $question;
                    ask(subject, facts)
                }
            }
        )*
    };
}

actions! {
    /// Put a card in and get a token.
    Tokenize: Tenant(TenantScope, TenantFacts) = TenantScope::question;
    /// Read the facts and metadata of a card; never its number.
    ReadCard: Card(CardScope, TenantFacts) = CardScope::question;
    /// Find tokens by the fingerprint of a number.
    MatchFingerprint: Tenant(TenantScope, TenantFacts) = TenantScope::question;
    /// Change expiry, number or metadata under the same token.
    UpdateCard: Card(CardScope, TenantFacts) = CardScope::question;
    /// Erase a card.
    EraseCard: Card(CardScope, TenantFacts) = CardScope::question;
    /// Show a hidden card again within its hold.
    RestoreCard: Tenant(RestoreScope, TenantFacts) = RestoreScope::question;
    /// Give a card a fresh verification code.
    AttachCvc: Card(CardScope, TenantFacts) = CardScope::question;
    /// Open a one-time session for a browser.
    OpenCaptureSession: Tenant(TenantScope, TenantFacts) = TenantScope::question;
    /// Release card data for one call to one PSP: the one door out. The principal is the proxy.
    OpenForward: Forward(OpenForwardSubject, TenantFacts) = OpenForwardSubject::question;
    /// Record, or read, how a forward ended.
    RecordOutcome: Outcome(ForwardId, ForwardFacts) = |_, facts| Ok(Question::Outcome(facts));
    /// Read the story of a forward of a tenant: who, where to, by which rule, how it ended; never card data.
    ReadForward: Tenant(ForwardScope, TenantFacts) = ForwardScope::question;
    /// Say what the PSP says of a forward whose outcome is unknown. That it never arrived lets the payment be tried again.
    ReconcileForward: Tenant(ForwardScope, TenantFacts) = ForwardScope::question;
    /// Bring existing cards in.
    Import: Tenant(TenantScope, TenantFacts) = TenantScope::question;
    /// Ask for, approve, run and read exports: card numbers in bulk, to one recipient key. Two people, never a service.
    ExportCards: Tenant(ExportScope, TenantFacts) = ExportScope::question;
    /// Read the audit log.
    ReadAudit: Service((), ()) = |(), ()| Ok(Question::Service);
    /// Read what the audit log says of a tenant.
    ReadTenantAudit: Tenant(TenantScope, TenantFacts) = TenantScope::question;
    /// Read receipts of a tenant's changes and forwards: what was done for it, with the proof that it is on the log.
    ReadReceipt: Tenant(ReceiptScope, TenantFacts) = ReceiptScope::question;
    /// Read the evidence bundle and the access review.
    ReadEvidence: Service((), ()) = |(), ()| Ok(Question::Service);
    /// Acknowledge that the access matrix was reviewed, and see it for that. A person, who signs.
    ReviewAccess: Service((), ()) = |(), ()| Ok(Question::Service);
    /// Acknowledge that the log was reviewed, and see what is on it since the last time. A person, who signs.
    ReviewLog: Service((), ()) = |(), ()| Ok(Question::Service);
    /// List and rotate data keys.
    ManageKeys: Service((), ()) = |(), ()| Ok(Question::Service);
    /// See what destinations are told of cards, and tell it again.
    ManageEvents: Service((), ()) = |(), ()| Ok(Question::Service);
    /// Suspend a workload: refuse it everything for now.
    SuspendWorkload: Service(WorkloadId, ()) = |_, ()| Ok(Question::Service);
    /// End the suspension of a workload.
    ResumeWorkload: Service(WorkloadId, ()) = |_, ()| Ok(Question::Service);
    /// Create, change, suspend and show a tenant.
    ManageTenant: Tenant(TenantScope, TenantFacts) = TenantScope::question;
}

/// [`ReadCard`] for whatever cards of a tenant: looked up by many names, or listed. Policy knows one verb for reading facts; a
/// permit for one card is none for all.
#[derive(Debug)]
pub enum ReadCards {}

impl sealed::Sealed for ReadCards {}

impl Action for ReadCards {
    type Subject = TenantCards;
    type Facts = TenantFacts;
    const KIND: ActionKind = ActionKind::ReadCard;

    fn question<'a>(subject: &'a TenantCards, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        let tenant = facts.must_be_of(&subject.tenant)?;
        Ok(Question::Card { tenant, environment: subject.environment })
    }
}

/// [`UpdateCard`] for whatever cards of a tenant: an account updater names many.
#[derive(Debug)]
pub enum UpdateCards {}

impl sealed::Sealed for UpdateCards {}

impl Action for UpdateCards {
    type Subject = TenantCards;
    type Facts = TenantFacts;
    const KIND: ActionKind = ActionKind::UpdateCard;

    fn question<'a>(subject: &'a TenantCards, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        let tenant = facts.must_be_of(&subject.tenant)?;
        Ok(Question::Card { tenant, environment: subject.environment })
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the store says of a tenant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TenantFacts {
    /// Its name.
    pub id: TenantId,
    /// The groups it is in. Every tenant is also in the group `*`.
    pub groups: Vec<String>,
    /// Whether it is suspended.
    pub suspended: bool,
}

impl TenantFacts {
    /// Facts of a tenant the store does not know: in no group but `*`.
    #[must_use]
    pub const fn unknown(id: TenantId) -> Self {
        Self { id, groups: Vec::new(), suspended: false }
    }

    fn must_be_of(&self, tenant: &TenantId) -> Result<&Self, &'static str> {
        if self.id == *tenant { Ok(self) } else { Err("facts-of-another-tenant") }
    }
}

/// A subject that is a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantScope {
    /// The tenant.
    pub tenant: TenantId,
}

impl TenantScope {
    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        facts.must_be_of(&self.tenant).map(Question::Tenant)
    }
}

/// A card as requests name it: by the hash of its token, and the environment the token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedCard {
    /// Hash of the token.
    pub token: TokenHash,
    /// Environment in the token's prefix.
    pub environment: Environment,
}

impl From<&Token> for NamedCard {
    fn from(token: &Token) -> Self {
        Self { token: token.hash(), environment: token.environment() }
    }
}

/// A subject that is one card of one tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardScope {
    /// The tenant.
    pub tenant: TenantId,
    /// The card.
    pub card: NamedCard,
}

impl CardScope {
    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        let tenant = facts.must_be_of(&self.tenant)?;
        Ok(Question::Card { tenant, environment: self.card.environment })
    }
}

/// A subject that is all cards of one tenant in one environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantCards {
    /// The tenant.
    pub tenant: TenantId,
    /// Environment in the tokens' prefix.
    pub environment: Environment,
}

/// A subject that is hidden cards of one tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreScope {
    /// The tenant.
    pub tenant: TenantId,
    /// Which of its cards.
    pub cards: RestoredCards,
}

/// Hidden cards, by name or by whom and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestoredCards {
    /// One, by the hash of its token.
    One(TokenHash),
    /// Those hidden within a time.
    Hidden {
        /// By this caller; by anybody if none.
        by: Option<WorkloadId>,
        /// From this time on.
        from: Timestamp,
        /// Before this time.
        until: Timestamp,
    },
}

impl RestoreScope {
    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        facts.must_be_of(&self.tenant).map(Question::Tenant)
    }
}

/// A subject that is one export of a tenant, or its exports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportScope {
    /// The tenant.
    pub tenant: TenantId,
    /// Which export; none for a new one, and for all.
    pub export: Option<ExportId>,
}

impl ExportScope {
    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        facts.must_be_of(&self.tenant).map(Question::Tenant)
    }
}

/// A subject that is one forward of a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardScope {
    /// The tenant.
    pub tenant: TenantId,
    /// Which forward.
    pub forward: ForwardId,
}

impl ForwardScope {
    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        facts.must_be_of(&self.tenant).map(Question::Tenant)
    }
}

/// A subject that is entries of one tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptScope {
    /// The tenant.
    pub tenant: TenantId,
    /// Which entries.
    pub receipt: ReceiptId,
}

impl ReceiptScope {
    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        facts.must_be_of(&self.tenant).map(Question::Tenant)
    }
}

/// One card of a forward and what of it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WantedCard {
    /// The card.
    pub card: NamedCard,
    /// What the forward may take of it, and no more.
    pub attributes: AttributeSet,
}

/// A subject that is one forward. Who asks is the proxy: [`super::Permit::workload`].
#[derive(Clone, Debug)]
pub struct OpenForwardSubject {
    /// On whose behalf, by the proxy's word.
    pub caller: WorkloadId,
    /// Whose cards.
    pub tenant: TenantId,
    /// Where to: made by [`super::Authorizer::check_route`].
    pub route: RouteFacts,
    /// The cards, in the order asked for.
    pub cards: Vec<WantedCard>,
}

impl OpenForwardSubject {
    /// Everything asked for, of any card.
    #[must_use]
    pub fn attributes(&self) -> AttributeSet {
        let asked =
            |attribute: &Attribute| self.cards.iter().any(|card| card.attributes.contains(*attribute));
        Attribute::ALL.into_iter().filter(asked).collect()
    }

    fn question<'a>(&'a self, facts: &'a TenantFacts) -> Result<Question<'a>, &'static str> {
        let tenant = facts.must_be_of(&self.tenant)?;
        Ok(Question::Forward { tenant, subject: self })
    }
}

/// What the store says of a forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardFacts {
    /// The proxy that opened it.
    pub opened_by: WorkloadId,
}

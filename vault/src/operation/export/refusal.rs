//! Why an export does not go on: a word for the log, a sentence for whoever asked.

use crate::operation::OperationError;

/// Why an export does not go on. No card left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportRefusal {
    /// The configuration does not turn exports on.
    Off,
    /// Live cards need people who sign in with a second factor.
    Live,
    /// The approver is the person who asked, by whatever identity.
    SamePerson,
    /// Neither asked nor approved.
    NotTheirs,
    /// Who asked or approved is no exporter any more, or another person.
    NoLongerTheirs,
    /// Nobody approved it yet.
    NotApproved,
    /// Somebody else approved it already.
    Approved,
    /// Its time is over.
    Expired,
    /// The hash is another request's.
    OtherRequest,
    /// Every run was used.
    RunsUsedUp,
    /// More cards than agreed.
    TooManyCards,
    /// Another run is under way.
    Busy,
    /// The day's cards are used up.
    DayUsedUp,
}

impl std::fmt::Display for ExportRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for ExportRefusal {}

impl ExportRefusal {
    /// The word of the audit entry.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Off => "exports-off",
            Self::Live => "live-needs-sign-in",
            Self::SamePerson => "same-person",
            Self::NotTheirs => "not-theirs",
            Self::NoLongerTheirs => "no-longer-theirs",
            Self::NotApproved => "not-approved",
            Self::Approved => "approved-already",
            Self::Expired => "expired",
            Self::OtherRequest => "other-request",
            Self::RunsUsedUp => "runs-used-up",
            Self::TooManyCards => "too-many-cards",
            Self::Busy => "another-run",
            Self::DayUsedUp => "day-used-up",
        }
    }

    /// The sentence for whoever asked.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Off => {
                "exports are off: [export] enabled = true in the vault's configuration turns them on"
            }
            Self::Live => "live cards are not exported until people sign in with a second factor",
            Self::SamePerson => "the person who asked for an export cannot approve it",
            Self::NotTheirs => "an export is run by one of the two people who agreed to it",
            Self::NoLongerTheirs => "one of the two people may not export any more; ask anew",
            Self::NotApproved => "nobody has approved this export yet",
            Self::Approved => "this export is approved already",
            Self::Expired => "the time of this export is over; ask anew",
            Self::OtherRequest => "the content hash is not this request's: read the request again",
            Self::RunsUsedUp => "the runs of this export are used up; ask anew",
            Self::TooManyCards => "there are more cards than the two people agreed to; ask anew",
            Self::Busy => "another run is under way; one at a time",
            Self::DayUsedUp => "no more cards are exported today",
        }
    }
}

impl From<ExportRefusal> for OperationError {
    fn from(refusal: ExportRefusal) -> Self {
        Self::Export(refusal)
    }
}

//! Finding card numbers where none may be: in files, folders, dumps and streams of any size (PCI DSS 12.5.2, 12.10.7).
//!
//! Promises: a number in one of the [`Encoding`]s is found at any offset, also across the edges of what is read at once;
//! memory is bounded whatever is read; what could not be searched is told, never passed over; nothing that is shown holds
//! more of a number than its first six and last four digits (PCI DSS 3.4.1).
//! Does not promise: that what is found is a card number. A chance run of 16 digits passes issuer prefix, length and check
//! digit about once in twenty-five; `vault/docs/scan.md` has the rates measured. No sight through encryption, nor through compression other
//! than gzip.
//! Upholds: C-60.

mod base64;
mod files;
mod finding;
mod ignore;
mod member;
mod number;
mod reading;
mod report;
mod stream;

pub use files::{Scan, Totals, Trouble};
pub use finding::{Encoding, Finding, Shown};
pub use ignore::{Ignores, InvalidIgnores};
pub use member::Budget;
pub use report::{Format, Located, Report, Standing};
pub use stream::Stream;

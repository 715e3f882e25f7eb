//! Bodies, read for what stands where and never written anew.
//!
//! Promises: readers give byte ranges of the body they read, so that what is not replaced stays as it came, byte for
//! byte: whitespace, key order, the spelling of numbers, escapes.
//! Does not promise: to keep anything secret; what a body holds is the caller's affair.

pub(crate) mod edit;
pub(crate) mod escapes;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod multipart;
pub(crate) mod xml;

/// Why a body is not what its format says. A constant of this program: nothing of the body is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

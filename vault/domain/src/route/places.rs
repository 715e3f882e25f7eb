//! Whether the places of a call can be what they are declared for: everything that is wrong, for whoever mends it.

use std::collections::BTreeSet;

use super::selector;
use super::{AllowedCall, Attribute, BodyFormat, Inject, JsonForm, Source};

/// One thing wrong with a call.
pub(super) struct Fault {
    /// The place it is about; none: the call itself.
    pub(super) place: Option<usize>,
    /// The setting to look at.
    pub(super) setting: &'static str,
    /// A sentence with the call's path.
    pub(super) reason: String,
    /// Whether it may only follow from a fault of another place.
    pub(super) follows: bool,
}

/// What is wrong with a call, most telling first for each place.
pub(super) fn faults(call: &AllowedCall) -> Vec<Fault> {
    let path = call.path.as_str();
    let mut faults = of_call(call);
    let mut seen = BTreeSet::new();
    for (index, inject) in call.inject.iter().enumerate() {
        let twice = !seen.insert(&inject.at);
        if let Some((setting, why)) = of_place(call.body, inject, twice) {
            let reason = format!("{path}: `{}`{why}", inject.at);
            faults.push(Fault { place: Some(index), setting, reason, follows: false });
        }
    }
    for (index, inject) in call.inject.iter().enumerate() {
        let Source::Carried { from } = &inject.source else { continue };
        let carrier = call.inject.iter().find(|other| other.at == *from);
        if !carrier.is_some_and(|other| other.attribute == Attribute::Number && other.source == Source::Own) {
            let reason =
                format!("{path}: `{}` is filled from `{from}`, which is no declared number", inject.at);
            faults.push(Fault { place: Some(index), setting: "from", reason, follows: true });
        }
    }
    if !call.inject.iter().any(|inject| inject.attribute == Attribute::Number) {
        let reason = format!("{path}: no place for a number: list the call under `pass`");
        faults.push(Fault { place: None, setting: "inject", reason, follows: true });
    }
    faults
}

fn of_call(call: &AllowedCall) -> Vec<Fault> {
    let path = call.path.as_str();
    let fault =
        |setting, why: &str| Fault { place: None, setting, reason: format!("{path}: {why}"), follows: false };
    let mut faults = Vec::new();
    if call.namespace.is_some() && call.body != BodyFormat::Xml {
        faults.push(fault("namespace", "`namespace` is for `body = \"xml\"`"));
    }
    if let Some(encryption) = &call.encryption {
        if call.body != BodyFormat::Json {
            faults.push(fault("encrypt", "`encrypt` is for JSON bodies"));
        } else if let Err(reason) = encryption.check() {
            faults.push(fault("encrypt", &reason));
        }
    }
    if let Some(once) = &call.once
        && let Err(reason) = once.check(call.body, &call.inject)
    {
        faults.push(fault("reference", &reason));
    }
    faults
}

/// What is wrong with a place by itself, and the setting that says it.
fn of_place(body: BodyFormat, inject: &Inject, twice: bool) -> Option<(&'static str, &'static str)> {
    if !selector::fits(body, inject) {
        Some(("at", " can never match a body of this format"))
    } else if twice {
        Some(("at", " is declared twice"))
    } else if (inject.attribute == Attribute::Exp) != inject.format.is_some() {
        Some(("format", ": `format` belongs to `value = \"exp\"`, and only there"))
    } else if inject.header().is_some() && inject.attribute == Attribute::Holder {
        Some(("at", ": a holder's name may hold what no header can"))
    } else if inject.json_form == JsonForm::Integer && inject.attribute != Attribute::Exp {
        Some(("json", ": only an expiry can stand as a bare integer"))
    } else {
        None
    }
}

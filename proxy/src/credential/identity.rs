//! Whose account a request names besides its credential: header, path, query, body, token.
//!
//! Promises: what names an account is the account's own, or one it lists, wherever the route says it can stand; a
//! second spelling of the same place is refused, because a PSP may read that one: in the query, in a body of another
//! kind, in other brackets.
//! Upholds: C-18, C-43.

mod body;
mod spellings;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use strongroom_domain::route::{
    ANY, Account, Call, Credentials, IdentityAt, IdentityPlace, IdentityValue, Route,
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use self::body::Home;
use self::spellings::Spellings;
use super::{AccountKeys, CredentialRefused, PLACEHOLDER, is_spelled_like};
use crate::body::edit::{self, Edit};
use crate::body::form;
use crate::fields;
use crate::sign::{Claim, Form};

/// Where the names of one request are looked for.
pub struct Named<'a> {
    /// The route.
    pub route: &'a Route,
    /// What it says of the call.
    pub call: Call<'a>,
    /// The account.
    pub account: &'a Account,
    /// Its secrets.
    pub keys: &'a AccountKeys,
    /// Path without query.
    pub path: &'a str,
    /// Query without `?`.
    pub query: &'a str,
    /// The caller's own signature or token, if the route signs.
    pub form: Option<&'a Form>,
    /// Content type of the body.
    pub content_type: Option<&'a str>,
}

/// What becomes of a value that stands at a place.
enum Verdict {
    Stays,
    Becomes(Zeroizing<String>),
}

impl Named<'_> {
    /// Checks every place and writes the account's own into the headers; gives the body anew if it was written there too.
    pub fn apply(&self, headers: &mut HeaderMap, body: &[u8]) -> Result<Option<Bytes>, CredentialRefused> {
        if self.route.credentials == Credentials::Unpinned {
            return Ok(None);
        }
        let mut edits = Vec::new();
        let in_bodies = self.route.identity.iter().filter_map(|place| Home::of(&place.at));
        let reads_xml = in_bodies.clone().any(|home| home == Home::Xml);
        let spellings = in_bodies
            .clone()
            .next()
            .map(|_| Spellings::read(self.query, self.content_type, body, reads_xml))
            .transpose()?;
        for place in &self.route.identity {
            match &place.at {
                IdentityAt::Header(name) => self.header(place, name, headers)?,
                IdentityAt::Path(name) => self.in_path(place, name)?,
                IdentityAt::Query(name) => self.in_query(place, name)?,
                IdentityAt::Claim(name) => self.in_claims(place, name)?,
                IdentityAt::Field(_) | IdentityAt::Element(_) => {
                    let spelled = spellings.as_ref().map_or(Ok(0), |all| all.count(self.route, &place.at))?;
                    edits.extend(self.in_body(place, body, spelled)?);
                }
            }
        }
        let changed = !edits.is_empty();
        Ok(changed.then(|| Bytes::from_owner(Zeroizing::new(edit::apply(body, edits)))))
    }

    fn header(
        &self,
        place: &IdentityPlace,
        name: &str,
        headers: &mut HeaderMap,
    ) -> Result<(), CredentialRefused> {
        let name = HeaderName::try_from(name).map_err(|_| CredentialRefused)?;
        if headers.keys().any(|given| is_spelled_like(given, &name)) {
            return Err(CredentialRefused);
        }
        let mut values = headers.get_all(&name).iter();
        let verdict = match (values.next(), values.next()) {
            (None, _) if !place.required => return Ok(()),
            (None, _) => self.judge(place, PLACEHOLDER)?,
            (Some(value), None) => {
                self.judge(place, value.to_str().map_err(|_| CredentialRefused)?.trim())?
            }
            (Some(_), Some(_)) => return Err(CredentialRefused),
        };
        if let Verdict::Becomes(own) = verdict {
            let mut value = HeaderValue::from_str(&own).map_err(|_| CredentialRefused)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(())
    }

    /// A path is the caller's whole: it is right or refused.
    fn in_path(&self, place: &IdentityPlace, name: &str) -> Result<(), CredentialRefused> {
        let pattern = match self.call {
            Call::Allowed(call) => &call.path,
            Call::Passed(call) => &call.path,
        };
        pattern.capture(name, self.path).map_or(Ok(()), |value| self.must_stay(place, value))
    }

    fn in_query(&self, place: &IdentityPlace, name: &str) -> Result<(), CredentialRefused> {
        let mut found = 0;
        for pair in self.query.split(['&', ';']) {
            let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode =
                |text: &str| String::from_utf8_lossy(form::decode(text.as_bytes()).bytes()).into_owned();
            if fields::may_mean(&decode(given), name) {
                found += 1;
                self.must_stay(place, &decode(value))?;
            }
        }
        if found > 1 || (found == 0 && place.required) { Err(CredentialRefused) } else { Ok(()) }
    }

    fn in_claims(&self, place: &IdentityPlace, name: &str) -> Result<(), CredentialRefused> {
        match self.form.and_then(|form| form.claim(name)) {
            Some(Claim::Text(value)) => self.must_stay(place, value),
            Some(Claim::NoText) => Err(CredentialRefused),
            Some(Claim::Absent) if place.required => Err(CredentialRefused),
            Some(Claim::Absent) | None => Ok(()),
        }
    }

    /// What changes in a body, in which the place is spelled so often. One that is empty names nobody.
    fn in_body(
        &self,
        place: &IdentityPlace,
        body: &[u8],
        spelled: usize,
    ) -> Result<Option<Edit>, CredentialRefused> {
        if body.is_empty() {
            return Ok(None);
        }
        let here = Home::of_body(self.content_type);
        // A body of another kind than the place is for: it does not spell the place, or was refused.
        let is_here = Home::of(&place.at) == here;
        let namespace = self.call.allowed().and_then(|call| call.namespace.as_deref());
        let found = if is_here { body::find(&place.at, namespace, body)? } else { None };
        if spelled != usize::from(found.is_some()) {
            return Err(CredentialRefused);
        }
        let Some((span, value)) = found else {
            // Where the same name has a place in a body of this kind, that one is required.
            let has_place_here =
                !is_here
                    && self.route.identity.iter().any(|other| {
                        other.name == place.name && other.required && Home::of(&other.at) == here
                    });
            return if place.required && !has_place_here { Err(CredentialRefused) } else { Ok(None) };
        };
        Ok(match self.judge(place, &value)? {
            Verdict::Stays => None,
            Verdict::Becomes(own) => Some(Edit { span, text: body::write(here, &own) }),
        })
    }

    fn must_stay(&self, place: &IdentityPlace, value: &str) -> Result<(), CredentialRefused> {
        match self.judge(place, value)? {
            Verdict::Stays => Ok(()),
            Verdict::Becomes(_) => Err(CredentialRefused),
        }
    }

    fn judge(&self, place: &IdentityPlace, value: &str) -> Result<Verdict, CredentialRefused> {
        match self.account.identity.get(&place.name).ok_or(CredentialRefused)? {
            IdentityValue::One(own) if value == PLACEHOLDER => Ok(Verdict::Becomes(own.clone().into())),
            IdentityValue::One(own) if value == own => Ok(Verdict::Stays),
            IdentityValue::Listed(all) if value != PLACEHOLDER && is_listed(all, value) => Ok(Verdict::Stays),
            IdentityValue::File { .. } if value == PLACEHOLDER => {
                self.keys.identity.get(&place.name).cloned().map(Verdict::Becomes).ok_or(CredentialRefused)
            }
            IdentityValue::Digests { sha256 } => {
                let digest: [u8; 32] = Sha256::digest(value.as_bytes()).into();
                let listed = sha256.iter().fold(0, |found, one| found | one.0.ct_eq(&digest).unwrap_u8());
                if listed == 1 { Ok(Verdict::Stays) } else { Err(CredentialRefused) }
            }
            IdentityValue::One(_) | IdentityValue::Listed(_) | IdentityValue::File { .. } => {
                Err(CredentialRefused)
            }
        }
    }
}

fn is_listed(all: &[String], value: &str) -> bool {
    all.iter().any(|one| one == ANY || one == value)
}

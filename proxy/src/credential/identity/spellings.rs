//! The names of all fields of a request, however they are spelled and wherever a PSP could take them from.
//!
//! Promises: a name found here is one some reader takes for the place's: from the query, from a body of any kind, parted by
//! `;`, with brackets around or after it, in other case, with spaces or other signs in it. What has no names we can read
//! is refused.

use strongroom_domain::route::{IdentityAt, Route};

use super::CredentialRefused;
use crate::body::Malformed;
use crate::body::json::{self, Event, Path, Pointer, Reading, Segment};
use crate::body::multipart;
use crate::fields;

/// From where a PSP would take a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Query,
    Form,
    Multipart,
    Json,
}

/// The steps of a name, from the outermost; compared without what readers overlook.
type Steps = Vec<String>;

/// Every field of a request.
pub(super) struct Spellings(Vec<(Source, Steps)>);

impl Spellings {
    /// Reads query and body.
    pub(super) fn read(
        query: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, CredentialRefused> {
        let mut found = Self(Vec::new());
        fields::form_names(query.as_bytes()).for_each(|name| found.add(Source::Query, &name));
        if body.is_empty() {
            return Ok(found);
        }
        let content_type = content_type.ok_or(CredentialRefused)?;
        match fields::essence(content_type).as_str() {
            "application/x-www-form-urlencoded" => {
                fields::form_names(body).for_each(|name| found.add(Source::Form, &name));
            }
            "multipart/form-data" => {
                let boundary = multipart::boundary(content_type).ok_or(CredentialRefused)?;
                for part in multipart::parts(body, boundary).map_err(|_| CredentialRefused)? {
                    found.add(Source::Multipart, &String::from_utf8_lossy(&body[part.name]));
                }
            }
            kind if fields::is_json(kind) => found.add_json(body)?,
            _ => return Err(CredentialRefused),
        }
        Ok(found)
    }

    /// How often the field at `at` is spelled where it belongs. Anywhere else it is refused, unless the route says of
    /// that place too whom it may name.
    pub(super) fn count(&self, route: &Route, at: &str) -> Result<usize, CredentialRefused> {
        let (home, steps) = declared(at);
        let is_judged = |source: Source| {
            route.identity.iter().any(|place| match &place.at {
                IdentityAt::Field(other) => declared(other) == (source, steps.clone()),
                IdentityAt::Query(name) => source == Source::Query && steps_of(name) == steps,
                IdentityAt::Header(_) | IdentityAt::Path(_) | IdentityAt::Claim(_) => false,
            })
        };
        let here = self.0.iter().filter(|(_, found)| *found == steps).map(|(source, _)| *source);
        if here.clone().any(|source| source != home && !is_judged(source)) {
            return Err(CredentialRefused);
        }
        Ok(here.filter(|source| *source == home).count())
    }

    fn add(&mut self, source: Source, name: &str) {
        let (all, short) = (steps_of(name), steps_of(cut(name)));
        if all != short {
            self.0.push((source, short));
        }
        self.0.push((source, all));
    }

    fn add_json(&mut self, body: &[u8]) -> Result<(), CredentialRefused> {
        let scanned = json::scan(body, Reading::Strict, |path, event| {
            if !matches!(event, Event::Key(_)) {
                self.0.push((Source::Json, steps_to(path)));
            }
            Ok::<(), Malformed>(())
        });
        scanned.map_err(|_| CredentialRefused)
    }
}

/// Where a declared field belongs, and its steps.
fn declared(at: &str) -> (Source, Steps) {
    match Pointer::parse(at) {
        Some(pointer) => (Source::Json, pointer.steps().iter().flat_map(|step| steps_of(step)).collect()),
        None => (Source::Form, steps_of(at)),
    }
}

fn steps_to(path: &Path<'_>) -> Steps {
    let steps = path.segments().iter().flat_map(|segment| match segment {
        Segment::Key(name) => steps_of(name),
        Segment::Index(index) => vec![index.to_string()],
    });
    steps.collect()
}

/// `a[b][]`, ` A [b]` and `[a]b` are all `a`, `b`. C readers stop at a zero; PHP reads `.` and a space as `_`.
fn steps_of(name: &str) -> Steps {
    let steps = name.split('\0').next().unwrap_or_default().split(['[', ']']);
    let steps = steps.map(|step| step.chars().filter(|char| char.is_alphanumeric()).collect::<String>());
    steps.filter(|step| !step.is_empty()).map(|step| step.to_lowercase()).collect()
}

/// A name up to the bracket that closes and that none follows which opens: PHP overlooks the rest.
fn cut(name: &str) -> &str {
    let closing = name.match_indices(']').map(|(at, _)| at + 1);
    let end = closing.into_iter().find(|end| !name[*end..].starts_with('['));
    &name[..end.unwrap_or(name.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_overlook_what_steps_leave_out() {
        for name in ["a_b[c]", "[a_b][c]", "a_b[c][]", " A_B[ c ]", "a.b[c]", "a b[C\t]", "a_b[c\0", "a_b]c"]
        {
            assert_eq!(steps_of(name), ["ab", "c"], "{name}");
        }
        for name in ["a_b", "a_b[c][d]", "c[a_b]", "a[b][c]", "x[a_b][c]", ""] {
            assert_ne!(steps_of(name), ["ab", "c"], "{name}");
        }
        for (name, short) in [("a[b]x[c]", "a[b]"), ("a[b]x", "a[b]"), ("a[b][c]", "a[b][c]"), ("a", "a")] {
            assert_eq!(cut(name), short);
        }
        assert_eq!(declared("/a_b/c"), (Source::Json, vec!["ab".into(), "c".into()]));
    }
}

//! The names of all fields of a request, however they are spelled and wherever a PSP could take them from.
//!
//! Promises: a name found here is one some reader takes for the place's: from the query, from a body of any kind, parted by
//! `;`, with brackets around or after it, in other case, with spaces or other signs in it. What has no names we can read
//! is refused.

use strongroom_domain::route::{IdentityAt, Route};

use super::CredentialRefused;
use super::body::Home;
use crate::body::json::{self, Event, Path, Pointer, Reading, Segment};
use crate::body::{Malformed, multipart, xml};
use crate::fields;

/// From where a PSP would take a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Query,
    Form,
    Multipart,
    Json,
    Xml,
}

/// The steps of a name, from the outermost; compared without what readers overlook.
type Steps = Vec<String>;

/// The first step of a declared place whose root may have any name. No step that was found is written so.
const ANY: &str = "*";

/// Every field of a request.
pub(super) struct Spellings(Vec<(Source, Steps)>);

impl Spellings {
    /// Reads query and body; one of XML only where the route has a place in it.
    pub(super) fn read(
        query: &str,
        content_type: Option<&str>,
        body: &[u8],
        reads_xml: bool,
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
            kind if reads_xml && fields::is_xml(kind) => found.add_xml(body)?,
            _ => return Err(CredentialRefused),
        }
        Ok(found)
    }

    /// How often a place in a body is spelled where it belongs. Anywhere else it is refused, unless the route says of
    /// that place too whom it may name.
    pub(super) fn count(&self, route: &Route, at: &IdentityAt) -> Result<usize, CredentialRefused> {
        let (home, steps) = declared(at).ok_or(CredentialRefused)?;
        let is_judged = |source: Source| {
            route.identity.iter().any(|place| match &place.at {
                IdentityAt::Query(name) => source == Source::Query && steps_of(name) == steps,
                other => declared(other).is_some_and(|found| found == (source, steps.clone())),
            })
        };
        let here = self.0.iter().filter(|(_, found)| is_at(found, &steps)).map(|(source, _)| *source);
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

    /// Elements and attributes of any namespace: a reader may overlook those.
    fn add_xml(&mut self, body: &[u8]) -> Result<(), CredentialRefused> {
        let scanned = xml::scan(body, None, Reading::Strict, |path, event| {
            if matches!(event, xml::Event::Value(_)) {
                let local = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
                self.0.push((Source::Xml, path.names().flat_map(|name| steps_of(&local(name))).collect()));
            }
            Ok::<(), Malformed>(())
        });
        scanned.map_err(|_| CredentialRefused)
    }
}

/// Where a declared place of a body belongs, and its steps.
fn declared(at: &IdentityAt) -> Option<(Source, Steps)> {
    let (source, text) = match (Home::of(at)?, at) {
        (Home::Json, IdentityAt::Field(at)) => (Source::Json, at),
        (Home::Form, IdentityAt::Field(at)) => return Some((Source::Form, steps_of(at))),
        (Home::Xml, IdentityAt::Element(at)) => (Source::Xml, at),
        _ => return None,
    };
    // An attribute and an element below are one name to readers that make members of both.
    let text = if source == Source::Xml { format!("/{}", text.replace('@', "/")) } else { text.clone() };
    let pointer = Pointer::parse(&text)?;
    let steps = pointer.steps().iter().enumerate().flat_map(|(depth, step)| match (depth, step.as_str()) {
        (0, ANY) => vec![ANY.to_owned()],
        _ => steps_of(step),
    });
    Some((source, steps.collect()))
}

fn is_at(found: &Steps, declared: &Steps) -> bool {
    let mut both = found.iter().zip(declared);
    found.len() == declared.len() && both.all(|(found, declared)| declared == ANY || found == declared)
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
        let field = |at: &str| declared(&IdentityAt::Field(at.into())).unwrap();
        assert_eq!(field("/a_b/c"), (Source::Json, vec!["ab".into(), "c".into()]));
        assert_eq!(field("a_b[c]"), (Source::Form, vec!["ab".into(), "c".into()]));
        let (source, steps) = declared(&IdentityAt::Element("*/a_b/c".into())).unwrap();
        assert_eq!((source, steps.as_slice()), (Source::Xml, &["*".to_owned(), "ab".into(), "c".into()][..]));
        let attribute = declared(&IdentityAt::Element("a_b@c".into())).unwrap();
        assert_eq!(attribute, (Source::Xml, vec!["ab".into(), "c".into()]));
        for (found, is) in [(["x", "ab", "c"], true), (["y", "ab", "c"], true), (["x", "ab", "d"], false)] {
            assert_eq!(is_at(&found.map(str::to_owned).to_vec(), &steps), is, "{found:?}");
        }
    }
}

//! Where a value stands, and the selectors that say so.

/// The elements from the root to a value, and the attribute where it is one.
#[derive(Default, Debug)]
pub(crate) struct Path<'a> {
    elements: Vec<Segment<'a>>,
    pub(super) attribute: Option<&'a str>,
}

/// One element.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) local: &'a str,
    /// It is in the namespace asked for.
    pub(super) at_home: bool,
}

impl<'a> Path<'a> {
    /// The local names of its elements from the root, and that of an attribute.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.elements.iter().map(|element| element.local).chain(self.attribute)
    }

    pub(super) fn push(&mut self, segment: Segment<'a>) {
        self.elements.push(segment);
    }

    pub(super) fn pop(&mut self) {
        self.elements.pop();
    }

    /// How many elements deep.
    pub(crate) fn depth(&self) -> usize {
        self.elements.len()
    }

    /// The field's name, without prefix.
    pub(crate) fn name(&self) -> &'a str {
        let local = |name: &'a str| name.rsplit(':').next().unwrap_or(name);
        self.attribute.map_or_else(|| self.elements.last().map_or("", |last| last.local), local)
    }

    /// The steps from the root, as a JSON Pointer would name them; an attribute is `@name`.
    pub(crate) fn is_at(&self, pointed: &[String]) -> bool {
        let mut pointed = pointed.iter();
        self.elements.iter().all(|element| pointed.next().is_some_and(|name| name == element.local))
            && self.attribute.is_none_or(|attribute| {
                pointed.next().and_then(|name| name.strip_prefix('@')) == Some(attribute)
            })
            && pointed.next().is_none()
    }
}

/// A parsed selector: `order/card/number`, `order/card/expiry@month`. A root `*` is any; places for card data have none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selector {
    elements: Vec<String>,
    attribute: Option<String>,
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Self {
        let (elements, attribute) = match text.split_once('@') {
            Some((elements, attribute)) => (elements, Some(attribute.to_owned())),
            None => (text, None),
        };
        Self { elements: elements.split('/').map(str::to_owned).collect(), attribute }
    }

    /// Whether this is exactly that place. Attributes are compared with their prefix, which a selector has not: those with
    /// one are somebody else's.
    pub(crate) fn is(&self, path: &Path<'_>) -> bool {
        self.attribute.as_deref() == path.attribute
            && self.elements.len() == path.elements.len()
            && self.elements.iter().zip(&path.elements).enumerate().all(|(depth, (name, element))| {
                element.at_home && (name == element.local || (depth == 0 && name == "*"))
            })
    }
}

//! The frame of every page, and the headers of every answer.
//!
//! Promises: every text is escaped by the template's types. The policy lets a page run the one script and use the one style that
//! are in it, by their hashes, load nothing, be framed by nobody, and send forms here alone.
//! Upholds: C-67.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use strongroom_domain::WorkloadId;
use strongroom_perimeter::Caller;

use crate::authz::{Authorizer, ReadAudit, ReadEvidence, ReadTenantAudit};
use crate::operation::Vault;

const STYLE: &str = include_str!("style.css");
/// Reads the overview again every few seconds. Without it there is a link.
const SCRIPT: &str = include_str!("live.js");
/// A door with a wheel: `img-src data:` is for it alone. Without it browsers ask for one and get a 404.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' \
     fill='%230b5cad'/%3E%3Ccircle cx='8' cy='8' r='4' fill='none' stroke='white' stroke-width='1.6'/%3E%3Cpath d='M8 2.5v11M2.5 8h11' \
     stroke='white' stroke-width='1.2'/%3E%3C/svg%3E";

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::try_from(policy).expect("base64 is a header's value")
});

/// The headers of every answer of the console, files and problems too.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    let named = HeaderName::from_static;
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (VARY, "accept, sec-fetch-site"),
        (named("cross-origin-opener-policy"), "same-origin"),
        (named("cross-origin-resource-policy"), "same-origin"),
        (named("cross-origin-embedder-policy"), "require-corp"),
        (
            named("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The parts of the console.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Search,
    Reach,
    Access,
    Evidence,
}

impl Tab {
    const ALL: [Self; 5] = [Self::Overview, Self::Search, Self::Reach, Self::Access, Self::Evidence];

    const fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => (super::ROOT, "Overview"),
            Self::Search => ("/console/search", "Search"),
            Self::Reach => ("/console/blast-radius", "Blast radius"),
            Self::Access => ("/console/access", "Access"),
            Self::Evidence => ("/console/evidence", "Evidence"),
        }
    }

    /// Whether policy could ever show it to them: what is not for them is no link. Each page asks again.
    fn is_for(self, authorizer: &Authorizer, workload: &WorkloadId) -> bool {
        let reads_log = authorizer.admit::<ReadAudit>(workload).is_ok();
        match self {
            Self::Overview | Self::Reach => reads_log,
            Self::Search => reads_log || authorizer.admit::<ReadTenantAudit>(workload).is_ok(),
            Self::Access | Self::Evidence => authorizer.admit::<ReadEvidence>(workload).is_ok(),
        }
    }
}

/// Around a page: where it is, and for whom.
pub(super) struct Frame {
    who: String,
    environment: &'static str,
    instance: String,
    tabs: Vec<Tab>,
}

impl Frame {
    pub(super) fn new(vault: &Vault, caller: &Caller) -> Self {
        let authorizer = vault.authorizer.load();
        let is_theirs = |tab: &Tab| tab.is_for(&authorizer, &caller.workload);
        Self {
            who: caller.workload.as_str().to_owned(),
            environment: vault.environment.as_str(),
            instance: vault.evidence.config().instance.clone(),
            tabs: Tab::ALL.into_iter().filter(is_theirs).collect(),
        }
    }

    /// A whole page.
    pub(super) fn page(&self, current: Option<Tab>, title: &str, body: &Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(title))
                body {
                    a.skip href="#content" { "Skip to content" }
                    header.top {
                        div.name { "Strongroom" span.env data-environment=(self.environment) { (self.environment) } }
                        nav aria-label="Console" {
                            @for tab in &self.tabs {
                                @let (href, name) = tab.link();
                                a href=(href) aria-current=[(current == Some(*tab)).then_some("page")] { (name) }
                            }
                        }
                        div.who { "Signed in as " code { (self.who) } }
                    }
                    main #content tabindex="-1" {
                        h1 { (title) }
                        (body)
                    }
                    footer {
                        "Instance " (self.instance) ". Times are UTC. What you look at here is written to the audit log with your name."
                    }
                }
            }
        };
        document(page)
    }
}

/// What keeps a page fresh.
pub(super) fn script() -> Markup {
    html! { script { (PreEscaped(SCRIPT)) } }
}

/// A page without a frame, for the script.
pub(super) fn bare(title: &str, body: &Markup) -> Response {
    document(html! { (DOCTYPE) html lang="en" { (head(title)) body { main { h1 { (title) } (body) } } } })
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Strongroom" }
            link rel="icon" href=(ICON);
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn document(page: Markup) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(CONTENT_TYPE, kind)], page.into_string()).into_response()
}

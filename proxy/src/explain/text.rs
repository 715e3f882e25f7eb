//! An explanation as people read it in a terminal.

use std::fmt::Write as _;

use super::shown::{Explanation, Signature};

/// Writes it, one thought a line. Writing to a String cannot fail.
pub(super) fn write(explanation: &Explanation) -> String {
    let mut out = String::new();
    head(explanation, &mut out);
    if let Some(problem) = &explanation.refused {
        let text = |name: &str| problem[name].as_str().unwrap_or_default();
        let _ = writeln!(out, "refused     {}: {}", text("errorCode"), text("detail"));
        return out;
    }
    places(explanation, &mut out);
    if let Some(signature) = &explanation.signature {
        signed(signature, &mut out);
    }
    if let Some(request) = &explanation.request {
        let _ = writeln!(out, "\n{} {}", request.method, request.target.as_deref().unwrap_or("(not shown)"));
        for (name, value) in &request.headers {
            let _ = writeln!(out, "{name}: {value}");
        }
        let _ = writeln!(out, "\n{}", request.body.as_deref().unwrap_or("(not shown)"));
        let _ = writeln!(out, "\nbody sha256 {} (words in the places of card data)", request.body_sha256);
    }
    for other in explanation.not_asked {
        let _ = writeln!(out, "not asked   {other}");
    }
    out
}

fn head(explanation: &Explanation, out: &mut String) {
    let Explanation { route, account, upstream, rule, credential, .. } = explanation;
    let _ = writeln!(out, "verdict     {}", explanation.verdict);
    let _ = writeln!(out, "route       {route}, account {account}, to {upstream}");
    match rule {
        None => {
            let _ = writeln!(out, "rule        none: the route does not list this method and path");
        }
        Some(rule) => {
            let body = rule.body.map(|body| format!(", body {body}")).unwrap_or_default();
            let _ = writeln!(out, "rule        {} {} {}{body}", rule.kind, rule.method, rule.path);
        }
    }
    let header = credential.header.as_deref().unwrap_or("no header");
    let scheme = credential.scheme.as_deref().map(|scheme| format!(" {scheme}")).unwrap_or_default();
    let _ = writeln!(out, "credential  {}: {header}{scheme}", credential.mode);
    for place in &credential.identity {
        let _ = writeln!(out, "identity    {place}");
    }
    if let Some(attempt) = &explanation.attempt {
        let _ = writeln!(out, "attempt     {attempt}");
    }
}

fn places(explanation: &Explanation, out: &mut String) {
    for (number, card) in explanation.cards.iter().enumerate() {
        let length = card.length.map(|length| format!(", {length} digits")).unwrap_or_default();
        let facts = card.brand.map_or_else(|| format!("facts {}", card.facts), str::to_owned);
        let _ = writeln!(out, "card {number}      {} ({facts}{length})", card.token_ref);
    }
    for field in &explanation.fields {
        let format = field.format.map(|format| format!(" as {format}")).unwrap_or_default();
        let length = field.length.map(|length| format!(", {length} characters")).unwrap_or_default();
        let (at, value) = (&field.at, field.value);
        let _ = writeln!(
            out,
            "fills       {at} with {value}{format} of card {}{length}: {}",
            field.card, field.word
        );
    }
    for kept in &explanation.kept {
        let _ = writeln!(out, "leaves      {} (declared for {}) as the caller wrote it", kept.at, kept.value);
    }
    for at in &explanation.encrypted {
        let _ = writeln!(out, "encrypts    {at}");
    }
}

fn signed(signature: &Signature, out: &mut String) {
    let key = signature.key_id.as_deref().map(|id| format!(" under key {id}")).unwrap_or_default();
    let _ = writeln!(out, "signs       {}{key}, into {}", signature.kind, signature.headers.join(", "));
    for string in &signature.strings {
        let _ = writeln!(out, "\n{} ({} bytes, sha256 {}):", string.name, string.bytes, string.sha256);
        let _ = writeln!(out, "{}", string.text.as_deref().unwrap_or("(not shown)"));
    }
}

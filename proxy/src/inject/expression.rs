//! What a caller writes at a declared place: a bare token, or `{{ tok_….exp | MM/YY }}`.

use strongroom_domain::alias::{Foreign, PanShaped};
use strongroom_domain::route::{Attribute, ExpiryFormat, Inject, Source};
use strongroom_domain::{Alias, CardName, Token};

use super::InjectError;
use super::clean;

/// A token, or another name of a card, at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) name: CardName,
    /// `None`: a bare token, which means what the place is declared for.
    pub(super) attribute: Option<Attribute>,
    /// How the expiry is to be written, where the expression says.
    pub(super) format: Option<ExpiryFormat>,
}

/// Reads a whole value. `None`: it holds no token.
pub(super) fn read(text: &str) -> Result<Option<Asked>, InjectError> {
    if let Ok(token) = Token::parse(text) {
        return Ok(Some(Asked { name: token.into(), attribute: None, format: None }));
    }
    if let Some(inner) = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
        return parse(inner.trim()).map(Some);
    }
    if text.trim_start().starts_with("{{") {
        return Err(InjectError::InvalidExpression("an expression is the whole value, {{ and }} included"));
    }
    if ["tok_live_", "tok_test_"].iter().any(|prefix| text.starts_with(prefix)) {
        return Err(InjectError::InvalidExpression(
            "a token is mistyped, cut short or followed by something",
        ));
    }
    if clean::holds_token(text.as_bytes()) {
        return Err(InjectError::InvalidExpression("a token is the whole value, with nothing around it"));
    }
    Ok(None)
}

/// Reads another name of a card, where one is declared: sixteen digits wherever a number goes, another vault's token
/// where the place lists how it begins. Anywhere else both are somebody's reference and pass.
pub(super) fn read_alias(inject: &Inject, text: &str) -> Option<Asked> {
    if inject.attribute != Attribute::Number || inject.source != Source::Own {
        return None;
    }
    let begins = || inject.aliases.iter().any(|beginning| text.starts_with(beginning.as_str()));
    let alias = match PanShaped::parse(text) {
        Ok(alias) => Alias::PanShaped(alias),
        Err(_) => Alias::Foreign(begins().then(|| Foreign::parse(text).ok()).flatten()?),
    };
    Some(Asked { name: CardName::Alias(alias), attribute: None, format: None })
}

fn parse(inner: &str) -> Result<Asked, InjectError> {
    let (reference, format) = match inner.split_once('|') {
        Some((reference, format)) => (reference.trim_end(), Some(format.trim_start())),
        None => (inner, None),
    };
    let (token, attribute) = reference.split_once('.').ok_or(InjectError::InvalidExpression(
        "an expression names a token and, after a dot, an attribute",
    ))?;
    let token = Token::parse(token)
        .map_err(|_| InjectError::InvalidExpression("an expression names something that is no token"))?;
    let attribute = Attribute::parse(attribute).ok_or(InjectError::InvalidExpression(
        "an expression asks for an attribute other than number, cvc, exp and holder",
    ))?;
    let format = format.map(|format| {
        ExpiryFormat::parse(format).filter(|_| attribute == Attribute::Exp).ok_or(
            InjectError::InvalidExpression("an expression has a format that does not exist or does not fit"),
        )
    });
    Ok(Asked { name: token.into(), attribute: Some(attribute), format: format.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";

    #[test]
    fn tokens_and_expressions_are_read() {
        for (text, attribute, format) in [
            (TOKEN.to_owned(), None, None),
            (format!("{{{{{TOKEN}.cvc}}}}"), Some(Attribute::Cvc), None),
            (format!("{{{{ {TOKEN}.number }}}}"), Some(Attribute::Number), None),
            (format!("{{{{ {TOKEN}.exp }}}}"), Some(Attribute::Exp), None),
            (format!("{{{{ {TOKEN}.exp | MM/YY }}}}"), Some(Attribute::Exp), Some(ExpiryFormat::MMSlashYY)),
            (format!("{{{{{TOKEN}.exp|YYYY-MM}}}}"), Some(Attribute::Exp), Some(ExpiryFormat::YYYYDashMM)),
        ] {
            let asked = Asked { name: Token::parse(TOKEN).unwrap().into(), attribute, format };
            assert_eq!(read(&text), Ok(Some(asked)), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_refused() {
        for text in [
            format!(" {TOKEN}"),
            format!("{TOKEN} "),
            format!("{TOKEN},{TOKEN}"),
            TOKEN.replace("zv", "zz"),
            TOKEN[..20].to_owned(),
            TOKEN.replacen('t', "%74", 1),
            "{{ card.number }}".to_owned(),
            "{{}}".to_owned(),
            format!("{{{{ {TOKEN} }}}}"),
            format!("{{{{ {TOKEN}.pan }}}}"),
            format!("{{{{ {TOKEN}.exp | mm/yy }}}}"),
            format!("{{{{ {TOKEN}.exp | MM | YY }}}}"),
            format!("{{{{ {TOKEN}.number | MM }}}}"),
            format!("{{{{ {TOKEN}.number }}}} x"),
            format!(" {{{{ {TOKEN}.number }}}}"),
        ] {
            assert!(matches!(read(&text), Err(InjectError::InvalidExpression(_))), "{text}");
        }
    }

    #[test]
    fn other_values_are_none() {
        for text in ["", "000", "12", "tok_visa", "JANE {Q} DOE", "411111******1111"] {
            assert_eq!(read(text), Ok(None), "{text}");
        }
    }
}

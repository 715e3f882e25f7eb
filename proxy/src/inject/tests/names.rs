//! Other names of a card: sixteen digits, and tokens of another vault.

use super::*;

/// Sixteen digits that lead to a card.
const DIGITS: &str = "9198765432100005";

#[test]
fn sixteen_digits_name_a_card_where_a_number_goes_and_nowhere_else() {
    let set = |attributes: &[Attribute]| attributes.iter().copied().collect::<AttributeSet>();
    for (call, body) in [
        (
            form(),
            format!("card[number]={DIGITS}&card[cvc]=000&card[exp_month]=1&name={DIGITS}&note={DIGITS}"),
        ),
        (
            json(),
            format!(r#"{{"source":{{"number":"{DIGITS}","code":"1","expiry_month":1}},"note":"{DIGITS}"}}"#),
        ),
        (
            json(),
            format!(r#"{{"source":{{"number":{DIGITS},"code":"1","expiry_month":1}},"note":{DIGITS}}}"#),
        ),
    ] {
        let plan = plan(&call, body.as_bytes()).unwrap();
        let wanted: Vec<_> =
            plan.wanted().into_iter().map(|wanted| (wanted.name, wanted.attributes)).collect();
        let all = set(&[Attribute::Number, Attribute::Cvc, Attribute::Exp]);
        assert_eq!(wanted, [(CardName::parse(DIGITS).unwrap(), all)]);
        let injected = plan.inject(&[card(PAN, "JANE")]).unwrap();
        let sent = String::from_utf8(injected.body.to_vec()).unwrap();
        assert!(sent.contains(PAN) && sent.contains("0737"), "{sent}");
        assert_eq!(sent.matches(DIGITS).count(), body.matches(DIGITS).count() - 1, "references pass: {sent}");
        assert_eq!(injected.secrets.0[0].name.as_str(), DIGITS, "what the answer says instead of the number");
    }
    // At any other place they are a reference, and a place for the expiry stays as it is.
    let elsewhere = plan(&form(), format!("name={DIGITS}&exp={DIGITS}&code={DIGITS}").as_bytes()).unwrap();
    assert!(elsewhere.is_empty());
}

#[test]
fn the_token_of_another_vault_names_a_card_where_its_beginning_is_declared() {
    let places = r#"{ at = "number", value = "number", aliases = ["bt_", "spr:"] }, { at = "cvc", value = "cvc", from = "number" }, { at = "other", value = "number" }"#;
    let call = call("form", places);
    let wanted = |body: &str| {
        let plan = plan(&call, body.as_bytes()).unwrap();
        plan.wanted().into_iter().map(|wanted| wanted.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(wanted("number=bt_4Fsk2Lx9&cvc=000"), ["bt_4Fsk2Lx9"]);
    assert_eq!(wanted("number=spr%3Aabcdef&cvc=000"), ["spr:abcdef"]);
    for passes in
        ["number=xx_4Fsk2Lx9", "other=bt_4Fsk2Lx9", "note=bt_4Fsk2Lx9", "number=bt_4", "cvc=bt_4Fsk2Lx9"]
    {
        assert!(wanted(passes).is_empty(), "{passes}");
    }
    for (places, word) in [
        (r#"{ at = "number", value = "number", aliases = ["tok_test_"] }"#, "not of ours"),
        (r#"{ at = "number", value = "number", aliases = ["b"] }"#, "at least 3"),
        (r#"{ at = "number", value = "number", aliases = ["b t"] }"#, "at least 3"),
        (r#"{ at = "cvc", value = "cvc", aliases = ["bt_"] }"#, "number"),
    ] {
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredential = {{ header = \"authorization\" }}\n\
             [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/\"\nbody = \"form\"\ninject = [{places}]"
        );
        let refused = Route::parse("psp", &text, Environment::Live).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

//! Reading the card in a request.

use strongroom_domain::{Environment, Expiry, Pan};

use super::answer::Refusal;
use super::cards::{Delivery, Outcome};
use super::desk::Desk;
use super::ledger::CardOnFile;

/// The card in a request.
pub(super) struct CardRead {
    pub(super) number: String,
    pub(super) cvc: Option<String>,
    pub(super) delivery: Delivery,
    pub(super) on_file: CardOnFile,
}

/// The card as a request spells it.
pub(super) struct CardFields<'a> {
    pub(super) number: Option<&'a str>,
    pub(super) cvc: Option<&'a str>,
    pub(super) exp_month: Option<u64>,
    pub(super) exp_year: Option<u64>,
}

impl Desk<'_> {
    /// Reads a card as Stripe does: the number first, then the expiry, then the code.
    pub(super) fn card(&self, fields: &CardFields<'_>) -> Result<CardRead, Refusal> {
        let number = fields.number.ok_or(Refusal::missing("card[number]"))?;
        let number: String = number.chars().filter(|letter| !matches!(letter, ' ' | '-')).collect();
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::card("invalid_number", "The card number is not a valid number.", "number"));
        }
        let incorrect = Refusal::card("incorrect_number", "Your card number is incorrect.", "number");
        let pan = match Pan::parse(&number, Environment::Live) {
            Ok(pan) => pan,
            Err(_) => return Err(incorrect),
        };
        let (exp_month, exp_year) = self.expiry(fields)?;
        if fields
            .cvc
            .is_some_and(|cvc| !matches!(cvc.len(), 3 | 4) || !cvc.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(Refusal::card("invalid_cvc", "Your card's security code is invalid.", "cvc"));
        }
        let is_test = self.numbers.check(&pan).is_ok();
        let on_file = CardOnFile {
            brand: pan.brand(),
            last4: number[number.len() - 4..].to_owned(),
            exp_month,
            exp_year,
            fingerprint: self.ledger.fingerprint(&number),
            has_cvc: fields.cvc.is_some(),
            outcome: if is_test { Outcome::of(&number) } else { Outcome::NotATestCard },
        };
        let delivery = Delivery::of(&number);
        Ok(CardRead { number, cvc: fields.cvc.map(str::to_owned), delivery, on_file })
    }

    fn expiry(&self, fields: &CardFields<'_>) -> Result<(u8, u16), Refusal> {
        let wrong_month =
            || Refusal::card("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month");
        let wrong_year =
            || Refusal::card("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year");
        let month = fields.exp_month.ok_or(Refusal::missing("card[exp_month]"))?;
        let year = fields.exp_year.ok_or(Refusal::missing("card[exp_year]"))?;
        let month =
            u8::try_from(month).ok().filter(|month| (1..=12).contains(month)).ok_or_else(wrong_month)?;
        let year = u16::try_from(if year < 100 { year + 2_000 } else { year }).map_err(|_| wrong_year())?;
        let expiry = Expiry::new(month, year).map_err(|_| wrong_year())?;
        let december = Expiry::new(12, year).map_err(|_| wrong_year())?;
        match (december.is_past(self.now), expiry.is_past(self.now)) {
            (true, _) => Err(wrong_year()),
            (false, true) => Err(wrong_month()),
            (false, false) => Ok((month, year)),
        }
    }
}

//! The calls the PSP knows.

/// One call, with the identifier in its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call<'a> {
    CreateMethod,
    ShowMethod(&'a str),
    CreateIntent,
    ShowIntent(&'a str),
    ConfirmIntent(&'a str),
    CaptureIntent(&'a str),
    CancelIntent(&'a str),
    CreateRefund,
    ShowRefund(&'a str),
    CreatePayment,
    ShowPayment(&'a str),
    CreateTransaction,
    ShowTransaction(&'a str),
    AdyenPayment,
    AdyenRefund(&'a str),
    CyberSourcePayment,
    AuthorizeNet,
    NuveiPayment,
    NuveiRefund,
    /// Where the redirect card's answer leads: nobody should come here.
    Redirected,
    Unknown,
}

impl<'a> Call<'a> {
    pub(super) fn of(method: &str, path: &'a str) -> Self {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        // Adyen's live hosts have `/checkout` before the version, its test host has not.
        let adyen = parts.strip_prefix(&["checkout"]).unwrap_or(&parts);
        if let ("POST", ["v71" | "v72", "payments", rest @ ..]) = (method, adyen) {
            return match rest {
                [] => Self::AdyenPayment,
                [id, "refunds"] => Self::AdyenRefund(id),
                _ => Self::Unknown,
            };
        }
        match (method, parts.as_slice()) {
            (_, ["redirected", ..]) => Self::Redirected,
            ("POST", ["v1", "payment_methods"]) => Self::CreateMethod,
            ("GET", ["v1", "payment_methods", id]) => Self::ShowMethod(id),
            ("POST", ["v1", "payment_intents"]) => Self::CreateIntent,
            ("GET", ["v1", "payment_intents", id]) => Self::ShowIntent(id),
            ("POST", ["v1", "payment_intents", id, "confirm"]) => Self::ConfirmIntent(id),
            ("POST", ["v1", "payment_intents", id, "capture"]) => Self::CaptureIntent(id),
            ("POST", ["v1", "payment_intents", id, "cancel"]) => Self::CancelIntent(id),
            ("POST", ["v1", "refunds"]) => Self::CreateRefund,
            ("GET", ["v1", "refunds", id]) => Self::ShowRefund(id),
            ("POST", ["json", "payments"]) => Self::CreatePayment,
            ("GET", ["json", "payments", id]) => Self::ShowPayment(id),
            ("POST", ["merchants", _, "transactions"]) => Self::CreateTransaction,
            ("GET", ["merchants", _, "transactions", id]) => Self::ShowTransaction(id),
            ("POST", ["pts", "v2", "payments"]) => Self::CyberSourcePayment,
            ("POST", ["xml", "v1", "request.api"]) => Self::AuthorizeNet,
            // Its client writes two slashes.
            ("POST", ["ppp", "api", "v1", call] | ["ppp", "", "api", "v1", call]) => match *call {
                "payment.do" => Self::NuveiPayment,
                "refundTransaction.do" => Self::NuveiRefund,
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// Its name in the counts: an identifier would make one counter a payment.
    pub(super) const fn pattern(self) -> &'static str {
        match self {
            Self::CreateMethod => "POST /v1/payment_methods",
            Self::ShowMethod(_) => "GET /v1/payment_methods/{id}",
            Self::CreateIntent => "POST /v1/payment_intents",
            Self::ShowIntent(_) => "GET /v1/payment_intents/{id}",
            Self::ConfirmIntent(_) => "POST /v1/payment_intents/{id}/confirm",
            Self::CaptureIntent(_) => "POST /v1/payment_intents/{id}/capture",
            Self::CancelIntent(_) => "POST /v1/payment_intents/{id}/cancel",
            Self::CreateRefund => "POST /v1/refunds",
            Self::ShowRefund(_) => "GET /v1/refunds/{id}",
            Self::CreatePayment => "POST /json/payments",
            Self::ShowPayment(_) => "GET /json/payments/{id}",
            Self::CreateTransaction => "POST /merchants/{merchant}/transactions",
            Self::ShowTransaction(_) => "GET /merchants/{merchant}/transactions/{id}",
            Self::AdyenPayment => "POST /v72/payments",
            Self::AdyenRefund(_) => "POST /v72/payments/{id}/refunds",
            Self::CyberSourcePayment => "POST /pts/v2/payments",
            Self::AuthorizeNet => "POST /xml/v1/request.api",
            Self::NuveiPayment => "POST /ppp/api/v1/payment.do",
            Self::NuveiRefund => "POST /ppp/api/v1/refundTransaction.do",
            Self::Redirected => "redirected",
            Self::Unknown => "unknown",
        }
    }
}

//! The lines to copy.

use std::io::{self, Write};

use crate::house::{House, ROUTE_NAME, TENANT};

/// The last line; who waits for the sandbox waits for it.
const LAST: &str = "# Ready. Ctrl-C stops it; everything is there again at the next start.";

/// Writes a shell script: set up, tokenize, charge, and the same with the PSP's own SDK.
pub(super) fn write(out: &mut impl Write, house: &House) -> io::Result<()> {
    writeln!(out, "# vault  https://localhost:{}   ops http://{}", house.vault().port(), house.vault_ops())?;
    writeln!(out, "# proxy  https://localhost:{}   ops http://{}", house.proxy().port(), house.proxy_ops())?;
    writeln!(out, "# psp    {}   what it received: $D/psp/psp.log", house.psp().url())?;
    for file in house.kept() {
        writeln!(out, "# {} was changed by somebody and is used as it is", file.display())?;
    }
    let data = house.folder().path().display().to_string();
    writeln!(out, "D={}", quoted(&data))?;
    writeln!(
        out,
        "{}\n{LAST}",
        script(house.vault().port(), house.proxy().port(), house.psp().address().port())
    )?;
    out.flush()
}

fn script(vault: u16, proxy: u16, psp: u16) -> String {
    SCRIPT
        .replace("{vault}", &vault.to_string())
        .replace("{proxy}", &proxy.to_string())
        .replace("{psp}", &psp.to_string())
        .replace("{tenant}", TENANT)
        .replace("{route}", ROUTE_NAME)
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

const SCRIPT: &str = r#"
# Checkout: a card in, a token out.
TOKEN=$(curl -sS --cacert "$D/pki/workload-ca.pem" --cert "$D/pki/checkout.pem" --key "$D/pki/checkout.key" \
  https://localhost:{vault}/v1/tenants/{tenant}/cards -H 'Content-Type: application/json' \
  -d '{"number":"4242424242424242","exp_month":12,"exp_year":2034,"cvc":"737"}' | tee /dev/stderr | grep -o 'tok_test_[a-z]*')

# Orchestrator: Stripe's own call, the token for the number; expiry and code come from the card too.
# A code serves one payment: to charge again, leave the cvc out.
curl -sS --cacert "$D/pki/workload-ca.pem" --cert "$D/pki/orchestrator.pem" --key "$D/pki/orchestrator.key" \
  https://localhost:{proxy}/{route}/v1/payment_intents -d amount=1099 -d currency=eur -d confirm=true \
  -d 'payment_method_data[type]=card' -d "payment_method_data[card][number]=$TOKEN" \
  -d 'payment_method_data[card][exp_month]=1' -d 'payment_method_data[card][exp_year]=2000' \
  -d 'payment_method_data[card][cvc]=000'

# By host name, for an SDK that can change host and port only.
curl -sS --cacert "$D/pki/workload-ca.pem" --cert "$D/pki/orchestrator.pem" --key "$D/pki/orchestrator.key" \
  --resolve {route}.proxy.internal:{proxy}:127.0.0.1 https://{route}.proxy.internal:{proxy}/v1/payment_intents \
  -d amount=1099 -d currency=eur -d confirm=true -d 'payment_method_data[type]=card' \
  -d "payment_method_data[card][number]=$TOKEN" -d 'payment_method_data[card][exp_month]=1' \
  -d 'payment_method_data[card][exp_year]=2000'

# By CONNECT, for an SDK that knows only a proxy setting: the PSP's own address, answered by the proxy in its name.
curl -sS --proxy https://localhost:{proxy} --proxy-cacert "$D/pki/workload-ca.pem" \
  --proxy-cert "$D/pki/orchestrator.pem" --proxy-key "$D/pki/orchestrator.key" --cacert "$D/pki/connect-ca.pem" \
  https://127.0.0.1:{psp}/v1/payment_intents -d amount=1099 -d currency=eur -d confirm=true \
  -d 'payment_method_data[type]=card' -d "payment_method_data[card][number]=$TOKEN" \
  -d 'payment_method_data[card][exp_month]=1' -d 'payment_method_data[card][exp_year]=2000'

# The same with the official client (pip install stripe requests): only address, certificate and key differ.
python3 - "$D" "$TOKEN" <<'END'
import sys, requests, stripe

data, token = sys.argv[1:]
session = requests.Session()
session.cert = (f"{data}/pki/orchestrator.pem", f"{data}/pki/orchestrator.key")
stripe.ca_bundle_path = f"{data}/pki/workload-ca.pem"
client = stripe.StripeClient(
    "strongroom",  # the proxy puts the account's own key in
    base_addresses={"api": "https://localhost:{proxy}/{route}"},
    http_client=stripe.RequestsClient(session=session),
)
method = client.v1.payment_methods.create(
    {"type": "card", "card": {"number": token, "exp_month": 1, "exp_year": 2000}}
)
intent = client.v1.payment_intents.create(
    {"amount": 1099, "currency": "eur", "payment_method": method.id, "confirm": True}
)
refund = client.v1.refunds.create({"payment_intent": intent.id})
print(method.card.last4, intent.status, refund.status)
END
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_what_is_printed() {
        let readme = include_str!("../../../../README.md");
        let script = script(7400, 7402, 7404);
        let (curl, python) = script.split_once("# The same with").unwrap();
        assert!(readme.contains(curl.trim()), "README.md is stale");
        assert!(readme.contains(python.trim()), "README.md is stale");
    }

    #[test]
    fn a_folder_stays_one_word() {
        assert_eq!(quoted("/tmp/a-b_c.d"), "/tmp/a-b_c.d");
        assert_eq!(quoted("/tmp/it's $HOME"), r"'/tmp/it'\''s $HOME'");
    }
}

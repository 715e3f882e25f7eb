//! The other ways in: the same card charged by host name and by `CONNECT`, whose bytes are searched like the first charge's.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{CheckError, NUMBER_FIELD};
use crate::client::Exchange;
use crate::house::{House, HouseError};

/// One of the names the route is reached by.
const HOST: &str = "sandbox.proxy.internal";

/// What the orchestrator sent and received by each other entry.
pub(super) struct Others {
    pub(super) by_host: Exchange,
    pub(super) by_connect: Exchange,
}

/// Charges the card once by each. A code serves one payment, so these go without.
pub(super) async fn charge(house: &House, token: &str) -> Result<Others, CheckError> {
    let body = format!(
        "amount=1099&currency=eur&confirm=true&payment_method_data[type]=card&{NUMBER_FIELD}={token}\
         &payment_method_data[card][exp_month]=1&payment_method_data[card][exp_year]=2000"
    );
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let client = house.proxy_client("orchestrator")?;
    let path = "/v1/payment_intents";
    let by_host = client.clone().host(HOST).send("POST", path, &headers, body.as_bytes()).await;
    let by_host = by_host.map_err(Box::new)?;

    let (ca, psp) = (house.connect_ca_file(), house.psp().address());
    let mut trusted = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(&ca)
        .map_err(|error| super::record(&ca, std::io::Error::other(error)))?;
    trusted.add(authority).map_err(|error| super::record(&ca, std::io::Error::other(error)))?;
    // The address is the PSP's own: only who answers there is another.
    let inside = client.through(psp, trusted).map_err(HouseError::from)?;
    let by_connect = inside.send("POST", path, &headers, body.as_bytes()).await.map_err(Box::new)?;
    Ok(Others { by_host, by_connect })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{ROUTE_NAME, ROUTE_TEMPLATE};

    #[test]
    fn the_host_is_one_of_the_route_s_names() {
        assert!(ROUTE_TEMPLATE.contains(&format!("\"{HOST}\"")));
        assert!(HOST.starts_with(ROUTE_NAME));
    }
}

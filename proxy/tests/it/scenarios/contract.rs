//! The shipped routes against recorded shapes: requests as SDKs write them, answers as PSPs write them.
//!
//! Every file of `tests/contracts` is one exchange: the request the caller writes, the body the PSP must see, the PSP's
//! answer. The route is the longest shipped name the file's begins with.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::psp::{Then, raw};
use crate::world::{NUMBER, Setup, TOKEN, World};

/// Shipped routes that need nothing but one credential, in a header or in the body.
const ROUTES: [&str; 9] = [
    "adyen",
    "authorize-net",
    "braintree",
    "braintree-graphql",
    "mastercard",
    "shift4",
    "stripe",
    "worldpay-access",
    "worldpay-wpg",
];
const CVC: &str = "737";

struct Exchange {
    route: &'static str,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    sent: String,
    status: String,
    content_type: String,
    answer: String,
}

impl Exchange {
    fn read(file: &Path) -> Self {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let route = ROUTES.into_iter().filter(|route| name.starts_with(&format!("{route}-")));
        let text = std::fs::read_to_string(file).unwrap();
        let (request, rest) = text.split_once("\n--- sent\n").unwrap();
        let (sent, answer) = rest.split_once("\n--- answer ").unwrap();
        let (outcome, answer) = answer.split_once('\n').unwrap();
        let (status, content_type) = outcome.split_once(' ').unwrap();
        let (head, body) = request.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let route = route.max_by_key(|route| route.len()).unwrap();
        Self {
            route,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: body.replace("$TOKEN", TOKEN),
            sent: with_card(sent).replace("$CREDENTIAL", &format!("own-{route}")),
            status: status.to_owned(),
            content_type: content_type.to_owned(),
            answer: answer.trim_end_matches('\n').to_owned(),
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(format!("/{}{}", self.route, self.path))
            .header("host", "proxy.test");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::copy_from_slice(self.body.as_bytes()))).unwrap()
    }
}

fn with_card(text: &str) -> String {
    text.replace("$NUMBER", NUMBER).replace("$CVC", CVC)
}

fn exchanges() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_exchange_goes_through_its_shipped_route() {
    let world = World::new(Setup { shipped: ROUTES.to_vec(), ..Setup::default() }).await;
    let mut used = Vec::new();
    for file in exchanges() {
        let exchange = Exchange::read(&file);
        let shown = file.display();
        let answer = with_card(&exchange.answer);
        let head = format!("content-type: {}\r\n", exchange.content_type);
        world.psp.then(Then::Answer(raw(&exchange.status, &head, answer.as_bytes())));
        let reply = world.send(exchange.request()).await;
        let seen = world.psp.seen().pop().unwrap();
        let text = seen.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, exchange.sent, "{shown}: what the PSP saw");
        assert!(text.starts_with(&format!("{} {} HTTP/1.1\r\n", exchange.method, exchange.path)), "{shown}");
        let head = head.to_ascii_lowercase();
        assert!(
            format!("{head}\r\n").contains(&format!("\r\ncontent-length: {}\r\n", body.len())),
            "{shown}: {head}"
        );
        assert!(text.contains(&format!("own-{}", exchange.route)), "{shown}: the account's own credential");
        assert!(!text.to_ascii_lowercase().contains("strongroom"), "{shown}: {text}");
        // The answer comes back as it was, but for card data.
        assert_eq!(reply.status.to_string(), exchange.status, "{shown}");
        assert_eq!(reply.text(), exchange.answer.replace("$NUMBER", TOKEN).replace("$CVC", "***"), "{shown}");
        assert_eq!(reply.header("content-type"), Some(exchange.content_type.as_str()), "{shown}");
        used.push(exchange.route);
    }
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, ROUTES, "every route has an exchange");
    let opens = world.vault.opens();
    assert!(opens.iter().all(|open| open["cards"].as_array().unwrap().len() == 1), "{opens:?}");
}

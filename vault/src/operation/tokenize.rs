//! Tokenizing: a card goes in, a token comes out, and the number is sealed before anybody hears of it.
//!
//! Promises: an answered token is on disk with its record and its audit entry. A refused card leaves nothing but its entry.
//! The cards of a batch come in together, in one commit; one that is refused does not hold the others back. Where a
//! tenant deduplicates, one number has one token at a time, and no answer tells a known number from a new one.
//! Does not promise: one token per number where a tenant does not ask for it: dedupe is off by default.
//! Upholds: C-01, C-04, C-05, C-06, C-31.

mod commit;
mod once;
mod place;
mod rename;

use std::sync::Arc;

use strongroom_domain::alias::{Foreign, PanShaped};
use strongroom_domain::{Cvc, Expiry, Holder, Metadata, Pan, Timestamp, Token, TokenHash};
use strongroom_sealing::{CardSecrets, Fingerprint, HeldKey, KeyScope, Purpose, fingerprint};

pub(super) use self::commit::ATTEMPTS_MAX;
use self::commit::Stored;
pub use self::once::Once;
pub(super) use self::once::{First, Repeat, tokens_of};
pub(super) use self::place::shown_of;
pub use self::place::{Became, FIRST_VERSION, Made};
pub(super) use self::rename::{DRAWS_MAX, shown_digits};
use super::limits::guesses::Guess;
use super::{Asking, OperationError, Vault};
use crate::authz::{Import, Permit, Tokenize};
use crate::sad::CodeOwner;
use crate::store::{Dedupe, TenantRow, TenantStatus, TokenFormat};

/// Most cards of one batch (design §5): with the longest names and metadata still one body and one short commit.
pub const BATCH_MAX: usize = 100;

/// A card that came in, every field checked.
pub struct NewCard {
    /// The number.
    pub pan: Pan,
    /// When it ends.
    pub expiry: Option<Expiry>,
    /// Whose it is.
    pub holder: Option<Holder>,
    /// Its verification code: memory only.
    pub cvc: Option<Cvc>,
    /// When the token stops to work; whole seconds.
    pub expires_at: Option<Timestamp>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// What else than a token is asked for.
    pub format: TokenFormat,
    /// The token another vault gave it.
    pub alias: Option<Foreign>,
}

/// What the caller gets: the cards' facts, never their numbers.
pub struct Tokenized {
    /// The answer's body, the same bytes for every replay.
    pub answer: Vec<u8>,
    /// Whether an earlier request made it.
    pub replayed: bool,
}

/// How finished cards are written for the caller: given by `http`, so that the stored answer and the sent one are one.
#[derive(Clone, Copy)]
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub write: fn(&[Became<'_>]) -> Vec<u8>,
}

/// One request to tokenize: what is the same for all its cards.
struct Order<'a> {
    asking: &'a Asking,
    permit: &'a Permit<Tokenize>,
    tenant: &'a TenantRow,
    answer: Answer,
    /// Whether it is one card of its own: what is wrong with it is wrong with the request.
    is_single: bool,
    /// Whether the caller may import.
    imports: bool,
    /// The tenant's fingerprint key, if a card needs it.
    naming: Option<HeldKey>,
}

/// A card about to be stored, checked and not yet sealed.
struct CardDraft {
    token: Token,
    secrets: CardSecrets,
    expires_at: Option<Timestamp>,
    metadata: Metadata,
    fingerprint: Option<Fingerprint>,
    /// The alias it gets, and how many were drawn for it.
    pan_shaped: Option<(PanShaped, u8)>,
    foreign: Option<Foreign>,
    /// Held while its number is tried on a tenant that deduplicates.
    guess: Option<Guess>,
}

/// A card of a request on its way in, or why it does not come in.
type Drafted = Result<CardDraft, OperationError>;

impl Vault {
    /// Seals a card under a new token.
    pub async fn tokenize(
        &self,
        asking: &Asking,
        permit: Permit<Tokenize>,
        card: NewCard,
        once: Option<Once>,
        answer: Answer,
    ) -> Result<Tokenized, OperationError> {
        let tenant = self.taking_tenant(&permit).await?;
        self.limits.tokenize(&asking.caller.workload, 1).map_err(|_| OperationError::RateLimited)?;
        accept(self, &tenant, &card)?;
        let cards = vec![Ok(card)];
        let naming = self.naming(&tenant, &cards).await?;
        let imports = self.imports(asking);
        let order =
            Order { asking, permit: &permit, tenant: &tenant, answer, is_single: true, imports, naming };
        self.tokenize_all(&order, cards, once).await
    }

    /// Seals many cards, each under a new token, in one commit. What is wrong with one is its own answer.
    pub async fn tokenize_batch(
        &self,
        asking: &Asking,
        permit: Permit<Tokenize>,
        cards: Vec<Result<NewCard, OperationError>>,
        once: Option<Once>,
        answer: Answer,
    ) -> Result<Tokenized, OperationError> {
        let tenant = self.taking_tenant(&permit).await?;
        let (caller, count, imports) = (&asking.caller.workload, cards.len() as u64, self.imports(asking));
        let limited =
            if imports { self.limits.import(caller, count) } else { self.limits.tokenize(caller, count) };
        limited.map_err(|_| OperationError::RateLimited)?;
        let accepted = |card| accept(self, &tenant, &card).map(|()| card);
        let cards: Vec<_> = cards.into_iter().map(|card| card.and_then(accepted)).collect();
        let naming = self.naming(&tenant, &cards).await?;
        let order =
            Order { asking, permit: &permit, tenant: &tenant, answer, is_single: false, imports, naming };
        self.tokenize_all(&order, cards, once).await
    }

    /// The tenant, if it takes cards: decided before anything is looked up or drawn.
    async fn taking_tenant(&self, permit: &Permit<Tokenize>) -> Result<Arc<TenantRow>, OperationError> {
        let tenant = self.tenant(&permit.subject().tenant).await?;
        tenant.filter(|row| row.status == TenantStatus::Active).ok_or(OperationError::UnknownTenant)
    }

    /// Whether the caller brings whole portfolios: other limits hold for it.
    pub(super) fn imports(&self, asking: &Asking) -> bool {
        self.authorizer.load().admit::<Import>(&asking.caller.workload).is_ok()
    }

    /// The tenant's fingerprint key, if any of these cards needs it.
    async fn naming(
        &self,
        tenant: &TenantRow,
        cards: &[Result<NewCard, OperationError>],
    ) -> Result<Option<HeldKey>, OperationError> {
        let has_alias = |card: &NewCard| card.alias.is_some() || card.format == TokenFormat::PanShaped;
        if has_fingerprints(tenant) || cards.iter().flatten().any(has_alias) {
            let scope = KeyScope::Tenant(tenant.id.clone());
            return Ok(Some(self.keys.active(&scope, Purpose::Fingerprint).await?));
        }
        Ok(None)
    }

    async fn tokenize_all(
        &self,
        order: &Order<'_>,
        cards: Vec<Result<NewCard, OperationError>>,
        once: Option<Once>,
    ) -> Result<Tokenized, OperationError> {
        let Order { asking, permit, tenant, answer, .. } = order;
        let drawn = cards.into_iter().map(|card| self.draw(order, card)).collect::<Result<Vec<_>, _>>()?;
        let (mut drafts, codes): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let repeat = match once {
            None => None,
            Some(once) => match self.begin_once(asking, &tenant.id, once, answer.status).await? {
                Repeat::First(first) => Some(first),
                Repeat::Again(stored) => return self.replay(asking, permit, stored, &drafts, codes).await,
            },
        };
        let shelved = self.shelve(&drafts, codes)?;
        match self.store_new(order, &mut drafts, repeat.as_ref()).await {
            Ok(Stored::New { body, owners }) => {
                self.hand_over(&shelved, &owners);
                Ok(Tokenized { answer: body, replayed: false })
            }
            // Another replica was faster under the same idempotency key: its cards are the ones, these codes belong to them.
            Ok(Stored::Earlier(row)) => {
                let earlier = self.earlier_of(asking, &tenant.id, repeat, row).await;
                let owners = match &earlier {
                    Ok(stored) => self.owners(asking, &tenant.id, stored, &drafts).await.unwrap_or_default(),
                    Err(_) => Vec::new(),
                };
                self.hand_over(&shelved, &owners);
                self.replay(asking, permit, earlier?, &drafts, Vec::new()).await
            }
            Err(error) => {
                self.hand_over(&shelved, &[]);
                Err(error)
            }
        }
    }

    /// A new token for a card, and the card's verification code apart from it.
    fn draw(
        &self,
        order: &Order<'_>,
        card: Result<NewCard, OperationError>,
    ) -> Result<(Drafted, Option<Cvc>), OperationError> {
        let NewCard { pan, expiry, holder, cvc, expires_at, metadata, format, alias } = match card {
            Ok(card) => card,
            Err(error) => return Ok((Err(error), None)),
        };
        let digest = |key: &HeldKey| fingerprint(&key.key, &order.tenant.id, &pan);
        let pan_shaped = match format {
            TokenFormat::Token => None,
            TokenFormat::PanShaped => {
                Some((PanShaped::for_number(self.environment, &pan, &*self.random)?, 1))
            }
        };
        let draft = CardDraft {
            token: Token::generate(self.environment, &*self.random)?,
            fingerprint: order.naming.as_ref().filter(|_| has_fingerprints(order.tenant)).map(digest),
            secrets: CardSecrets { pan, expiry, holder },
            expires_at,
            metadata,
            pan_shaped,
            foreign: alias,
            guess: None,
        };
        Ok((Ok(draft), cvc))
    }

    /// Shelves the codes, all or none, and says by place which card has one. The tokens are not yet known to anybody,
    /// so no code can be taken before the commit.
    fn shelve(
        &self,
        drafts: &[Drafted],
        codes: Vec<Option<Cvc>>,
    ) -> Result<Vec<Option<TokenHash>>, OperationError> {
        let mut shelved = Vec::with_capacity(drafts.len());
        for (draft, code) in drafts.iter().zip(codes) {
            let (Ok(draft), Some(code)) = (draft, code) else {
                shelved.push(None);
                continue;
            };
            let token = draft.token.hash();
            if self.cvcs.put(CodeOwner { token, number_version: FIRST_VERSION }, code).is_err() {
                self.hand_over(&shelved, &[]);
                return Err(OperationError::ShelfFull);
            }
            shelved.push(Some(token));
        }
        Ok(shelved)
    }

    /// Gives each shelved code to the card at its place in `to`; without one it is wiped.
    fn hand_over(&self, shelved: &[Option<TokenHash>], to: &[Option<CodeOwner>]) {
        for (place, from) in shelved.iter().enumerate() {
            match (from, to.get(place).copied().flatten()) {
                (None, _) => {}
                (Some(from), Some(to)) if *from == to.token => {}
                (Some(from), Some(to)) => self.cvcs.hand_over(*from, to),
                (Some(from), None) => self.cvcs.forget(*from),
            }
        }
    }
}

/// Whether this card may come in at all.
fn accept(vault: &Vault, tenant: &TenantRow, card: &NewCard) -> Result<(), OperationError> {
    accept_number(vault, tenant, &card.pan)?;
    if card.format != TokenFormat::Token && !tenant.settings.formats.contains(&card.format) {
        return Err(OperationError::FormatNotAllowed);
    }
    Ok(())
}

/// Whether this number may come in at all.
pub(super) fn accept_number(vault: &Vault, tenant: &TenantRow, pan: &Pan) -> Result<(), OperationError> {
    vault.accepted.check(pan).map_err(|_| OperationError::NumberNotAccepted)?;
    let brands = tenant.settings.brands.as_ref();
    if brands.is_some_and(|brands| !brands.contains(&pan.brand())) {
        return Err(OperationError::BrandNotAccepted);
    }
    Ok(())
}

pub(super) fn deduplicates(tenant: &TenantRow) -> bool {
    tenant.settings.dedupe == Dedupe::ReturnExisting
}

pub(super) fn has_fingerprints(tenant: &TenantRow) -> bool {
    deduplicates(tenant) || tenant.settings.fingerprints
}

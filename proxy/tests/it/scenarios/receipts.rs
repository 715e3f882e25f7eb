//! The vault's receipt of a forward reaches the caller, whatever the PSP says; a PSP's own never does.

use crate::psp::{Then, raw};
use crate::vault::RECEIPT;
use crate::world::World;

#[tokio::test]
async fn the_vault_s_receipt_reaches_the_caller_and_a_psp_s_does_not() {
    let world = World::usual().await;
    let forged =
        "content-type: application/json\r\nstrongroom-receipt: 019aa5a0-0000-7000-8000-000000000001.99\r\n";
    world.psp.then(Then::Answer(raw("200 OK", forged, b"{}")));
    let paid = world.create_usual().await;
    assert_eq!((paid.status, paid.header("strongroom-receipt")), (200, Some(RECEIPT)));
    // A call without a card opens no forward and has no receipt, whatever the PSP sends.
    world.psp.then(Then::Answer(raw("200 OK", forged, b"{}")));
    let passed = world.send(world.form("/psp/v1/refunds", "charge=ch_1")).await;
    assert_eq!((passed.status, passed.header("strongroom-receipt")), (200, None));
    // A payment that broke off is on the log all the same.
    world.psp.then(Then::Close);
    let broken = world.create_usual().await;
    assert_eq!((broken.status, broken.header("strongroom-receipt")), (502, Some(RECEIPT)));
}

//! The audit finds what no program did.

use books::ledger::Accounts;
use books::settlement::{EventKey, Sums, UserAccount};
use contract::TrafficEvent;

use crate::on_every_dialect;
use crate::scene::{T0, entry, event, hash, passkey, peer, ts};
use crate::settling::settle;

#[test]
fn the_audit_finds_what_somebody_changed_by_hand() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let bob = |ts| entry(TrafficEvent { passkey: passkey("bob"), ..event(ts) });
        settle(&mut ledger, &[entry(event(T0)), entry(event(T0 + 600)), bob(T0), bob(T0 + 9)]);
        let mut steps = Vec::new();
        assert_eq!(ledger.verify(&mut |done, total| steps.push((done, total))).unwrap(), []);
        assert_eq!(steps, [(4, 4)]);

        place.spoil(|dialect| {
            let account = |sums| UserAccount { sums, completed: 0 };
            let nothing = Sums { first_seen: ts(0), last_seen: ts(0), ..Sums::default() };
            dialect.add_to_users(&[
                (passkey("alice"), account(Sums { credited_up: 7, ..nothing.clone() })),
                (passkey("carol"), account(Sums { raw_up: 1, ..nothing })),
            ])?;
            let key = (passkey("bob"), hash(1));
            let mut bob = dialect.accounts(Accounts::Totals, &[key])?.remove(0).unwrap();
            bob.sums.seed_seconds = 1;
            dialect.save_accounts(Accounts::Totals, &[(key, bob)])
        });
        let drifts = ledger.verify(&mut |_, _| {}).unwrap();
        let found: Vec<_> = drifts
            .iter()
            .map(|d| (d.table, d.passkey.reveal().to_owned(), d.column, d.recorded.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("user_traffic", "alice".to_owned(), "credited_up", "2007"),
                ("torrent_traffic", "bob".to_owned(), "seed_seconds", "1"),
                ("user_traffic", "carol".to_owned(), "row", "present"),
            ]
        );
        assert_eq!(drifts[0].recomputed, "2000");
    });
}

#[test]
fn the_audit_finds_a_settled_event_that_disappeared() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(&mut ledger, &[entry(event(T0)), entry(event(T0 + 600))]);
        let key = EventKey { ts: ts(600), passkey: passkey("alice"), info_hash: hash(1), peer_id: peer(1) };
        place.spoil(|dialect| dialect.delete_events(&[key]));
        let drifts = ledger.verify(&mut |_, _| {}).unwrap();
        let columns: Vec<_> = drifts.iter().filter(|d| d.table == "user_traffic").map(|d| d.column).collect();
        assert_eq!(columns, ["raw_up", "credited_up", "seed_seconds", "last_seen"]);
    });
}

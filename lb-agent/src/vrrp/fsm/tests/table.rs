//! The table of transitions: every state, every event.

use super::*;

/// A state to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Init,
    /// Has heard 192.0.2.9 at 200 and waits.
    Backup,
    /// Master for a while, its next advert not yet due.
    Master,
    /// Master that has said nothing for 5 s and listens.
    Listening,
    Fault,
    /// A backup that would take over, and waits for those it moves together with.
    Ready,
}

const STATES: [From; 6] = [
    From::Init,
    From::Backup,
    From::Master,
    From::Listening,
    From::Fault,
    From::Ready,
];

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Higher,
    EqualGreaterAddress,
    EqualLesserAddress,
    Lower,
    Zero,
    TimerEarly,
    TimerDue,
    Start,
    Adopt,
    Stop,
    Down,
    Up,
    Priority,
    Parameters,
    Addresses,
    Release,
    Claim,
    Promote,
    Yield,
}

const EVENTS: [On; 19] = [
    On::Higher,
    On::EqualGreaterAddress,
    On::EqualLesserAddress,
    On::Lower,
    On::Zero,
    On::TimerEarly,
    On::TimerDue,
    On::Start,
    On::Adopt,
    On::Stop,
    On::Down,
    On::Up,
    On::Priority,
    On::Parameters,
    On::Addresses,
    On::Release,
    On::Claim,
    On::Promote,
    On::Yield,
];

fn life(from: From) -> Life {
    match from {
        From::Init => Life::new(parameters(100)),
        From::Backup => Life::backup(parameters(100)),
        From::Master => {
            let mut life = Life::master(parameters(100));
            life.fires();
            life.fires();
            life.pass(S / 10);
            life
        }
        From::Listening => {
            let mut life = Life::master(parameters(100));
            life.pass(5 * S);
            assert_eq!(life.timer(), "lost time");
            life
        }
        From::Fault => Life::fault(parameters(100)),
        From::Ready => {
            let mut life = Life::backup(together(100));
            assert_eq!(life.fires(), "");
            assert!(life.machine.is_ready());
            life
        }
    }
}

fn happens(life: &mut Life, on: On) -> String {
    match on {
        On::Higher => life.hears(advert(9, 200)),
        On::EqualGreaterAddress => life.hears(advert(9, 100)),
        On::EqualLesserAddress => life.hears(advert(2, 100)),
        On::Lower => life.hears(advert(9, 50)),
        On::Zero => life.hears(advert(9, 0)),
        On::TimerEarly => life.timer(),
        On::TimerDue => match life.machine.next_deadline() {
            Some(_) => life.fires(),
            None => {
                life.pass(60 * S);
                life.timer()
            }
        },
        On::Start => life.local(Local::Start),
        On::Adopt => life.local(Local::Adopt),
        On::Stop => life.local(Local::Stop),
        On::Down => life.local(Local::Down("script check".into())),
        On::Up => life.local(Local::Up("interface eth0".into())),
        On::Priority => life.local(Local::Priority(priority(120))),
        On::Parameters => {
            let mut new = life.machine.parameters().clone();
            new.advert_interval = 5 * S;
            life.local(Local::Parameters(new))
        }
        On::Addresses => life.local(Local::AddressesChanged),
        On::Release => life.local(Local::Release),
        On::Claim => life.local(Local::Claim),
        On::Promote => life.local(Local::Promote),
        On::Yield => life.local(Local::Yield {
            member: "VI_2".into(),
        }),
    }
}

const FAULTED: &str = "remove, not ours, master -> fault, notify fault";
const STOPPED: &str = "remove, not ours, master -> init, notify init";

/// State, event, what is done, state after.
#[rustfmt::skip]
fn table() -> Vec<(From, On, String, State)> {
    use State::{Backup, Fault, Init, Master};
    let row = |from, on, words: &str, state| (from, on, words.to_owned(), state);
    let after = |advert: &str, rest: &str| format!("{advert}, {rest}");
    vec![
        row(From::Init, On::Higher, "", Init),
        row(From::Init, On::EqualGreaterAddress, "", Init),
        row(From::Init, On::EqualLesserAddress, "", Init),
        row(From::Init, On::Lower, "", Init),
        row(From::Init, On::Zero, "", Init),
        row(From::Init, On::TimerEarly, "", Init),
        row(From::Init, On::TimerDue, "", Init),
        row(From::Init, On::Start, "init -> backup, notify backup", Backup),
        row(From::Init, On::Adopt, "ours, add, init -> master, notify master", Master),
        row(From::Init, On::Stop, "", Init),
        row(From::Init, On::Down, "", Init),
        row(From::Init, On::Up, "", Init),
        row(From::Init, On::Priority, "", Init),
        row(From::Init, On::Parameters, "", Init),
        row(From::Init, On::Addresses, "", Init),
        row(From::Init, On::Release, "refused", Init),
        row(From::Init, On::Claim, "refused", Init),
        row(From::Init, On::Promote, "", Init),
        row(From::Init, On::Yield, "", Init),

        row(From::Backup, On::Higher, "", Backup),
        row(From::Backup, On::EqualGreaterAddress, "", Backup),
        row(From::Backup, On::EqualLesserAddress, "", Backup),
        row(From::Backup, On::Lower, "", Backup),
        row(From::Backup, On::Zero, "", Backup),
        row(From::Backup, On::TimerEarly, "", Backup),
        row(From::Backup, On::TimerDue, PROMOTED, Master),
        row(From::Backup, On::Start, "", Backup),
        row(From::Backup, On::Adopt, "", Backup),
        row(From::Backup, On::Stop, "backup -> init, notify init", Init),
        row(From::Backup, On::Down, "backup -> fault, notify fault", Fault),
        row(From::Backup, On::Up, "", Backup),
        row(From::Backup, On::Priority, "", Backup),
        row(From::Backup, On::Parameters, "", Backup),
        row(From::Backup, On::Addresses, "", Backup),
        row(From::Backup, On::Release, "", Backup),
        // Its master is stronger.
        row(From::Backup, On::Claim, "refused", Backup),
        row(From::Backup, On::Promote, "", Backup),
        row(From::Backup, On::Yield, "", Backup),

        row(From::Master, On::Higher, YIELDED, Backup),
        row(From::Master, On::EqualGreaterAddress, YIELDED, Backup),
        row(From::Master, On::EqualLesserAddress, "advert 100, announce First", Master),
        row(From::Master, On::Lower, "advert 100, announce First", Master),
        row(From::Master, On::Zero, "advert 100, announce First", Master),
        row(From::Master, On::TimerEarly, "", Master),
        row(From::Master, On::TimerDue, "advert 100", Master),
        row(From::Master, On::Start, "", Master),
        row(From::Master, On::Adopt, "", Master),
        (From::Master, On::Stop, after("advert 0", STOPPED), Init),
        (From::Master, On::Down, after("advert 0", FAULTED), Fault),
        row(From::Master, On::Up, "", Master),
        row(From::Master, On::Priority, "advert 120", Master),
        row(From::Master, On::Parameters, "advert 100", Master),
        row(From::Master, On::Addresses, "advert 100, add, announce First", Master),
        (From::Master, On::Release, after("advert 0", DEMOTED), Backup),
        row(From::Master, On::Claim, "", Master),
        row(From::Master, On::Promote, "", Master),
        (From::Master, On::Yield, after("advert 0", DEMOTED), Backup),

        row(From::Listening, On::Higher, YIELDED, Backup),
        row(From::Listening, On::EqualGreaterAddress, YIELDED, Backup),
        (From::Listening, On::EqualLesserAddress, after("advert 0", DEMOTED), Backup),
        (From::Listening, On::Lower, after("advert 0", DEMOTED), Backup),
        row(From::Listening, On::Zero, "", Master),
        row(From::Listening, On::TimerEarly, "", Master),
        row(From::Listening, On::TimerDue, "advert 100, announce First", Master),
        row(From::Listening, On::Start, "", Master),
        row(From::Listening, On::Adopt, "", Master),
        row(From::Listening, On::Stop, STOPPED, Init),
        row(From::Listening, On::Down, FAULTED, Fault),
        row(From::Listening, On::Up, "", Master),
        row(From::Listening, On::Priority, "", Master),
        row(From::Listening, On::Parameters, "", Master),
        row(From::Listening, On::Addresses, "add", Master),
        row(From::Listening, On::Release, DEMOTED, Backup),
        row(From::Listening, On::Claim, "advert 100, announce First", Master),
        row(From::Listening, On::Promote, "", Master),
        (From::Listening, On::Yield, after("advert 0", DEMOTED), Backup),

        row(From::Fault, On::Higher, "", Fault),
        row(From::Fault, On::EqualGreaterAddress, "", Fault),
        row(From::Fault, On::EqualLesserAddress, "", Fault),
        row(From::Fault, On::Lower, "", Fault),
        row(From::Fault, On::Zero, "", Fault),
        row(From::Fault, On::TimerEarly, "", Fault),
        row(From::Fault, On::TimerDue, "", Fault),
        row(From::Fault, On::Start, "", Fault),
        row(From::Fault, On::Adopt, "", Fault),
        row(From::Fault, On::Stop, "fault -> init, notify init", Init),
        row(From::Fault, On::Down, "", Fault),
        row(From::Fault, On::Up, "fault -> backup, notify backup", Backup),
        row(From::Fault, On::Priority, "", Fault),
        row(From::Fault, On::Parameters, "", Fault),
        row(From::Fault, On::Addresses, "", Fault),
        row(From::Fault, On::Release, "", Fault),
        row(From::Fault, On::Claim, "refused", Fault),
        row(From::Fault, On::Promote, "", Fault),
        row(From::Fault, On::Yield, "", Fault),

        row(From::Ready, On::Higher, "", Backup),
        row(From::Ready, On::EqualGreaterAddress, "", Backup),
        row(From::Ready, On::EqualLesserAddress, "", Backup),
        row(From::Ready, On::Lower, "", Backup),
        row(From::Ready, On::Zero, "", Backup),
        row(From::Ready, On::TimerEarly, "", Backup),
        row(From::Ready, On::TimerDue, "", Backup),
        row(From::Ready, On::Start, "", Backup),
        row(From::Ready, On::Adopt, "", Backup),
        row(From::Ready, On::Stop, "backup -> init, notify init", Init),
        row(From::Ready, On::Down, "backup -> fault, notify fault", Fault),
        row(From::Ready, On::Up, "", Backup),
        row(From::Ready, On::Priority, "", Backup),
        row(From::Ready, On::Parameters, "", Backup),
        row(From::Ready, On::Addresses, "", Backup),
        row(From::Ready, On::Release, "", Backup),
        row(From::Ready, On::Claim, "refused", Backup),
        row(From::Ready, On::Promote, PROMOTED, Master),
        row(From::Ready, On::Yield, "", Backup),
    ]
}

#[test]
fn every_state_answers_every_event() {
    let table = table();
    for from in STATES {
        for on in EVENTS {
            let rows = table.iter().filter(|row| (row.0, row.1) == (from, on));
            assert_eq!(rows.count(), 1, "{from:?} meets {on:?} once in the table");
        }
    }
    for (from, on, expected, state) in table {
        let mut life = life(from);
        let done = happens(&mut life, on);
        assert_eq!(done, expected, "{from:?} meets {on:?}");
        assert_eq!(life.machine.state(), state, "{from:?} meets {on:?}");
    }
}

#[test]
fn a_state_with_something_to_wait_for_has_a_deadline_and_the_others_have_none() {
    for from in STATES {
        let life = life(from);
        let waits = !matches!(from, From::Init | From::Fault | From::Ready);
        assert_eq!(life.machine.next_deadline().is_some(), waits, "{from:?}");
    }
}

#[test]
fn each_count_has_a_name_of_its_own() {
    let life = Life::new(parameters(100));
    let names: BTreeSet<_> = life
        .machine
        .counters()
        .iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), life.machine.counters().iter().count());
}

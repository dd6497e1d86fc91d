//! Quorum, sorry server, slow start, starting down, the operator's word, and who is told.

use super::*;
use lb_common::Tenure;

/// Three real servers with the weights 2, 1 and 1, and `keys` of the service.
fn service(keys: &str) -> Pool {
    pool_of(&format!(
        "[[service]]\nname = \"web\"\nlisten = [\"192.0.2.10:80\"]\nmode = \"dr\"\ntable_size = 251\n{keys}\n\
         [service.check]\ntcp = {{}}\n\
         [[service.real_server]]\naddress = \"192.0.2.21:80\"\nweight = 2\n\
         [[service.real_server]]\naddress = \"192.0.2.22:80\"\n\
         [[service.real_server]]\naddress = \"192.0.2.23:80\"\n"
    ))
}

/// A pool, and a clock that stands still.
struct Life {
    pool: Pool,
    now: Instant,
}

impl Life {
    fn new(keys: &str) -> Self {
        Self {
            pool: service(keys),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// A result of the check of one real server, and what it changes: (who, old, new).
    fn health(&mut self, at: usize, state: State) -> Vec<(String, &'static str, &'static str)> {
        let target = self.pool.targets()[at].clone();
        let changes = self.pool.on_health(&event(&target, state), self.now);
        told(&changes)
    }

    fn word(
        &mut self,
        last: u8,
        is_disabled: bool,
        weight: Option<u16>,
    ) -> Vec<(String, &'static str, &'static str)> {
        let stance = match is_disabled {
            true => Stance::Disabled,
            false => Stance::Enabled,
        };
        let word = Word { stance, weight };
        let name = format!("192.0.2.{last}:80");
        told(&self.pool.on_word("web", &name, word, self.now))
    }

    /// Slots of each real server, and of the sorry server where there is one.
    fn shares(&mut self) -> Vec<usize> {
        let desired = self.pool.desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            self.now,
        );
        let web = &desired.services[0];
        let slots = |owner: u32| web.table.iter().filter(|&&slot| slot == owner).count();
        (0..web.real_servers.len() as u32).map(slots).collect()
    }
}

fn told(changes: &[Change]) -> Vec<(String, &'static str, &'static str)> {
    let who = |change: &Change| {
        change
            .real_server
            .clone()
            .unwrap_or_else(|| change.service.clone())
    };
    changes
        .iter()
        .map(|change| (who(change), change.old, change.new))
        .collect()
}

#[test]
fn below_its_quorum_a_service_is_down_and_its_real_servers_serve_on() {
    let mut life = Life::new("quorum = 2\nhysteresis = 1");
    assert!(life.pool.services()[0].is_up());
    assert_eq!(
        life.health(0, State::Down),
        [("192.0.2.21:80".to_owned(), "up", "down")]
    );
    assert_eq!(life.health(1, State::Down).len(), 1, "1 is not below 2 - 1");
    let down = life.health(2, State::Down);
    assert_eq!(down[1], ("web".to_owned(), "up", "down"));
    assert_eq!(life.health(1, State::Up).len(), 1);
    assert_eq!(life.health(2, State::Up).len(), 1, "2 is not 2 + 1");
    assert!(!life.pool.services()[0].is_up());
    assert_eq!(
        life.shares().iter().sum::<usize>(),
        251,
        "those that live serve"
    );
    assert_eq!(
        life.health(0, State::Up)[1],
        ("web".to_owned(), "down", "up")
    );
}

#[test]
fn the_sorry_server_stands_in_while_the_service_is_down() {
    let mut life = Life::new("quorum = 2\nsorry_server = \"192.0.2.99:80\"");
    assert_eq!(life.shares(), [125, 63, 63, 0]);
    assert!(
        life.pool
            .addresses()
            .contains(&IpAddr::from([192, 0, 2, 99]))
    );
    assert_eq!(life.pool.demand().backends, 4);
    life.health(0, State::Down);
    assert_eq!(life.shares()[3], 0);
    let target = life.pool.targets()[1].clone();
    let changes = life.pool.on_health(&event(&target, State::Down), life.now);
    assert_eq!(
        changes[1].reason,
        "weight 1 of 4 lives, the quorum is 2; the sorry server 192.0.2.99:80 stands in"
    );
    assert!(life.pool.services()[0].is_sorry());
    assert_eq!(life.shares(), [0, 0, 0, 251], "also where one still lives");
    life.health(0, State::Up);
    assert_eq!(life.shares()[3], 0);
}

#[test]
fn a_recovered_real_server_is_ramped_in_steps() {
    let mut life = Life::new("slow_start = \"100s\"");
    let whole = life.shares();
    life.health(0, State::Down);
    assert_eq!(life.pool.next_step(life.now), None);
    life.health(0, State::Up);
    // A tenth of 2 beside 1 and 1, of 251 slots.
    let first = life.shares()[0];
    assert!((22..=24).contains(&first), "{first}");
    assert_eq!(
        life.pool.next_step(life.now),
        Some(life.now + Duration::from_secs(10))
    );
    let mut last = first;
    for step in 2..10 {
        life.pass(Duration::from_secs(10));
        let now = life.shares()[0];
        let wanted = 251 * 2 * step / (2 * step + 20);
        assert!(
            now > last && now.abs_diff(wanted) <= 1,
            "step {step}: {now}, not {wanted}"
        );
        last = now;
    }
    life.pass(Duration::from_secs(10));
    assert_eq!(life.shares(), whole);
    assert_eq!(life.pool.next_step(life.now), None);
}

#[test]
fn the_shares_of_the_others_stay_in_proportion_while_one_is_ramped() {
    let mut life = Life::new("slow_start = \"100s\"");
    life.health(2, State::Down);
    life.health(2, State::Up);
    let shares = life.shares();
    assert!(shares[0].abs_diff(2 * shares[1]) <= 2, "{shares:?}");
    assert!(shares[2] < 10, "{shares:?}");
    // Dying again ends it.
    life.health(2, State::Down);
    assert_eq!(life.pool.next_step(life.now), None);
}

#[test]
fn without_slow_start_the_whole_share_is_back_at_once() {
    let mut life = Life::new("");
    let whole = life.shares();
    life.health(0, State::Down);
    life.health(0, State::Up);
    assert_eq!(
        (life.shares(), life.pool.next_step(life.now)),
        (whole, None)
    );
}

#[test]
fn starting_down_they_wait_for_their_first_good_check() {
    let mut life = Life::new("start_down = true");
    assert!(!life.pool.services()[0].is_up());
    assert_eq!(life.shares(), [0, 0, 0]);
    assert!(
        life.pool
            .targets()
            .iter()
            .all(|target| target.initial == State::Unknown)
    );
    let up = life.health(1, State::Up);
    let expected = [
        ("192.0.2.22:80".to_owned(), "down", "up"),
        ("web".to_owned(), "down", "up"),
    ];
    assert_eq!(up, expected);
    assert_eq!(life.shares(), [0, 251, 0]);
    let pool = service("");
    assert!(
        pool.targets()
            .iter()
            .all(|target| target.initial == State::Up)
    );
}

#[test]
fn the_operators_word_goes_before_health_and_configuration() {
    let mut life = Life::new("");
    let whole = life.shares();
    assert_eq!(
        life.word(21, true, None),
        [("192.0.2.21:80".to_owned(), "up", "disabled")]
    );
    assert_eq!(life.shares(), [0, 126, 125]);
    assert!(life.health(0, State::Down).is_empty(), "nothing that shows");
    assert_eq!(
        life.word(21, false, None),
        [("192.0.2.21:80".to_owned(), "disabled", "down")]
    );
    assert_eq!(life.shares()[0], 0, "health still says so");
    life.health(0, State::Up);
    assert_eq!(life.shares(), whole);
    assert_eq!(life.word(22, false, Some(0)).len(), 1);
    assert_eq!(life.shares()[1], 0);
    life.word(22, false, Some(2));
    let shares = life.shares();
    assert!(shares[0].abs_diff(shares[1]) <= 1, "{shares:?}");
    life.word(22, false, None);
    assert_eq!(life.shares(), whole);
    assert!(life.word(77, true, None).is_empty(), "there is no such one");
}

#[test]
fn one_that_is_disabled_does_not_count_for_the_quorum() {
    let mut life = Life::new("quorum = 3");
    assert_eq!(
        life.word(21, true, None)[1],
        ("web".to_owned(), "up", "down")
    );
}

#[test]
fn one_that_is_drained_takes_nothing_new_and_keeps_what_it_has() {
    let mut life = Life::new("slow_start = \"100s\"");
    let draining = Word {
        stance: Stance::Draining { until_s: Some(77) },
        weight: None,
    };
    let name = "192.0.2.21:80";
    let changes = life.pool.on_word("web", name, draining, life.now);
    assert_eq!(told(&changes), [(name.to_owned(), "up", "draining")]);
    assert_eq!(life.shares(), [0, 126, 125]);
    let desired = life
        .pool
        .desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            life.now,
        )
        .services;
    let rs1 = &desired[0].real_servers[0];
    assert_eq!((rs1.weight, rs1.state), (0, BackendState::Up));
    assert_eq!(
        (rs1.term.tenure, rs1.term.until_s),
        (Tenure::Keeps, Some(77))
    );
    let change = life
        .pool
        .on_drained("web", name, "nobody is left", life.now)
        .expect("a change");
    assert_eq!((change.old, change.new), ("draining", "drained"));
    assert!(change.commands.is_empty(), "it is the operator's own doing");
    assert!(
        life.pool
            .on_drained("web", "192.0.2.22:80", "", life.now)
            .is_none(),
        "nobody drains that one"
    );
    assert_eq!(
        life.word(21, false, None),
        [(name.to_owned(), "drained", "up")]
    );
    assert!(life.pool.next_step(life.now).is_some(), "it warms up again");
}

#[test]
fn one_that_fails_is_taken_out_or_drained_as_configured() {
    let text = CONFIG.replace(
        "address = \"192.0.2.21:80\"\n",
        "address = \"192.0.2.21:80\"\non_failure = \"drain\"\n",
    );
    let mut pool = pool_of(&text);
    for target in pool.targets() {
        let _ = pool.on_health(&event(&target, State::Down), Instant::now());
    }
    let desired = pool
        .desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            Instant::now(),
        )
        .services;
    let told = |at: usize| {
        let found = &desired[0].real_servers[at];
        (found.state, found.weight, found.term.tenure)
    };
    assert_eq!(told(0), (BackendState::Down, 0, Tenure::Keeps));
    assert_eq!(told(1), (BackendState::Down, 3, Tenure::Holds));
}

#[test]
fn words_of_an_earlier_life_are_in_force_from_the_start() {
    let mut pool = service("quorum = 3");
    let disabled = Word {
        stance: Stance::Disabled,
        weight: None,
    };
    pool.recall(
        [
            ("web", "192.0.2.21:80", disabled),
            ("gone", "192.0.2.21:80", disabled),
        ]
        .into_iter(),
    );
    assert!(!pool.services()[0].is_up());
    let mut life = Life {
        pool,
        now: Instant::now(),
    };
    assert_eq!(life.shares(), [0, 126, 125]);
}

#[test]
fn commands_are_those_of_the_service_and_then_of_the_real_server() {
    let text = "[[service]]\nname = \"web\"\nlisten = [\"192.0.2.10:80\"]\nmode = \"dr\"\ntable_size = 251\n\
        check.tcp = {}\n\
        notify = { up = [\"/bin/true\", \"up\"], down = [\"/bin/true\", \"down\"], real_server_down = [\"/bin/true\", \"rs\"], user = \"root\" }\n\
        [[service.real_server]]\naddress = \"192.0.2.21:80\"\n\
        notify = { up = [\"/bin/true\", \"own-up\"], down = [\"/bin/true\", \"own\"], user = \"root\" }\n";
    let mut pool = pool_of(text);
    let target = pool.targets()[0].clone();
    let mut heard = |state| -> Vec<(String, Vec<String>, Vec<String>)> {
        let changes = pool.on_health(&event(&target, state), Instant::now());
        let notices = changes
            .into_iter()
            .flat_map(|change| change.notices("edge-1"));
        let seen = notices.map(|notice| {
            let environment = notice
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            (
                notice.script.arguments().join(" "),
                notice.arguments,
                environment.collect(),
            )
        });
        seen.collect()
    };
    let down = heard(State::Down);
    let words: Vec<&str> = down.iter().map(|(words, _, _)| words.as_str()).collect();
    assert_eq!(words, ["rs", "own", "down"]);
    assert_eq!(down[0].1, ["web", "192.0.2.21:80"]);
    assert_eq!(down[2].1, ["web"]);
    let expected = [
        "LB_ROUTER_ID=edge-1",
        "LB_KIND=REAL_SERVER",
        "LB_NAME=web",
        "LB_REAL_SERVER=192.0.2.21:80",
        "LB_STATE=down",
        "LB_OLD_STATE=up",
        "LB_REASON=the test says so",
    ];
    assert_eq!(down[0].2, expected);
    assert_eq!(
        down[2].2[1..5],
        [
            "LB_KIND=SERVICE",
            "LB_NAME=web",
            "LB_REAL_SERVER=",
            "LB_STATE=down"
        ]
    );
    let up = heard(State::Up);
    let words: Vec<&str> = up.iter().map(|(words, _, _)| words.as_str()).collect();
    assert_eq!(words, ["own-up", "up"]);
}

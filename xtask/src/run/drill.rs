//! The run itself: requests, and in the middle of them a real server that dies and comes back, and the master's agent that
//! dies.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_tests::interrupt;
use lb_tests::traffic::{Load, Outcome, Stream};

use super::config::Expected;
use super::stage::{CLIENT, DIRECTORS, Stage};
use super::tally::Tally;
use super::view::{Second, View};
use super::watch::{Seen, Watch};

/// From one request of a connection to its next: 25 a second for each, which leaves a small machine idle enough for the
/// latencies to mean something.
const PERIOD: Duration = Duration::from_millis(40);
/// A request that takes longer has failed. In the lab an answer takes a millisecond.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// How often events are looked at.
const TICK: Duration = Duration::from_millis(20);
/// The share of a run of given length after which the server dies, after which it comes back, and after which the master's
/// agent dies.
const KILL_AT: f64 = 0.25;
const RESTORE_AT: f64 = 0.55;
const FAILOVER_AT: f64 = 0.75;

/// When things happen, counted from the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    kill: Duration,
    restore: Duration,
    failover: Duration,
    /// None: until Ctrl-C.
    end: Option<Duration>,
}

impl Schedule {
    /// For a run of `length`, or one without an end.
    ///
    /// # Errors
    /// A run in which the server would come back before its death has had its effect judges nothing.
    pub fn new(length: Option<Duration>, bound: Duration) -> Result<Self> {
        let Some(length) = length else {
            let restore = Duration::from_secs(20).max(Duration::from_secs(10) + 2 * bound);
            return Ok(Self {
                kill: Duration::from_secs(10),
                restore,
                failover: restore + Duration::from_secs(10),
                end: None,
            });
        };
        // A second beyond the bound must pass for failures after it to show.
        let shortest = (bound + Duration::from_secs(1)).div_f64(RESTORE_AT - KILL_AT);
        let shortest = Duration::from_secs(shortest.as_secs_f64().ceil() as u64);
        ensure!(
            length >= shortest,
            "--for {length:?} is too short to take a real server away and put it back: at least {shortest:?} are needed"
        );
        Ok(Self {
            kill: length.mul_f64(KILL_AT),
            restore: length.mul_f64(RESTORE_AT),
            failover: length.mul_f64(FAILOVER_AT),
            end: Some(length),
        })
    }

    /// Whether the run ends by itself.
    pub fn ends(&self) -> bool {
        self.end.is_some()
    }
}

/// How a run ended.
pub struct Ended {
    /// All requests.
    pub tally: Tally,
    /// What the status said last.
    pub seen: Seen,
    /// From the first request to the last.
    pub took: Duration,
}

/// Sends requests by the schedule until its end or until Ctrl-C.
pub fn run(
    stage: &mut Stage,
    expected: &Expected,
    schedule: Schedule,
    connections: usize,
) -> Result<Ended> {
    let load = Load {
        targets: expected.targets.clone(),
        connections,
        kept_alive: 0,
        period: PERIOD,
        timeout: TIMEOUT,
    };
    let [master, backup] = [0, 1].map(|place: usize| {
        let agent = &stage.agents[place];
        Watch::start(agent.status_reader())
    });
    let stream = Stream::start(stage.lab.find_node(CLIENT)?, &load)?;
    let mut run = Run {
        start: Instant::now(),
        tally: Tally::new(stage.server_names(), expected.bound),
        second: Second::default(),
        view: View::new(),
    };
    let mut next_draw = Duration::from_secs(1);
    loop {
        sleep(TICK);
        let at = run.start.elapsed();
        run.count(&stream.take());
        if interrupt::arrived() || schedule.end.is_some_and(|end| at >= end) {
            break;
        }
        // The master's end is ours from the failover on.
        let alive = usize::from(run.tally.failover.is_some());
        for (agent, name) in stage.agents.iter_mut().zip(DIRECTORS).skip(alive) {
            if let Some(status) = agent.daemon().ended() {
                run.view.erase();
                anyhow::bail!(
                    "the agent on {name} has ended: {status}; its log ends with\n{}",
                    agent.log_tail(30)
                );
            }
        }
        run.play(stage, schedule, at)?;
        run.tell_what_was_seen(&master.seen());
        run.tell_of_the_failover(&backup.seen());
        if at >= next_draw {
            let seen = run.serving(&master, &backup);
            run.view.draw(at, &run.second, &run.tally, &seen);
            run.second = Second::default();
            next_draw += Duration::from_secs(1);
        }
    }
    let took = run.start.elapsed();
    run.view.erase();
    run.count(&stream.stop());
    Ok(Ended {
        seen: run.serving(&master, &backup),
        tally: run.tally,
        took,
    })
}

struct Run {
    start: Instant,
    tally: Tally,
    second: Second,
    view: View,
}

impl Run {
    fn count(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.tally.add(outcome);
            self.second.requests += 1;
            match outcome.answer {
                Ok(_) => self.second.latencies.add(outcome.took),
                Err(_) => self.second.failed += 1,
            }
        }
    }

    /// Does what is due.
    fn play(&mut self, stage: &mut Stage, schedule: Schedule, at: Duration) -> Result<()> {
        let victim = stage
            .servers
            .first_mut()
            .context("the lab has a real server")?;
        let name = victim.node().name().to_owned();
        match &mut self.tally.drill {
            None if at >= schedule.kill => {
                self.tally.kill(&name, Instant::now());
                victim.kill();
                let bound = self.tally.bound().as_secs_f64();
                let text = format!(
                    "{name}'s nginx is killed: requests sent to it fail, until its checks do, which takes {bound:.1} s at most"
                );
                self.view.event(at, &text);
            }
            Some(drill) if drill.restored.is_none() && at >= schedule.restore => {
                victim
                    .restart()
                    .with_context(|| format!("put {name} back"))?;
                drill.restored = Some(Instant::now());
                self.view.event(
                    at,
                    &format!("{name}'s nginx is back: the next check will find it"),
                );
            }
            None | Some(_) => {}
        }
        if self.tally.failover.is_none() && at >= schedule.failover {
            let [master, backup] = DIRECTORS;
            self.tally.fail_over(Instant::now());
            stage.agents[0].kill();
            let text = format!(
                "{master}'s agent is killed (SIGKILL): its host forwards on, until {backup} misses its adverts"
            );
            self.view.event(at, &text);
        }
        Ok(())
    }

    /// What the director that is to serve said last.
    fn serving(&self, master: &Watch, backup: &Watch) -> Seen {
        match self.tally.failover {
            Some(_) => backup.seen(),
            None => master.seen(),
        }
    }

    /// Says once that the backup has taken over.
    fn tell_of_the_failover(&mut self, backup: &Seen) {
        if let Some(failover) = &mut self.tally.failover
            && failover.taken_over.is_none()
            && let Some(since) = backup.master_since
        {
            failover.taken_over = Some(since);
            let after = (since - failover.killed).as_secs_f64();
            let text = format!(
                "{} was seen to be master {after:.2} s after the kill",
                DIRECTORS[1]
            );
            self.view.event(self.start.elapsed(), &text);
        }
    }

    /// Says once what the kill has done, when the table is seen without the server.
    fn tell_what_was_seen(&mut self, seen: &Seen) {
        let Some(drill) = &mut self.tally.drill else {
            return;
        };
        if drill.table_changed.is_none()
            && let Some((changed, generation)) = seen.change_after(drill.killed)
        {
            drill.table_changed = Some(changed);
            let after = (changed - drill.killed).as_secs_f64();
            let text = format!(
                "generation {generation}, {after:.2} s after the kill, sends {}'s share to the others; {} requests had failed",
                drill.server,
                drill.failed_within_bound + drill.failed_after_bound,
            );
            self.view.event(self.start.elapsed(), &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_cannot_show_the_effect_of_a_death_is_refused() {
        let bound = Duration::from_secs(1);
        assert!(Schedule::new(Some(Duration::from_secs(6)), bound).is_err());
        let schedule = Schedule::new(Some(Duration::from_secs(7)), bound).unwrap();
        assert!(schedule.restore - schedule.kill >= bound + Duration::from_secs(1));
        assert!(schedule.ends());
    }

    #[test]
    fn a_run_without_an_end_kills_and_restores_too() {
        let schedule = Schedule::new(None, Duration::from_secs(30)).unwrap();
        assert!(!schedule.ends());
        assert!(schedule.restore - schedule.kill >= Duration::from_secs(60));
    }
}

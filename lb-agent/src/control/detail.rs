//! One service in full: how the checks of its real servers stand, and what has happened to it and to them.

use super::status::{ChangeStatus, CheckStatus, DrainStatus, ServiceStatus};
use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

/// A service, to be shown in full.
#[derive(Debug)]
pub struct InDetail<'a>(pub &'a ServiceStatus);

impl Display for InDetail<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let service = self.0;
        let listen = service.listen.join(" ");
        writeln!(f, "{}  {}  {listen}", service.name, service.state)?;
        if !service.reason.is_empty() {
            writeln!(f, "  {}", service.reason)?;
        }
        if let Some(sorry) = &service.sorry_server {
            let stands = if sorry.serves { "serves" } else { "stands by" };
            writeln!(f, "  sorry server {} {stands}", sorry.address)?;
        }
        happened(f, &service.history)?;
        for real_server in &service.real_servers {
            let since = real_server
                .since_s
                .map_or(String::new(), |since| format!(" for {}", seconds(since)));
            writeln!(
                f,
                "\n  {}  {}{since}  weight {}  {:.1} %  {}",
                real_server.address,
                real_server.state,
                real_server.weight,
                real_server.share_percent,
                real_server.next_hop
            )?;
            writeln!(f, "    {}", real_server.reason)?;
            if let Some(check) = &real_server.check {
                check_in_words(f, check)?;
            }
            if let Some(drain) = &real_server.drain {
                drain_in_words(f, drain)?;
            }
            happened(f, &real_server.history)?;
        }
        Ok(())
    }
}

fn check_in_words(f: &mut Formatter<'_>, check: &CheckStatus) -> fmt::Result {
    let last = match check.ago_s {
        Some(ago) => format!(
            "the last one {} ago in {:.1} ms: {}",
            seconds(ago),
            check.took_ms,
            check.last
        ),
        None => "none has ended yet".to_owned(),
    };
    let next = match check.next_ms {
        Some(ms) => format!("next in {}", milliseconds(ms)),
        None => "one is under way".to_owned(),
    };
    let state = &check.state;
    let since = seconds(check.since_s);
    let failures = check.failures;
    writeln!(
        f,
        "    check: {state} for {since}, {failures} failures in a row, {next}; {last}"
    )
}

fn drain_in_words(f: &mut Formatter<'_>, drain: &DrainStatus) -> fmt::Result {
    let left = match drain.connections {
        Some(count) => format!("{count} connections are known"),
        None => "connections are being counted".to_owned(),
    };
    match (drain.cut, drain.deadline_s) {
        (Some(cut), _) => writeln!(f, "    drained, {cut} connections were cut"),
        (None, Some(deadline)) => writeln!(f, "    {left}, cut in {}", seconds(deadline)),
        (None, None) => writeln!(f, "    {left}"),
    }
}

fn happened(f: &mut Formatter<'_>, history: &[ChangeStatus]) -> fmt::Result {
    for change in history {
        let ChangeStatus {
            ago_s,
            old,
            new,
            reason,
            ..
        } = change;
        writeln!(f, "    {} ago  {old} -> {new}  {reason}", seconds(*ago_s))?;
    }
    Ok(())
}

fn seconds(count: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(count))
}

fn milliseconds(count: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::RealServerStatus;

    #[test]
    fn a_service_shows_its_checks_and_its_history() {
        let change = |ago_s, old: &str, new: &str, reason: &str| ChangeStatus {
            ago_s,
            old: old.to_owned(),
            new: new.to_owned(),
            weight: 1,
            reason: reason.to_owned(),
        };
        let service = ServiceStatus {
            name: "web".to_owned(),
            state: "down".to_owned(),
            reason: "weight 0 of 1 lives, the quorum is 1".to_owned(),
            listen: vec!["192.0.2.10:80".to_owned()],
            history: vec![change(65, "up", "down", "weight 0 of 1 lives")],
            real_servers: vec![RealServerStatus {
                address: "10.0.0.1:80".to_owned(),
                state: "down".to_owned(),
                reason: "check failed: connection refused".to_owned(),
                weight: 1,
                since_s: Some(65),
                next_hop: "02:00:00:00:00:01".to_owned(),
                check: Some(CheckStatus {
                    state: "down".to_owned(),
                    since_s: 65,
                    last: "connection refused".to_owned(),
                    took_ms: 0.25,
                    ago_s: Some(1),
                    failures: 31,
                    next_ms: Some(1500),
                    ..CheckStatus::default()
                }),
                history: vec![change(65, "up", "down", "connection refused (2 in a row)")],
                ..RealServerStatus::default()
            }],
            ..ServiceStatus::default()
        };
        let shown = InDetail(&service).to_string();
        let expected = "\
web  down  192.0.2.10:80
  weight 0 of 1 lives, the quorum is 1
    1m 5s ago  up -> down  weight 0 of 1 lives

  10.0.0.1:80  down for 1m 5s  weight 1  0.0 %  02:00:00:00:00:01
    check failed: connection refused
    check: down for 1m 5s, 31 failures in a row, next in 1s 500ms; the last one 1s ago in 0.2 ms: connection refused
    1m 5s ago  up -> down  connection refused (2 in a row)
";
        assert_eq!(shown, expected);
    }
}

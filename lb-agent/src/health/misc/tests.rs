//! With real commands.

use std::time::{Duration, Instant};

use super::*;
use crate::config::{Scripts, User};
use crate::health::Origin;
use crate::health::{Kind, Outcome, Probe};
use crate::script::Runner;

const PATIENCE: Duration = Duration::from_secs(10);

fn misc(text: &str, verdict: Verdict, runner: &Runner) -> Misc {
    let user = nix::unistd::geteuid().as_raw().to_string();
    let settings = Scripts {
        user: User { user, group: None },
        allow_insecure: false,
    };
    let command = ["/bin/sh", "-c", text, "check"].map(str::to_owned);
    Misc {
        script: Script::new(&command, None, &settings, runner).expect("a good command"),
        arguments: ["web", "192.0.2.21", "80", "3"].map(str::to_owned),
        router_id: "edge-1".to_owned(),
        verdict,
    }
}

async fn run(text: &str, verdict: Verdict, timeout: Duration) -> Outcome {
    let runner = Runner::default();
    let kinds = [Kind::Misc(Box::new(misc(text, verdict, &runner)))].into();
    let probe = Probe {
        address: [192, 0, 2, 21].into(),
        port: 80,
        origin: Origin::default(),
        kinds,
    };
    let outcome = probe.run(timeout).await;
    runner.finish().await;
    outcome
}

fn failed(words: &str) -> Outcome {
    Outcome::Failed(words.to_owned())
}

#[tokio::test]
async fn exit_0_is_up_and_any_other_is_down() {
    assert_eq!(
        run("exit 0", Verdict::UpOrDown, PATIENCE).await,
        Outcome::Passed
    );
    let words = failed("/bin/sh: exit status 3: queue is full");
    assert_eq!(
        run("echo queue is full; exit 3", Verdict::UpOrDown, PATIENCE).await,
        words
    );
    assert_eq!(
        run("kill -9 $$", Verdict::UpOrDown, PATIENCE).await,
        failed("/bin/sh: killed by SIGKILL")
    );
}

#[tokio::test]
async fn a_dynamic_exit_status_is_a_weight() {
    let run = async |code: &str| run(&format!("exit {code}"), Verdict::Weight, PATIENCE).await;
    assert_eq!(run("0").await, Outcome::Passed);
    assert_eq!(run("1").await, failed("/bin/sh: exit status 1"));
    assert_eq!(run("2").await, Outcome::Weighed(0));
    assert_eq!(run("12").await, Outcome::Weighed(10));
    assert_eq!(run("255").await, Outcome::Weighed(253));
}

#[tokio::test]
async fn it_is_told_whom_to_check() {
    let arguments = r#"[ "$*" = "web 192.0.2.21 80 3" ]"#;
    assert_eq!(
        run(arguments, Verdict::UpOrDown, PATIENCE).await,
        Outcome::Passed
    );
    let environment = r#"[ "$LB_ROUTER_ID $LB_KIND $LB_NAME $LB_ADDRESS $LB_PORT $LB_WEIGHT" = "edge-1 CHECK web 192.0.2.21 80 3" ]"#;
    assert_eq!(
        run(environment, Verdict::UpOrDown, PATIENCE).await,
        Outcome::Passed
    );
}

#[tokio::test]
async fn at_the_deadline_it_is_ended() {
    let start = Instant::now();
    let outcome = run(
        "while :; do sleep 0.05; done",
        Verdict::UpOrDown,
        Duration::from_millis(200),
    )
    .await;
    let words = failed("/bin/sh: no end of the command within 200ms; it was terminated");
    assert_eq!(outcome, words);
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn the_result_does_not_wait_for_one_that_does_not_heed() {
    let runner = Runner::default();
    let stubborn = misc(
        "trap '' TERM; while :; do sleep 0.05; done",
        Verdict::UpOrDown,
        &runner,
    );
    let start = Instant::now();
    let kinds = [Kind::Misc(Box::new(stubborn))].into();
    let probe = Probe {
        address: [192, 0, 2, 21].into(),
        port: 80,
        origin: Origin::default(),
        kinds,
    };
    assert!(matches!(
        probe.run(Duration::from_millis(300)).await,
        Outcome::Failed(_)
    ));
    assert!(
        start.elapsed() < Duration::from_millis(1200),
        "{:?}",
        start.elapsed()
    );
    runner.finish().await;
}

#[tokio::test]
async fn a_command_that_is_gone_says_nothing_about_the_server() {
    let link = std::env::temp_dir().join(format!("lb-misc-{}", std::process::id()));
    std::os::unix::fs::symlink("/bin/true", &link).expect("a link");
    let user = nix::unistd::geteuid().as_raw().to_string();
    let settings = Scripts {
        user: User { user, group: None },
        allow_insecure: true,
    };
    let runner = Runner::default();
    let script = Script::new(&[link.display().to_string()], None, &settings, &runner);
    let script = script.expect("a good command");
    let misc = Misc {
        script,
        ..misc("", Verdict::UpOrDown, &runner)
    };
    let kinds = [Kind::Misc(Box::new(misc))].into();
    let probe = Probe {
        address: [192, 0, 2, 21].into(),
        port: 80,
        origin: Origin::default(),
        kinds,
    };
    assert_eq!(probe.run(PATIENCE).await, Outcome::Passed);
    std::fs::remove_file(&link).expect("the test's own link");
    assert!(
        matches!(probe.run(PATIENCE).await, Outcome::Inconclusive(words) if words.contains("No such file"))
    );
}

//! With real commands that write down what happens to them.

use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::config::{Scripts, User};
use crate::script::Runner;

/// A file that commands append to.
struct Diary(PathBuf);

impl Diary {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lb-notify-{}-{test}", std::process::id()));
        std::fs::write(&path, "").expect("a file for the test");
        Self(path)
    }

    fn notice(&self, about: &str, text: &str, argument: &str) -> Notice {
        let user = nix::unistd::geteuid().as_raw().to_string();
        let settings = Scripts {
            user: User { user, group: None },
            allow_insecure: false,
        };
        let text = text.replace("DIARY", &self.0.display().to_string());
        let command = ["/bin/sh", "-c", &text, "notify"].map(str::to_owned);
        Notice {
            about: about.to_owned(),
            script: Script::new(&command, None, &settings, &Runner::default()).expect("a command"),
            arguments: vec![argument.to_owned()],
            environment: vec![("LB_NAME", about.to_owned())],
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).expect("the test's own file");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn commands_about_one_service_are_run_in_order_never_two_at_once() {
    let diary = Diary::new("order");
    let notifier = Notifier::spawn(TIMEOUT);
    let text = "echo $LB_NAME begins $1 >> DIARY; sleep 0.02; echo $LB_NAME ends $1 >> DIARY";
    for number in 0..5 {
        notifier.send(diary.notice("web", text, &number.to_string()));
    }
    notifier.finish().await;
    let expected: Vec<String> = (0..5)
        .flat_map(|number| [format!("web begins {number}"), format!("web ends {number}")])
        .collect();
    assert_eq!(diary.lines(), expected);
}

#[tokio::test]
async fn a_command_that_hangs_holds_up_its_own_service_alone_and_not_for_ever() {
    let diary = Diary::new("hangs");
    let notifier = Notifier::spawn(Duration::from_millis(500));
    notifier.send(diary.notice("web", "while :; do sleep 0.05; done", ""));
    notifier.send(diary.notice("web", "echo $LB_NAME $1 >> DIARY", "after"));
    notifier.send(diary.notice("dns", "echo $LB_NAME $1 >> DIARY", "meanwhile"));
    notifier.finish().await;
    assert_eq!(diary.lines(), ["dns meanwhile", "web after"]);
}

#[tokio::test]
async fn who_reports_never_waits_and_what_is_too_much_is_not_run() {
    let diary = Diary::new("storm");
    let notifier = Notifier::spawn(TIMEOUT);
    let start = Instant::now();
    let notice = diary.notice("web", "echo $1 >> DIARY; sleep 60", "first");
    for _ in 0..3 * WAITING {
        notifier.send(notice.clone());
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    notifier.finish().await;
    assert_eq!(diary.lines().len(), 1);
}

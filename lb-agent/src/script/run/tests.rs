//! Real commands, as the user who runs the tests, or as nobody where that is root.

use super::*;

fn settings(user: &str) -> Scripts {
    Scripts {
        user: User {
            user: user.to_owned(),
            group: None,
        },
        allow_insecure: false,
    }
}

fn own_user() -> String {
    geteuid().as_raw().to_string()
}

fn shell(text: &str, runner: &Runner) -> Script {
    let command = ["/bin/sh", "-c", text].map(str::to_owned);
    Script::new(&command, None, &settings(&own_user()), runner).expect("a good command")
}

async fn run(text: &str) -> Ended {
    shell(text, &Runner::default())
        .run(&[], &[])
        .await
        .expect("a run")
}

#[tokio::test]
async fn status_and_first_line_are_told() {
    assert_eq!(run("exit 0").await.in_words(), "exit status 0");
    let ended = run("echo; echo '  it is  broken'; echo more >&2; exit 7").await;
    assert_eq!(ended.in_words(), "exit status 7: it is  broken");
    assert_eq!(run("echo on stderr >&2; exit 1").await.said, "on stderr");
    assert_eq!(run("kill -9 $$").await.in_words(), "killed by SIGKILL");
}

#[tokio::test]
async fn arguments_and_environment_are_passed_on() {
    let script = shell(
        "echo \"$0 $1 $LB_NAME $NOTIFY_SOCKET.$USER\"",
        &Runner::default(),
    );
    let arguments = ["web".to_owned(), "down".to_owned()];
    let ended = script
        .run(&arguments, &[("LB_NAME", "a b".to_owned())])
        .await
        .expect("a run");
    let name = Ids::of(&settings(&own_user()).user).expect("the user").name;
    assert_eq!(ended.said, format!("web down a b .{name}"));
}

#[tokio::test]
async fn endless_output_is_read_and_cut() {
    let ended = run("yes 0123456789 | head -c 1000000; exit 3").await;
    assert_eq!(ended.in_words(), "exit status 3: 0123456789");
    assert_eq!(
        run("head -c 5000 /dev/zero | tr '\\0' x").await.said.len(),
        SHOWN_CHARS
    );
}

#[tokio::test]
async fn who_is_left_behind_with_the_output_open_is_not_waited_for() {
    let start = Instant::now();
    assert_eq!(
        run("sleep 20 & echo $!; exit 0").await.status.code(),
        Some(0)
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_user_is_one_group_and_nothing_of_roots() {
    if !geteuid().is_root() {
        println!("not root: nobody else to become");
        return;
    }
    let command = ["/usr/bin/id", "-nu"].map(str::to_owned);
    let runner = Runner::default();
    let own = User {
        user: "daemon".to_owned(),
        group: Some("games".to_owned()),
    };
    let run = async |user: Option<&User>, option: &str| {
        let mut command = command.clone();
        command[1] = option.to_owned();
        let script = Script::new(&command, user, &settings("nobody"), &runner).expect("a command");
        script.run(&[], &[]).await.expect("a run").said
    };
    assert_eq!(run(None, "-nu").await, "nobody");
    assert_eq!(run(None, "-nG").await, "nogroup");
    assert_eq!(run(Some(&own), "-nu").await, "daemon");
    assert_eq!(run(Some(&own), "-nG").await, "games");
}

/// Gives `text` up when its first process has said its number, and returns that number and the time until all ended.
async fn given_up(test: &str, text: &str) -> (Pid, Duration) {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("lb-run-{}-{test}", std::process::id()));
    let text = format!(
        "{text} echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 0.05; done",
        file.display()
    );
    let runner = Runner::default();
    let script = shell(&text, &runner);
    let arguments = [];
    let run = script.run(&arguments, &[]);
    let number = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                return text.trim().parse().expect("a number");
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    let leader = tokio::select! {
        ended = run => panic!("ended by itself: {ended:?}"),
        number = number => Pid::from_raw(number),
    };
    std::fs::remove_file(&file).expect("the test's own file");
    let start = Instant::now();
    runner.finish().await;
    (leader, start.elapsed())
}

/// What /proc says of the group's processes, but for those that only wait to be reaped by init.
fn living(group: Pid) -> Vec<String> {
    let stats = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    // PID (NAME) STATE PARENT GROUP, proc(5)
    let of_group = |stat: &String| {
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        fields.next() != Some("Z") && fields.nth(1) == Some(group.to_string().as_str())
    };
    stats.filter(of_group).collect()
}

/// Who lives on although killed: on a busy host the end of a process takes its time.
async fn left(group: Pid) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(10);
    while !living(group).is_empty() && Instant::now() < until {
        tokio::time::sleep(GLANCE).await;
    }
    living(group)
}

#[tokio::test]
async fn one_that_is_given_up_is_terminated() {
    let (leader, took) = given_up("terminated", "").await;
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(left(leader).await, Vec::<String>::new());
}

#[tokio::test]
async fn one_that_does_not_heed_is_killed_with_its_group() {
    let (leader, took) =
        given_up("killed", "trap '' TERM; (while :; do sleep 0.05; done) & ").await;
    assert!(took >= PATIENCE, "{took:?}");
    let until = Instant::now() + Duration::from_secs(10);
    while !living(leader).is_empty() {
        assert!(Instant::now() < until, "{:?} live", living(leader));
        tokio::time::sleep(GLANCE).await;
    }
}

#[tokio::test]
async fn what_others_can_change_is_run_only_where_that_is_allowed() {
    // A link where everybody can make one, to a program of the system.
    let path = std::env::temp_dir().join(format!("lb-insecure-{}", std::process::id()));
    std::os::unix::fs::symlink("/bin/echo", &path).expect("a link");
    let command = [path.display().to_string(), "ran".to_owned()];
    let runner = Runner::default();
    let mut settings = settings(&own_user());
    let refused = Script::new(&command, None, &settings, &runner);
    assert!(
        matches!(refused, Err(ScriptError::Insecure(_))),
        "{refused:?}"
    );
    settings.allow_insecure = true;
    let script = Script::new(&command, None, &settings, &runner).expect("allowed");
    assert_eq!(script.run(&[], &[]).await.expect("a run").said, "ran");
    std::fs::remove_file(&path).expect("the test's own file");
    let gone = script.run(&[], &[]).await.expect_err("gone").to_string();
    assert!(
        gone.starts_with(&format!("start {}: No such file", path.display())),
        "{gone}"
    );
}

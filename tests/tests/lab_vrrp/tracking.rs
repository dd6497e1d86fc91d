//! What an instance does when a script says so, and who is told.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use lb_tests::director::agent_binary;
use lb_tests::lab::{Agent, Lab, Options, wait_until};
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::pair::{DEADLINE, has_address, wait_for_address, wait_for_state, wait_until_without};

const VIP: &str = "10.1.0.110";

/// A director whose instance depends on a script, which does what files in a folder say.
struct Stage {
    agent: Agent,
    folder: PathBuf,
    lab: Lab,
}

/// `well`: it is. `hang`: it does not end, not even when asked to. `stop`: it stops the agent.
const CHECK: &str = "#!/bin/sh\ncd $(dirname $0)\n\
    if [ -e hang ]; then trap '' TERM; echo $$ >> hanging; while :; do sleep 1; done; fi\n\
    if [ -e stop ]; then kill $PPID; while :; do sleep 1; done; fi\n\
    test -e well\n";
const TELL: &str = "#!/bin/sh\necho \"$* $LB_KIND $LB_NAME $LB_OLD_STATE $LB_STATE $LB_PRIORITY $LB_ROUTER_ID\" >> $(dirname $0)/told\n";

fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Stage {
    fn set(instance: &str, rest: &str) -> Self {
        let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
        let node = lab.node("lb1");
        let folder = node.directory().join("scripts");
        fs::create_dir(&folder).unwrap();
        script(&folder.join("check"), CHECK);
        script(&folder.join("tell"), TELL);
        let path = folder.display();
        let instance = instance.replace("FOLDER", &path.to_string());
        let rest = rest.replace("FOLDER", &path.to_string());
        let config = format!(
            "router_id = \"lb1\"\n[scripts]\nuser = \"root\"\nallow_insecure = true\n\
             [[script]]\nname = \"check\"\ncommand = [\"{path}/check\"]\ninterval = \"50ms\"\ntimeout = \"300ms\"\n\
             fall = 2\nrise = 2\n\
             [[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = 150\n\
             advert_interval = \"100ms\"\naddresses = [\"{VIP}/24\"]\n{instance}\n{rest}"
        );
        let agent = lab.agent("lb1", &agent_binary().unwrap(), &config).unwrap();
        Self { agent, folder, lab }
    }

    fn put(&self, flag: &str) {
        fs::write(self.folder.join(flag), "").unwrap();
    }

    fn take(&self, flag: &str) {
        fs::remove_file(self.folder.join(flag)).unwrap();
    }

    fn wait_until_told(&self, expected: &[&str]) {
        let told = self.folder.join("told");
        wait_until(DEADLINE, "what is told", || {
            let text = fs::read_to_string(&told).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            match lines == expected {
                true => Ok(()),
                false => Err(format!("{lines:#?}")),
            }
        })
        .unwrap();
    }
}

// V89, V94, V101, V102
#[test]
fn a_script_makes_and_mends_a_fault_and_every_change_is_told_in_order() {
    let notify = "track_scripts = [\"check\"]\n\
             [vrrp.notify]\nany = [\"FOLDER/tell\", \"own\"]\nfifo = \"FOLDER/pipe\"\n";
    let mut stage = Stage::set(
        notify,
        "[[sync_group]]\nname = \"VG_1\"\ninstances = [\"VI_1\"]\n\
         [sync_group.notify]\nmaster = [\"FOLDER/tell\", \"group\"]\n",
    );
    let capture = Capture::start(stage.lab.node("cl1"));
    let pipe = fs::File::open(stage.folder.join("pipe")).unwrap();
    let status = wait_for_state(&stage.agent, "fault");
    assert_eq!(status["reason"], "down: script check", "{status}");
    stage.put("well");
    wait_for_state(&stage.agent, "master");
    wait_for_address(stage.lab.node("lb1"), VIP);
    stage.take("well");
    wait_for_state(&stage.agent, "fault");
    wait_until_without(stage.lab.node("lb1"), VIP);
    wait_until(DEADLINE, "a resignation", || {
        let adverts = capture.adverts();
        let resigned = adverts.iter().any(|advert| advert.repr.priority == 0);
        resigned.then_some(()).ok_or("none")
    })
    .unwrap();
    stage.put("well");
    wait_for_state(&stage.agent, "master");
    stage
        .agent
        .daemon()
        .stop(Signal::SIGTERM, DEADLINE)
        .unwrap();

    let line = |state: &str, old: &str| {
        format!("own INSTANCE VI_1 {state} 150 INSTANCE VI_1 {old} {state} 150 lb1")
    };
    let (backup, fault) = (line("BACKUP", "FAULT"), line("FAULT", "MASTER"));
    let (begun, master) = (line("FAULT", "STOP"), line("MASTER", "BACKUP"));
    let stop = line("STOP", "MASTER");
    // Those of the group are in an order of their own.
    let told = fs::read_to_string(stage.folder.join("told")).unwrap();
    let own: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("own"))
        .collect();
    assert_eq!(
        own,
        [&begun, &backup, &master, &fault, &backup, &master, &stop]
    );
    let group = "group GROUP VG_1 MASTER 0 GROUP VG_1 BACKUP MASTER 0 lb1";
    assert_eq!(
        told.lines().filter(|line| *line == group).count(),
        2,
        "{told}"
    );
    let piped: Vec<String> = BufReader::new(pipe).lines().map(Result::unwrap).collect();
    let states = [
        "FAULT", "BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP",
    ];
    assert_eq!(
        piped,
        states.map(|state| format!("INSTANCE \"VI_1\" {state} 150"))
    );
}

// V93, V103
#[test]
fn a_script_that_hangs_is_killed_and_one_that_is_told_and_hangs_holds_nothing_up() {
    let hanging = "track_scripts = [\"check\"]\n[vrrp.notify]\nany = [\"/bin/sleep\", \"60\"]\n";
    let mut stage = Stage::set(hanging, "");
    stage.put("well");
    wait_for_state(&stage.agent, "master");
    stage.put("hang");
    wait_for_state(&stage.agent, "fault");
    stage.take("hang");
    // The next run is not skipped.
    wait_for_state(&stage.agent, "master");
    wait_for_address(stage.lab.node("lb1"), VIP);
    let pids = fs::read_to_string(stage.folder.join("hanging")).unwrap();
    assert!(pids.lines().count() >= 2, "{pids}");
    wait_until(DEADLINE, "the end of what hung", || {
        let mut alive = pids.lines().map(|pid| Path::new("/proc").join(pid));
        match alive.find(|process| process.exists()) {
            None => Ok(()),
            Some(process) => Err(process.display().to_string()),
        }
    })
    .unwrap();
    stage
        .agent
        .daemon()
        .stop(Signal::SIGTERM, DEADLINE)
        .unwrap();
    assert!(!has_address(stage.lab.node("lb1"), VIP));
}

// V90
#[test]
fn a_weighted_script_changes_the_priority_that_is_advertised() {
    let stage = Stage::set("track_scripts = [{ name = \"check\", weight = -50 }]\n", "");
    let capture = Capture::start(stage.lab.node("cl1"));
    wait_for_state(&stage.agent, "master");
    let wait_for_priority = |priority: u8| {
        wait_until(DEADLINE, "the priority", || {
            let last = capture.adverts().last().map(|advert| advert.repr.priority);
            match last == Some(priority) {
                true => Ok(()),
                false => Err(format!("{last:?}")),
            }
        })
        .unwrap();
        assert_eq!(wait_for_state(&stage.agent, "master")["priority"], priority);
    };
    wait_for_priority(100);
    stage.put("well");
    wait_for_priority(150);
    stage.take("well");
    wait_for_priority(100);
    let failed_once = wait_for_state(&stage.agent, "master");
    assert_eq!(failed_once["counters"]["became_master"], 1, "{failed_once}");
}

#[test]
fn a_script_may_stop_the_agent() {
    let told = "track_scripts = [\"check\"]\n[vrrp.notify]\nstop = [\"FOLDER/tell\"]\n";
    let mut stage = Stage::set(told, "");
    stage.put("well");
    wait_for_state(&stage.agent, "master");
    wait_for_address(stage.lab.node("lb1"), VIP);
    stage.put("stop");
    let ended = stage.agent.daemon().wait(DEADLINE).unwrap();
    assert_eq!(ended.to_string(), "exit status 0");
    assert!(!has_address(stage.lab.node("lb1"), VIP));
    stage.wait_until_told(&["INSTANCE VI_1 STOP 150 INSTANCE VI_1 MASTER STOP 150 lb1"]);
}

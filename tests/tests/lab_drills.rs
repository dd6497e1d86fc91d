//! What keepalived's tutorials have their readers do, with our words: a web server on two hosts, a check that starts it
//! again, and the address that moves where that does not help.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use lb_tests::director::{DEADLINE, agent_binary, service};
use lb_tests::lab::{Agent, Lab, Node, Options, VIP4, wait_until};
use lb_tests::traffic::request_once;

/// nginx on a director, started by whoever runs its script.
struct Web {
    conf: PathBuf,
    pid: PathBuf,
    script: PathBuf,
}

impl Web {
    fn new(node: &Node) -> Self {
        let folder = node.directory().join("web");
        fs::create_dir_all(&folder).unwrap();
        let at = folder.display().to_string();
        let name = node.name();
        let conf = folder.join("nginx.conf");
        let pid = folder.join("pid");
        fs::write(
            &conf,
            format!(
                "user root; worker_processes 1; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
                 http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
                 uwsgi_temp_path {at}/d; scgi_temp_path {at}/e; add_header X-Real-Server {name} always;\n\
                 server {{ listen 80; location / {{ return 200 \"{name}\\n\"; }} }} }}\n"
            ),
        )
        .unwrap();
        // The tutorials' script: start it again, look a second time, give up.
        let script = folder.join("check_nginx.sh");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nask() {{ curl -sf -m 1 -o /dev/null http://127.0.0.1/; }}\nask && exit 0\n\
                 nginx -e {at}/error.log -c {at}/nginx.conf || exit 1\nsleep 0.2\nask\n"
            ),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { conf, pid, script }
    }

    /// The process id of its master, while it runs.
    fn pid(&self) -> Option<i32> {
        let text = fs::read_to_string(&self.pid).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        let alive = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
        alive.is_ok().then_some(pid)
    }

    fn stop(&self) {
        if let Some(pid) = self.pid() {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
    }

    fn config(&self, name: &str, priority: u8, address: &str) -> String {
        format!(
            "router_id = \"{name}\"\n[scripts]\nuser = \"root\"\n\
             [[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\nadvert_interval = \"100ms\"\n\
             priority = {priority}\naddresses = [\"{VIP4}/24\"]\ntrack_services = [\"nginx\"]\n\
             [[service]]\nname = \"nginx\"\nlisten = [\"{VIP4}:80\"]\nmode = \"local\"\nstart_down = true\n\
             [service.check]\nmisc = {{ command = [\"{}\"] }}\ninterval = \"300ms\"\nretry_interval = \"300ms\"\n\
             timeout = \"5s\"\nfall = 1\n[[service.real_server]]\naddress = \"{address}:80\"\n",
            self.script.display()
        )
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn the_check_starts_nginx_again_and_where_it_gives_up_the_address_moves_and_returns() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let (lb1, lb2) = (lab.node("lb1").clone(), lab.node("lb2").clone());
    lb1.run(
        "ip",
        &["address", "delete", &format!("{VIP4}/32"), "dev", "eth0"],
    )
    .unwrap();
    let webs = [Web::new(&lb1), Web::new(&lb2)];
    let binary = agent_binary().unwrap();
    let first = lab
        .agent("lb1", &binary, &webs[0].config("lb1", 150, "10.1.0.11"))
        .unwrap();
    let second = lab
        .agent("lb2", &binary, &webs[1].config("lb2", 100, "10.1.0.12"))
        .unwrap();
    let target = format!("{VIP4}:80").parse().unwrap();
    let answered_by = |name: &str| {
        wait_until(DEADLINE * 2, &format!("{name} to answer"), || {
            let answer = request_once(lab.node("cl1"), target, Duration::from_secs(1));
            match answer {
                Ok(found) if found == name => Ok(()),
                other => Err(format!("{other:?}; {}; {}", vrrp(&first), vrrp(&second))),
            }
        })
        .unwrap();
    };
    // Nobody has started nginx: the checks do.
    answered_by("lb1");
    let became_master = |agent: &Agent| {
        let status = agent.status().unwrap();
        status["vrrp"][0]["counters"]["became_master"]
            .as_u64()
            .unwrap_or_default()
    };
    wait_until(DEADLINE, "lb2's nginx to be started", || {
        webs[1].pid().map(|_| ()).ok_or("it is not")
    })
    .unwrap();

    // nginx dies, and is there again before anybody moves.
    let (before, masters) = (webs[0].pid().unwrap(), became_master(&first));
    webs[0].stop();
    wait_until(DEADLINE, "nginx to be started again", || {
        match webs[0].pid() {
            Some(pid) if pid != before => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    answered_by("lb1");
    assert_eq!(became_master(&first), masters, "the address never moved");

    // It cannot be started: the check gives up, and the other host has the address.
    let away = webs[0].conf.with_extension("away");
    fs::rename(&webs[0].conf, &away).unwrap();
    webs[0].stop();
    answered_by("lb2");
    let status = first.status().unwrap();
    assert_eq!(service(&status, "nginx")["state"], "down", "{status}");
    assert_eq!(status["vrrp"][0]["state"], "fault", "{status}");

    // Mended, the check starts it, and the address comes home.
    fs::rename(&away, &webs[0].conf).unwrap();
    answered_by("lb1");
}

fn vrrp(agent: &Agent) -> String {
    agent.status().map_or_else(
        |error| format!("{error:#}"),
        |status| status["vrrp"].to_string(),
    )
}

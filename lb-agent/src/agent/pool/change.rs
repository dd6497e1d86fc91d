//! What happened to a real server or a service, for the log and for who wants to be told.

use crate::{
    config::{self, MailEvent},
    mail,
    notify::Notice,
    script::{Runner, Script, ScriptError},
};
use std::{
    collections::VecDeque,
    time::{Instant, SystemTime},
};

/// Something that is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The service's name.
    pub service: String,
    /// The real server's address; `None`: it is the service itself.
    pub real_server: Option<String>,
    /// What it was.
    pub old: &'static str,
    /// What it is.
    pub new: &'static str,
    /// A real server's weight.
    pub weight: Option<u16>,
    /// Why, in words.
    pub reason: String,
    /// Commands to be run, in this order.
    pub commands: Vec<Script>,
}

/// Changes that are remembered.
const HISTORY: usize = 8;

/// The last changes of one, the latest last.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<(Instant, Change)>);

impl History {
    /// One more.
    pub fn push(&mut self, at: Instant, change: Change) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        self.0.push_back((at, change));
    }

    /// All that are remembered.
    pub fn iter(&self) -> impl Iterator<Item = &(Instant, Change)> {
        self.0.iter()
    }
}

/// Commands for one who is up or down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpDown {
    up: Vec<Script>,
    down: Vec<Script>,
}

/// Makes commands ready.
#[derive(Debug)]
pub struct Commands<'a> {
    /// How commands are run.
    pub settings: &'a config::Scripts,
    /// Who sees to them.
    pub runner: &'a Runner,
}

impl Commands<'_> {
    /// Adds a command of `user` to `to`, where there is one.
    fn add(
        &self,
        to: &mut Vec<Script>,
        command: Option<&config::Command>,
        user: Option<&config::User>,
    ) -> Result<(), ScriptError> {
        if let Some(command) = command {
            to.push(Script::new(command, user, self.settings, self.runner)?);
        }
        Ok(())
    }

    /// Those of a service.
    pub fn of_service(&self, notify: &config::ServiceNotify) -> Result<UpDown, ScriptError> {
        let mut commands = UpDown::default();
        self.add(&mut commands.up, notify.up.as_ref(), notify.user.as_ref())?;
        self.add(
            &mut commands.down,
            notify.down.as_ref(),
            notify.user.as_ref(),
        )?;
        Ok(commands)
    }

    /// Those of a real server: the service's first, then its own.
    pub fn of_real_server(
        &self,
        service: &config::ServiceNotify,
        own: &config::RealServerNotify,
    ) -> Result<UpDown, ScriptError> {
        let mut commands = UpDown::default();
        let user = service.user.as_ref();
        self.add(&mut commands.up, service.real_server_up.as_ref(), user)?;
        self.add(&mut commands.down, service.real_server_down.as_ref(), user)?;
        let user = own.user.as_ref();
        self.add(&mut commands.up, own.up.as_ref(), user)?;
        self.add(&mut commands.down, own.down.as_ref(), user)?;
        Ok(commands)
    }
}

impl UpDown {
    /// Those for this.
    pub fn when(&self, is_up: bool) -> Vec<Script> {
        if is_up {
            self.up.clone()
        } else {
            self.down.clone()
        }
    }
}

impl Change {
    /// What is told by mail; `None`: another weight alone is not worth one.
    pub fn mail(&self, at: SystemTime) -> Option<mail::Event> {
        if self.old == self.new {
            return None;
        }
        let Self { service, new, .. } = self;
        let (about, what) = match &self.real_server {
            Some(real_server) => (
                MailEvent::RealServer,
                format!("real server {real_server} of service {service} is {new}"),
            ),
            None => (MailEvent::Service, format!("service {service} is {new}")),
        };
        Some(mail::Event {
            about,
            at,
            what,
            reason: self.reason.clone(),
        })
    }

    /// What its commands are told: by arguments the service and the real server, by the environment all of it.
    pub fn notices(self, router_id: &str) -> impl Iterator<Item = Notice> {
        let kind = if self.real_server.is_some() {
            "REAL_SERVER"
        } else {
            "SERVICE"
        };
        let arguments: Vec<String> = [Some(self.service.clone()), self.real_server.clone()]
            .into_iter()
            .flatten()
            .collect();
        let environment = vec![
            ("LB_ROUTER_ID", router_id.to_owned()),
            ("LB_KIND", kind.to_owned()),
            ("LB_NAME", self.service.clone()),
            ("LB_REAL_SERVER", self.real_server.unwrap_or_default()),
            ("LB_STATE", self.new.to_owned()),
            ("LB_OLD_STATE", self.old.to_owned()),
            ("LB_REASON", self.reason),
        ];
        let about = self.service;
        self.commands.into_iter().map(move |script| Notice {
            about: about.clone(),
            script,
            arguments: arguments.clone(),
            environment: environment.clone(),
        })
    }
}

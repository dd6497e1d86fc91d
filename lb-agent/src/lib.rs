//! The agent: decides who serves, and writes the decisions into the data plane.

pub mod agent;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod datapath;
pub mod health;
mod log;
pub mod mail;
pub mod model;
pub mod network;
pub mod notify;
pub mod script;
pub mod sys;
pub mod vrrp;

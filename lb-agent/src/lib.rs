//! The agent: decides who serves, and writes the decisions into the data plane.

pub mod balance;
pub mod config;
pub mod datapath;
pub mod health;
pub mod network;
pub mod sys;

//! Elections with real keepalived as the other router, judged by what a third host of the network sees.

mod anew;
mod announcing;
mod capture;
mod examples;
mod failover;
mod fence;
mod flood;
mod interop;
mod living_on;
mod ownership;
mod pair;
mod question;
mod reload;
mod tracking;
mod virtual_mac;

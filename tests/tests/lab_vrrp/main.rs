//! Elections with real keepalived as the other router, judged by what a third host of the network sees.

mod capture;
mod fence;
mod interop;
mod living_on;
mod ownership;
mod pair;
mod question;

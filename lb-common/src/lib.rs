//! common
#![no_std]

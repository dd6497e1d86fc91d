//! What is printed while something stands that must be taken down: `println!` would panic where nobody reads any more.

use std::fmt::Arguments;
use std::io::{Write, stderr, stdout};

use lb_tests::interrupt;

/// Prints to standard output. Where that is closed, as by `cargo xtask run | head -3`, it is as if Ctrl-C had come.
pub fn out(text: Arguments<'_>) {
    let mut stdout = stdout().lock();
    if stdout
        .write_fmt(text)
        .and_then(|()| stdout.flush())
        .is_err()
    {
        interrupt::raise();
    }
}

/// Prints a line to standard error, as far as that can be.
pub fn error(text: Arguments<'_>) {
    let _ = writeln!(stderr(), "{text}");
}

/// `println!` by [`out`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say::out(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(crate) use say;

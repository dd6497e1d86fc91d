//! Linker options of the BPF object.

fn main() {
    // Packets are read at any alignment. Without this the compiler makes four byte loads of one word; every kernel
    // that this program runs on allows unaligned access on the architectures that do.
    println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    println!("cargo::rerun-if-changed=build.rs");
}

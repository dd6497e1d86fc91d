//! Linker options of the BPF object.

fn main() {
    // Packets are read at any alignment. Without this the compiler makes four byte loads of one word; every kernel
    // that this program runs on allows unaligned access on the architectures that do. The fence reads no packet by itself, and
    // its stack may only be accessed aligned.
    println!("cargo::rustc-link-arg-bin=lb=--cpu-features=+allows-misaligned-mem-access");
    // Cold functions would go to a section of their own. aya 0.14 knows the functions it has linked by their offset in a
    // section, whichever it is: a call to one of them could then reach another.
    println!("cargo::rustc-link-arg-bins=--llvm-args=-profile-guided-section-prefix=false");
    println!("cargo::rerun-if-changed=build.rs");
}

//! What the verifier makes of the program: how far it is from being refused.

use crate::rig;
use aya::programs::Xdp;
use lb_common::layout::PROGRAM;

/// Instructions that the verifier may follow before it is time to split the program: Linux 6.18 follows 166,416 now, 6.1
/// 153,342. It refuses at a million
/// (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf.h); each kernel follows as many as it likes.
const FOLLOWED: u32 = 500_000;
/// Instructions of the translated program.
const LENGTH: u32 = 65_536;

#[test]
fn the_verifier_has_room_to_spare() {
    let mut rig = rig::world();
    let program: &Xdp = rig
        .datapath
        .object()
        .program(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .expect("the object has the program");
    let info = program.info().expect("the kernel tells of its programs");
    // Linux 5.16 and newer tell how many they followed.
    let followed = info
        .verified_instruction_count()
        .expect("this kernel counts");
    let length = info.size_translated().expect("the caller is root") / 8;
    println!("verifier: {followed} instructions followed, {length} long");
    assert!(followed <= FOLLOWED, "{followed} of {FOLLOWED}");
    assert!(length <= LENGTH, "{length} of {LENGTH}");
}

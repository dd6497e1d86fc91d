//! What must be equal for one version of the agent to trust what another left pinned.

/// Version of every type in this crate and of every map's meaning; part of the pin directory's name.
pub const LAYOUT_VERSION: u32 = 4;

/// Names of the maps in the program's object, and of their pins.
pub mod map {
    /// One [`crate::Control`].
    pub const CONTROL: &str = "CONTROL";
    /// [`crate::Service`] entries, two banks.
    pub const SERVICES: &str = "SERVICES";
    /// [`crate::Slot`] words, ranges handed out by the agent.
    pub const SLOTS: &str = "SLOTS";
    /// [`crate::Backend`] entries, two banks.
    pub const BACKENDS: &str = "BACKENDS";
    /// [`crate::Counter`] by backend id, per CPU.
    pub const BACKEND_COUNTERS: &str = "BACKEND_COUNTERS";
    /// Packets by service and [`crate::Reason`], per CPU.
    pub const REASON_COUNTERS: &str = "REASON_COUNTERS";

    /// [`crate::flow::Bucket`]s, a power of two.
    pub const FLOWS: &str = "FLOWS";
    /// [`crate::Load`] by backend id.
    pub const LOADS: &str = "LOADS";
    /// Whose turn it is, by service id. Of no worth to another life of the agent: not pinned.
    pub const TURNS: &str = "TURNS";

    /// Every map that is pinned.
    pub const ALL: [&str; 8] = [
        CONTROL,
        SERVICES,
        SLOTS,
        BACKENDS,
        BACKEND_COUNTERS,
        REASON_COUNTERS,
        FLOWS,
        LOADS,
    ];
}

/// Names of the constants that the agent sets when it loads the program.
pub mod constant {
    /// `u32`: entries of one bank of the service table, a power of two.
    pub const SERVICE_CAPACITY: &str = "SERVICE_CAPACITY";
    /// `u32`: buckets of the flow table, a power of two.
    pub const FLOW_BUCKETS: &str = "FLOW_BUCKETS";
}

/// Name of the XDP program in the object.
pub const PROGRAM: &str = "lb";

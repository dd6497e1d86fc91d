//! How entries are kept, adopted and given up.

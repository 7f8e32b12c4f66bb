//! How much memory there is.

use anyhow::Context;
pub(crate) use contract::memory::Memory;

use super::root::Root;

pub(super) fn read(root: &Root) -> anyhow::Result<Memory> {
    Memory::parse(&root.must("proc/meminfo")?).context("parsing /proc/meminfo")
}

//! Machines in QEMU, driven and watched; scenarios, verdicts, evidence.
//!
//! **The chain.** An old system boots, gets the payload and jumps; the deploy environment goes
//! through its stages and resets the machine; a fresh machine with only the disks boots the new
//! system; and each link counts only if the sensors have seen it.
//!
//! The keys of a scenario are in `scenarios/README.md`, those of its machine in the README of this
//! crate. Modules build on each other in this order, never the other way round: `machine` → `guest`
//! → `accelerator` → `host` → `drive` → `fixture` → `rehearsal` and `scenario` → `report`.
//!
//! # What an author writes
//!
//! * [`scenario`]: one file, one claim; how scenarios are chosen, run and compared.
//! * [`machine::setup`]: the machine of a scenario, as its file describes it.
//! * [`fault`]: what happens to that machine, and when.
//! * [`topology`]: the network of its provider.
//! * [`fixture`]: the simulated VPS whose system is replaced.
//!
//! # What an author reads
//!
//! * [`verdict`]: how a rehearsal ended, whose fault it is, the exit code.
//! * [`classify`]: why it did not pass, in one word.
//! * [`evidence`]: the folder with everything that was seen.
//! * [`residue`]: what is left on the disk that should not be.
//! * [`report`]: a whole suite, for people and for programs.
//!
//! # What is done with a machine
//!
//! * [`rehearsal`]: all of the chain, the fresh machine, the judge and the control run.
//! * [`drive`]: one guest on its way along the chain, and what it is connected to.
//! * [`chain`]: the proof, link by link, from observations alone.
//! * [`contract`]: the console lines that `anemos` promises, spelled a second time on purpose.
//! * [`host`]: what all guests of a run share; its folder, its end by a signal.
//! * [`load`]: how busy the processes of this host are.
//! * [`accelerator`]: what runs guests on this host, by proof.
//! * [`budget`]: how long a wait may take.
//! * [`progress`]: what a run says while it goes on.
//! * [`server`]: the only server that a guest reaches.
//!
//! # What a machine is made of
//!
//! * [`machine`]: its description, and QEMU's arguments for it.
//! * [`guest`]: a machine that runs; its sensors, and the faults that strike it.
//! * [`console`], [`screen`]: its serial console and its screen, as a person would see them.
//! * [`qmp`]: the conversation with QEMU.
//! * [`firmware`]: UEFI on this host.
//! * [`image`], [`write_log`], [`debugfs`]: disks; what was written to them, and what is in them.
//!
//! # Tools
//!
//! * [`command`]: programs of the host.
//! * [`ssh`]: command lines in a guest.
//! * [`size`]: sizes as people write them.
//! * [`recent`]: the last lines before an end.

// What an author writes.
pub mod fault;
pub mod fixture;
pub mod scenario;
pub mod topology;

// What an author reads.
pub mod classify;
pub mod evidence;
pub mod report;
pub mod residue;
pub mod verdict;

// What is done with a machine.
pub mod accelerator;
pub mod budget;
pub mod chain;
pub mod contract;
pub mod drive;
pub mod host;
pub mod load;
pub mod progress;
pub mod rehearsal;
pub mod server;

// What a machine is made of.
pub mod console;
mod debugfs;
pub mod firmware;
pub mod guest;
pub mod image;
pub mod machine;
mod qmp;
pub mod screen;
pub mod write_log;

// Tools.
pub mod command;
pub mod file;
mod recent;
pub mod size;
pub mod ssh;

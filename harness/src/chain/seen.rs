//! What the sensors report to the chain and the judge.

use crate::fault::Fault;

/// One thing that a sensor reported.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The old system continues from where it was kept at its prompt.
    Resumed {
        /// `root=` from its kernel command line when it booted.
        old_root: Option<String>,
    },
    /// A fault struck the machine.
    Fault(String),
    /// A fault reset the machine, or cut its power.
    Cut(Fault),
    /// The old system was kept at its prompt, and continues.
    Kept,
    /// A whole line of the serial console.
    Line(String),
    /// A line of the serial console that is not complete yet.
    Pending(String),
    /// A line that the platform firmware wrote to its debug port.
    Firmware(String),
    /// A line on the screen.
    Screen(String),
    /// The watchdog was not fed for too long, and resets the machine.
    Watchdog,
    /// The guest reset itself.
    Reset,
    /// The guest switched itself off.
    PoweredOff,
    /// The guest's kernel reported to the machine that it panicked.
    Panicked,
    /// The binary, configuration and payload are in the guest.
    Pushed,
    /// `anemos deploy` was started in the guest.
    CommandStarted,
    /// A line that `anemos deploy` printed.
    CommandSaid(String),
    /// `anemos deploy` ended; without a status if the connection broke.
    CommandEnded(Option<i32>),
    /// A TCP port of the guest accepted a connection.
    Connected(u16),
}

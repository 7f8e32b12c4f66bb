//! What the sensors tell the chain and the judge.

/// One thing that a sensor told.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The old system goes on from where it was kept at its prompt.
    Resumed {
        /// What `root=` of its kernel command line said when it booted.
        old_root: Option<String>,
    },
    /// A fault struck the machine.
    Fault(String),
    /// A fault reset the machine, or cut its power.
    Cut(String),
    /// The old system was kept at its prompt, and goes on.
    Kept,
    /// A whole line of the serial console.
    Line(String),
    /// A line of the serial console that has no end yet.
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
    /// The guest's kernel told the machine that it panicked.
    Panicked,
    /// The binary, configuration and payload are in the guest.
    Pushed,
    /// `anemos deploy` was started in the guest.
    CommandStarted,
    /// A line of what `anemos deploy` said.
    CommandSaid(String),
    /// `anemos deploy` ended; without a status when the connection broke.
    CommandEnded(Option<i32>),
    /// A TCP port of the guest accepted a connection.
    Connected(u16),
}

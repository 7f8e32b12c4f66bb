//! The route that a chain proves: how it enters the deploy environment, how far it leads.

/// How the machine enters the deploy environment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// From the old system, by a jump.
    Jump,
    /// Directly, with kernel and initramfs given to QEMU.
    Direct,
}

/// What the chain has to prove.
#[derive(Clone, Debug)]
pub struct Route {
    /// How the deploy environment is entered.
    pub entry: Entry,
    /// The line with which the old system identifies itself.
    pub identity: String,
    /// The text of its login prompt.
    pub login: String,
    /// How far the route leads.
    pub aim: Aim,
}

/// How far `anemos deploy` goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Aim {
    /// To a new system on the disk.
    #[default]
    Deployment,
    /// Up to stage `deploy`, and back to the old system.
    Rehearsal,
}

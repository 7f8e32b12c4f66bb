//! What a chain is about: where it leads through, how far.

/// How the machine enters the deploy environment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// From the old system, by a jump.
    Jump,
    /// Directly, with kernel and initramfs given to QEMU.
    Direct,
}

/// What the chain is about.
#[derive(Clone, Debug)]
pub struct Route {
    /// How the deploy environment is entered.
    pub entry: Entry,
    /// The line with which the old system says who it is.
    pub identity: String,
    /// The text of its login prompt.
    pub login: String,
    /// How far the way leads.
    pub aim: Aim,
}

/// How far `anemos deploy` shall come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Aim {
    /// To a new system on the disk.
    #[default]
    Deployment,
    /// Up to stage `deploy`, and back to the old system.
    Rehearsal,
}

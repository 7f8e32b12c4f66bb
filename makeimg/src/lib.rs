//! Builds the image that an IMGBUILD describes: a shell script with a few known variables.

mod bootstrap;
mod build;
mod chroot;
mod clock;
mod command;
mod environment;
mod error;
mod evaluate;
mod files;
mod format;
mod hostconf;
mod inputs;
mod isolate;
mod modes;
mod options;
mod output;
mod patches;
mod project;
mod provision;
mod resolver;
mod root;
mod secrets;
mod shell;
mod stage;
mod templates;
mod tools;

pub use build::{Build, Made, build};
pub use command::CommandError;
pub use error::{MakeError, Problem};
pub use evaluate::evaluate;
pub use format::{Format, PartitionTable, Raw, Size};
pub use isolate::isolated;
pub use options::Options;
pub use project::{Function, HostItem, Project, Target, Variables};
pub use secrets::reveal;
pub use stage::{Step, Watch};

//! Rehearses a deployment on a simulated VPS.

pub mod judge;

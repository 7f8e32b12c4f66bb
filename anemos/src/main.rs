//! Command `anemos`; the same binary is PID 1 of the deploy environment.

fn main() {}

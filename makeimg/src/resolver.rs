//! Name resolution in the image while something runs there.

use std::fs;
use std::path::Path;

use crate::error::{Problem, file};
use crate::root::Root;

const CONF: &str = "etc/resolv.conf";
/// The temporary name of the image's own file, in the same folder.
const ASIDE: &str = ".resolv.conf.makeimg";

/// Does `work` with the host's resolver in the image, and restores the image's own afterwards.
///
/// If `work` itself puts a file there, that file stays.
pub(crate) fn with(root: &Root, work: impl FnOnce() -> Result<(), Problem>) -> Result<(), Problem> {
    // A host without one resolves no names, and neither will the image.
    let Ok(ours) = fs::read("/etc/resolv.conf") else { return work() };
    let conf = Path::new(CONF);
    let putting = || file("putting resolv.conf in place");
    let had = root.has(conf);
    if had {
        root.rename(conf, ASIDE).map_err(putting())?;
    }
    root.place(conf, &mut &*ours, 0o644).map_err(putting())?;
    let done = work();
    let restored = restore(root, &ours, had).map_err(file("restoring resolv.conf"));
    done.and(restored)
}

fn restore(root: &Root, ours: &[u8], had: bool) -> std::io::Result<()> {
    let (conf, aside) = (Path::new(CONF), Path::new("etc").join(ASIDE));
    let untouched = root.has(conf)
        && root.link(conf).is_none()
        && root.read(conf).is_ok_and(|found| found.as_deref() == Some(ours));
    match (untouched, had) {
        (true, true) => root.rename(&aside, "resolv.conf"),
        (true, false) => root.remove(conf),
        (false, true) => root.remove(&aside),
        (false, false) => Ok(()),
    }
}

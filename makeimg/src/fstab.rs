//! `/etc/fstab`, where nobody else has written it.

use std::path::Path;

use crate::error::{Problem, file};
use crate::root::Root;

/// Writes these lines, unless the file has some; tells whether it did.
pub(crate) fn write(root: &Root, lines: &str) -> Result<bool, Problem> {
    let path = Path::new("etc/fstab");
    let own = root.read(path).map_err(file("reading /etc/fstab"))?.unwrap_or_default();
    let empty = is_empty(&String::from_utf8_lossy(&own));
    if empty {
        root.place(path, &mut lines.as_bytes(), 0o644).map_err(file("writing /etc/fstab"))?;
    }
    Ok(empty)
}

/// Distributions leave a comment there.
fn is_empty(table: &str) -> bool {
    table.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_somebody_else_stay_and_comments_do_not() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        for (own, want) in [
            ("# <file system>\n\n", "ours\n"),
            ("# mine\ntmpfs /tmp tmpfs\n", "# mine\ntmpfs /tmp tmpfs\n"),
        ] {
            root.place(Path::new("etc/fstab"), &mut own.as_bytes(), 0o644).unwrap();
            assert_eq!(write(&root, "ours\n").unwrap(), want == "ours\n", "{own:?}");
            let text = root.read(Path::new("etc/fstab")).unwrap().unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), want);
        }
    }
}

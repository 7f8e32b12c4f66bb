//! Names in the kernel's mount tables.

/// Undoes the octal escapes of `/proc/self/mounts` and `mountinfo` (`proc_pid_mounts(5)`).
///
/// The backslash comes last: otherwise, what an escaped one becomes would be taken for an escape.
pub fn unescape(field: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// Returns the mount points of a table in the format of `proc_mounts(5)`, in its order.
pub fn targets(table: &str) -> impl DoubleEndedIterator<Item = String> {
    table.lines().filter_map(|line| line.split_whitespace().nth(1)).map(unescape)
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn blanks_and_backslashes_come_back() {
        for (field, want) in [
            ("/mnt", "/mnt"),
            ("/my\\040folder", "/my folder"),
            ("/a\\011b\\012c", "/a\tb\nc"),
            ("/back\\134slash", "/back\\slash"),
            ("/back\\134040", "/back\\040"),
        ] {
            assert_eq!(unescape(field), want, "{field}");
        }
    }
}

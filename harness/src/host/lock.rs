//! Locks in the cache: one process makes something, and others wait for it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::progress::Progress;

/// How often a lock is tried that another process holds.
const BEAT: Duration = Duration::from_millis(200);

/// Waits until nobody else holds the lock, and takes it; it ends with the returned file.
///
/// While it waits it shows who holds the lock of what, and since when, and can be dropped at any
/// moment.
pub(crate) async fn take(progress: &Progress, path: &Path, what: &str) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        progress.step(format!("{what}: waiting for {}", holder(path)));
        progress.tick();
        tokio::time::sleep(BEAT).await;
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Describes the process that holds a lock; it wrote its number there when it took it.
fn holder(path: &Path) -> String {
    let pid = fs::read_to_string(path).unwrap_or_default().trim().parse::<u32>();
    let taken =
        fs::metadata(path).and_then(|lock| lock.modified()).unwrap_or_else(|_| SystemTime::now());
    let since = humantime::format_rfc3339_seconds(taken);
    match pid {
        // Its name is in proc(5); a process that has just ended has none.
        Ok(pid) => match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("process {pid} ({}), which has it since {since}", name.trim()),
            Err(_) => format!("process {pid}, which has it since {since}"),
        },
        Err(_) => "another process, which has it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_that_is_held_names_its_holder_and_is_had_once_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.lock");
        let progress = Progress::silent();
        let held = take(&progress, &path, "it").await.unwrap();
        let said = holder(&path);
        let ours = format!("process {} (", std::process::id());
        assert!(said.starts_with(&ours) && said.contains("which has it since 20"), "{said}");
        let second = take(&progress, &path, "it");
        tokio::pin!(second);
        let waited = tokio::time::timeout(BEAT * 2, &mut second).await;
        assert!(waited.is_err(), "two hold it");
        drop(held);
        second.await.unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(holder(&path), "another process, which has it");
    }
}

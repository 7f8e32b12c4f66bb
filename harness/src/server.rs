//! The only server that a guest reaches: it gives the payload, and as many bytes as are asked for.
//!
//! QEMU starts it for each connection (`guestfwd=…-cmd:` of qemu(1)) with the connection as its
//! standard input and output. `GET /payload` is the payload, `GET /bytes/16M` that many zeroes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use crate::size::Size;

/// Where the guest finds it; port 80.
pub const ADDRESS: &str = "10.0.2.100";

/// What a server does wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Manners {
    /// Nothing.
    #[default]
    Good,
    /// It hangs up in the middle.
    Stops,
    /// The byte in the middle is another one.
    Lies,
}

impl Manners {
    /// The word on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stops => "stops",
            Self::Lies => "lies",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Result<Self, String> {
        let all = [Self::Good, Self::Stops, Self::Lies];
        let known = all.into_iter().find(|manners| manners.name() == word);
        known.ok_or_else(|| "use good, stops or lies".to_owned())
    }
}

/// Answers one request.
pub fn serve(
    from: impl Read,
    mut to: impl Write,
    payload: &Path,
    manners: Manners,
) -> io::Result<()> {
    let mut lines = BufReader::new(from).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let content: Option<(Box<dyn Read>, u64)> = match path {
        Some("/payload") => {
            let file = File::open(payload)?;
            let len = file.metadata()?.len();
            Some((Box::new(file), len))
        }
        Some(path) => path
            .strip_prefix("/bytes/")
            .and_then(Size::parse)
            .map(|size| (Box::new(io::repeat(0)) as Box<dyn Read>, size.bytes())),
        None => None,
    };
    let Some((mut content, len)) = content else {
        return to.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut (&mut content).take(len / 2), &mut to)?;
    match manners {
        Manners::Good => {}
        Manners::Stops => return to.flush(),
        Manners::Lies => {
            let mut byte = [0];
            let read = content.read(&mut byte)?;
            to.write_all(&[!byte[0]][..read])?;
        }
    }
    let told = if manners == Manners::Lies { len / 2 + 1 } else { len / 2 };
    io::copy(&mut content.take(len.saturating_sub(told)), &mut to)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(path: &str, manners: Manners) -> (String, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 9]).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n");
        let mut answer = Vec::new();
        serve(request.as_bytes(), &mut answer, file.path(), manners).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).unwrap().lines().next().unwrap().to_owned(), body)
    }

    #[test]
    fn it_gives_what_is_asked_for_and_does_wrong_only_when_told() {
        let ok = "HTTP/1.1 200 OK".to_owned();
        for (path, manners, want) in [
            ("/payload", Manners::Good, vec![7; 9]),
            ("/payload", Manners::Stops, vec![7; 4]),
            ("/payload", Manners::Lies, vec![7, 7, 7, 7, 248, 7, 7, 7, 7]),
            ("/bytes/2K", Manners::Good, vec![0; 2048]),
        ] {
            assert_eq!(body(path, manners), (ok.clone(), want), "{path} {manners:?}");
        }
        assert_eq!(body("/else", Manners::Good).0, "HTTP/1.1 404 Not Found");
    }

    #[test]
    fn manners_are_read_as_they_are_written() {
        for manners in [Manners::Good, Manners::Stops, Manners::Lies] {
            assert_eq!(Manners::parse(manners.name()), Ok(manners));
        }
        assert_eq!(Manners::parse("odd"), Err("use good, stops or lies".to_owned()));
    }
}

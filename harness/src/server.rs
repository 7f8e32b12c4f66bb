//! The only server that a guest reaches, which serves the payload and the files of some folders.
//!
//! It also serves any number of bytes on request.
//!
//! QEMU starts it for each connection (`guestfwd=…-cmd:` of qemu(1)), with the connection as its
//! standard input and output. `GET /payload` returns the payload, `GET /bytes/16M` that many
//! zeroes, `GET /NAME/…` a file of the folder with that name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use crate::size::Size;

/// The address at which the guest finds it, on port 80.
pub const ADDRESS: &str = "10.0.2.100";

/// What a server does wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Manners {
    /// Nothing.
    #[default]
    Good,
    /// It hangs up in the middle.
    Stops,
    /// It hangs up in the middle, and serves the rest if that is asked for.
    Resumes,
    /// The byte in the middle is wrong.
    Lies,
}

impl Manners {
    /// Returns the word on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stops => "stops",
            Self::Resumes => "resumes",
            Self::Lies => "lies",
        }
    }

    /// Parses the word.
    pub fn parse(word: &str) -> Result<Self, String> {
        let all = [Self::Good, Self::Stops, Self::Resumes, Self::Lies];
        let known = all.into_iter().find(|manners| manners.name() == word);
        known.ok_or_else(|| "use good, stops, resumes or lies".to_owned())
    }
}

/// A folder whose files are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Served {
    /// The first component of its paths.
    pub name: String,
    /// The folder on the host.
    pub folder: PathBuf,
}

/// Everything that can be served.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The payload.
    pub payload: &'a Path,
    /// Folders.
    pub folders: &'a [Served],
}

impl Served {
    /// Parses one from a command line: `NAME=FOLDER`.
    pub fn parse(word: &str) -> Result<Self, String> {
        let (name, folder) = word.split_once('=').ok_or("use NAME=FOLDER")?;
        Ok(Self { name: name.to_owned(), folder: PathBuf::from(folder) })
    }

    /// Formats it for a command line.
    pub fn word(&self) -> String {
        format!("{}={}", self.name, self.folder.display())
    }

    /// Returns the file behind a guest's URL; `None` for that of another folder or server.
    pub(crate) fn file_of(&self, url: &str) -> Option<PathBuf> {
        self.place(url.strip_prefix("http://")?.strip_prefix(ADDRESS)?)
    }

    /// Returns the file of a path; `None` if it leads out of this folder, or to another one.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let inside = path.strip_prefix('/')?.strip_prefix(&self.name)?.strip_prefix('/')?;
        let inside = PathBuf::from(decode(inside));
        let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
        plain.then(|| self.folder.join(inside))
    }
}

impl Offer<'_> {
    /// Opens what lies at a path; `None` if nothing does.
    fn open(&self, path: &str) -> io::Result<Option<(Box<dyn Read>, u64)>> {
        if let Some(size) = path.strip_prefix("/bytes/").and_then(Size::parse) {
            return Ok(Some((Box::new(io::repeat(0)), size.bytes())));
        }
        let file = match path {
            "/payload" => Some(self.payload.to_owned()),
            path => self.folders.iter().find_map(|folder| folder.place(path)),
        };
        let Some(file) = file else { return Ok(None) };
        match File::open(file) {
            Ok(file) if file.metadata()?.is_file() => {
                let len = file.metadata()?.len();
                Ok(Some((Box::new(file), len)))
            }
            Err(error) if !missing(&error) => Err(error),
            _ => Ok(None),
        }
    }
}

/// Returns whether nothing lies at a path, or something on the way there is not a folder.
fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Decodes what a client wrote as `%2b` (RFC 3986, section 2.1).
fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Answers one request.
pub fn serve(
    from: impl Read,
    mut to: impl Write,
    offer: Offer<'_>,
    manners: Manners,
) -> io::Result<()> {
    let mut lines = BufReader::new(from).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut from_byte = 0;
    while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
        from_byte = range(&line).unwrap_or(from_byte);
    }
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let content = path.map_or(Ok(None), |path| offer.open(path))?;
    let Some((mut content, len)) = content else {
        return to.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    if manners == Manners::Resumes && (1..len).contains(&from_byte) {
        io::copy(&mut (&mut content).take(from_byte), &mut io::sink())?;
        let (last, rest) = (len - 1, len - from_byte);
        write!(
            to,
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from_byte}-{last}/{len}\r\n\
             Content-Length: {rest}\r\nConnection: close\r\n\r\n"
        )?;
        io::copy(&mut content.take(rest), &mut to)?;
        return to.flush();
    }
    write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut (&mut content).take(len / 2), &mut to)?;
    match manners {
        Manners::Good => {}
        Manners::Stops | Manners::Resumes => return to.flush(),
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

/// Returns the first byte that is wanted if a header line asks for everything from there on.
fn range(line: &str) -> Option<u64> {
    let (name, value) = line.split_once(':')?;
    let first = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?;
    name.eq_ignore_ascii_case("range").then(|| first.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(path: &str, headers: &str, manners: Manners) -> (String, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 9]).unwrap();
        let mirror = tempfile::tempdir().unwrap();
        std::fs::create_dir(mirror.path().join("pool")).unwrap();
        std::fs::write(mirror.path().join("pool/g++_4%3a12.deb"), "deb").unwrap();
        let folders = [Served { name: "mirror".to_owned(), folder: mirror.path().to_owned() }];
        let offer = Offer { payload: file.path(), folders: &folders };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n{headers}\r\n");
        let mut answer = Vec::new();
        serve(request.as_bytes(), &mut answer, offer, manners).unwrap();
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
            ("/payload", Manners::Resumes, vec![7; 4]),
            ("/payload", Manners::Lies, vec![7, 7, 7, 7, 248, 7, 7, 7, 7]),
            ("/bytes/2K", Manners::Good, vec![0; 2048]),
        ] {
            assert_eq!(body(path, "", manners), (ok.clone(), want), "{path} {manners:?}");
        }
        for path in [
            "/else",
            "/mirror/pool",
            "/mirror/pool/none",
            "/mirror/pool/g++_4%253a12.deb/x",
            "/mirror/../payload",
            "/mirror//etc",
            "/mirror//etc/passwd",
        ] {
            assert_eq!(body(path, "", Manners::Good).0, "HTTP/1.1 404 Not Found", "{path}");
        }
        let encoded = body("/mirror/pool/g%2b%2b_4%253a12.deb", "", Manners::Good);
        assert_eq!(encoded, (ok, b"deb".to_vec()));
    }

    #[test]
    fn the_rest_is_given_by_one_that_resumes_alone() {
        let (part, ok) = ("HTTP/1.1 206 Partial Content", "HTTP/1.1 200 OK");
        for (manners, headers, want) in [
            (Manners::Resumes, "Range: bytes=4-\r\n", (part, 5)),
            (Manners::Resumes, "range:bytes=8-\r\nIf-Range: \"1\"\r\n", (part, 1)),
            (Manners::Resumes, "Range: bytes=9-\r\n", (ok, 4)),
            (Manners::Resumes, "Range: bytes=4-5\r\n", (ok, 4)),
            (Manners::Stops, "Range: bytes=4-\r\n", (ok, 4)),
            (Manners::Good, "Range: bytes=4-\r\n", (ok, 9)),
        ] {
            let (status, body) = body("/payload", headers, manners);
            assert_eq!((status.as_str(), body.len()), want, "{manners:?} {headers:?}");
        }
    }

    #[test]
    fn manners_are_read_as_they_are_written() {
        for manners in [Manners::Good, Manners::Stops, Manners::Resumes, Manners::Lies] {
            assert_eq!(Manners::parse(manners.name()), Ok(manners));
        }
        assert_eq!(Manners::parse("odd"), Err("use good, stops, resumes or lies".to_owned()));
    }
}

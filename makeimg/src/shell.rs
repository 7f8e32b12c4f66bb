//! What we send to a POSIX shell, and how it answers.
//!
//! IMGBUILD is never scanned. A shell reads it and then prints its variables, each followed by a
//! zero byte, which no value can contain. The names come from the output of `set`: a line of a
//! value that looks like an assignment only adds a name to ask for, and the shell knows whether
//! there is such a variable. Descriptor 9 leads back to us and is closed for IMGBUILD, whose output
//! goes to the messages.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use contract::quote;

use crate::project::Variables;

/// Defines the function that prints all variables.
const DUMP: &str = r#"
__makeimg_dump() {
    set +efux
    __makeimg_set=$(set)
    printf '%s\n' "$__makeimg_set" | while IFS= read -r __makeimg_line; do
        case $__makeimg_line in
        [A-Za-z_]*=*) __makeimg_name=${__makeimg_line%%=*} ;;
        *) continue ;;
        esac
        case $__makeimg_name in
        *[!A-Za-z0-9_]* | __makeimg_*) continue ;;
        esac
        eval "__makeimg_known=\${$__makeimg_name+x}"
        [ -n "$__makeimg_known" ] || continue
        eval "printf '%s=%s\\000' \"$__makeimg_name\" \"\${$__makeimg_name}\""
    done >&9
    printf '%s\000' "$1" >&9
}
exec 9>&1 1>&2
"#;

/// Reads IMGBUILD once, and prints its variables before and after, and its functions.
pub(crate) fn evaluation() -> String {
    let read = r"
__makeimg_dump :before
. ./IMGBUILD 9>&-
__makeimg_dump :after
for __makeimg_name in setup provision cleanup; do
    __makeimg_found=$(PATH=/nonexistent; command -v $__makeimg_name)
    [ x$__makeimg_found != x$__makeimg_name ] || printf ':%s\000' $__makeimg_name >&9
done
printf ':end\000' >&9
";
    format!("{DUMP}{read}")
}

/// Reads IMGBUILD again, and reports it if that ends the shell.
const READ_AGAIN: &str = r"
trap 'echo makeimg: IMGBUILD ended the shell that read it again >&2' EXIT
. ./IMGBUILD >/dev/null 2>&1 9>&-
set +efux
trap - EXIT
";

/// Calls a function of IMGBUILD on the host, and prints all variables afterwards for later steps.
///
/// `$1` is the file of values, `$2` the function, `$3` its argument.
pub(crate) fn call() -> String {
    let call = r#"
. "$__makeimg_values"
set -e
"$__makeimg_function" "$__makeimg_argument" 9>&-
__makeimg_dump :after
printf ':end\000' >&9
"#;
    let arguments = "__makeimg_values=$1 __makeimg_function=$2 __makeimg_argument=$3\n";
    format!("{DUMP}{arguments}{READ_AGAIN}{call}")
}

/// Calls `provision` in the image, which has the project and the values below `/run/makeimg`.
pub(crate) fn provision() -> String {
    let call = r"
cd /
. /run/makeimg/values
set -e
provision
";
    format!("cd /run/makeimg/project\n{READ_AGAIN}{call}")
}

/// Writes assignments for a shell, which skips variables that IMGBUILD made read-only.
pub(crate) fn assignments<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in variables {
        text.extend(format!("if ({name}=) 2>/dev/null; then {name}=").bytes());
        text.extend(quote::bytes(value.as_bytes()));
        text.extend(b"; fi\n");
    }
    text
}

/// What the shell printed.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) before: Variables,
    pub(crate) after: Variables,
    pub(crate) functions: Vec<String>,
    /// The shell came to the end of its commands.
    pub(crate) ended: bool,
}

/// Parses what the shell printed.
pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let mut answer = Answer::default();
    let mut current = Variables::new();
    for record in bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        match record.strip_prefix(b":") {
            Some(b"before") => answer.before = std::mem::take(&mut current),
            Some(b"after") => answer.after = std::mem::take(&mut current),
            Some(b"end") => answer.ended = true,
            Some(name) => answer.functions.push(String::from_utf8_lossy(name).into_owned()),
            None => {
                let equals = record.iter().position(|byte| *byte == b'=');
                let (name, value) = record.split_at(equals.unwrap_or(record.len()));
                let name = String::from_utf8_lossy(name).into_owned();
                let value = OsString::from_vec(value.get(1..).unwrap_or_default().to_vec());
                current.insert(name, value);
            }
        }
    }
    answer
}

/// Returns whether shells keep this variable for themselves.
pub(crate) fn is_internal(name: &str) -> bool {
    let names = [
        "_",
        "LINENO",
        "OPTARG",
        "OPTIND",
        "PWD",
        "OLDPWD",
        "PPID",
        "RANDOM",
        "SECONDS",
        "UID",
        "EUID",
        "GROUPS",
        "FUNCNAME",
        "PIPESTATUS",
        "SHELLOPTS",
        "EPOCHSECONDS",
        "EPOCHREALTIME",
        "SRANDOM",
        "SHLVL",
    ];
    names.contains(&name) || name.starts_with("BASH")
}

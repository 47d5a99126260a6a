//! Rules for Rust sources, line by line. No parser: a line that is right although a rule speaks
//! against it ends in `// tidy: REASON`.

use super::Fault;

/// The longest that a file may be, in lines.
const LONGEST: usize = 400;

/// What may not stand in a source, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("todo!(", "unfinished"),
    ("unimplemented!(", "unfinished"),
    ("dbg!(", "left over from a search"),
    ("#[ignore", "a test that doesn't run proves nothing"),
    ("thread::sleep", "poll for the condition, with a deadline"),
];

/// The only files with `unsafe`, and what each needs it for.
const UNSAFE: &[(&str, &str)] = &[
    ("lb-common/src/host/packet.rs", "lays headers over the bytes of a vector, as the kernel does"),
    ("lb-common/src/host/tables.rs", "hands out flow handles and reads through them"),
    ("lb-common/src/pipeline/begin.rs", "reads a flow through the handle that the table gave"),
    ("lb-common/src/pipeline/fate.rs", "keeps a number in memory, for verifiers before Linux 6.3"),
    ("lb-common/src/pipeline/flow.rs", "the flow handle: a raw pointer into a map's value"),
    ("lb-common/src/pipeline/graduate.rs", "works in the room that the table gave for a flow"),
    ("lb-common/src/pipeline/hold.rs", "works in the room that the table gave for a fragment"),
    ("lb-common/src/pipeline/told.rs", "works in the room that the table gave for what is told"),
    (
        "lb-common/src/tables/flow.rs",
        "clears an entry by words, which no loop may turn into memset",
    ),
    ("lb-common/src/wire/extension.rs", "says which structs may be laid over packet memory"),
    ("lb-common/src/wire/icmp.rs", "says which structs may be laid over packet memory"),
    ("lb-common/src/wire/ports.rs", "says which structs may be laid over packet memory"),
    ("lb-common/src/tables/frontend.rs", "Pod for generic keys, which bytemuck can't derive"),
    ("lb-common/src/wire/ethernet.rs", "says that the header may lie over any bytes"),
    ("lb-common/src/wire/ipv4.rs", "says that the header may lie over any bytes"),
    ("lb-common/src/wire/ipv6.rs", "says that the header may lie over any bytes"),
    ("lb-common/src/wire/mod.rs", "the trait that says a header may lie over any bytes"),
    ("lb-common/src/wire/sctp.rs", "says that the header may lie over any bytes"),
    ("lb-common/src/wire/tcp.rs", "says that the header may lie over any bytes"),
    ("lb-common/src/wire/udp.rs", "says that the header may lie over any bytes"),
    ("lb-common/src/wire/word.rs", "one word access to packed header fields"),
    ("lb-ebpf/rig/frame.rs", "writes frames over packet memory"),
    ("lb-ebpf/rig/main.rs", "calls the redirect helper and goes over to the measured program"),
    ("lb-ebpf/rig/sink.rs", "reads and turns frames in packet memory"),
    ("lb-ebpf/rig/steps.rs", "calls the clock helper; names the licence section"),
    ("lb-ebpf/rig/steps_without.rs", "hands out an array's line as the flow"),
    ("lb-ebpf/src/asking.rs", "calls the helpers that tell of a socket"),
    ("lb-ebpf/src/bind.rs", "reads the fields of a socket, asks who binds it"),
    ("lb-ebpf/src/connect.rs", "reads and writes the address of a system call"),
    ("lb-ebpf/src/actions.rs", "calls the redirect helpers"),
    (
        "lb-ebpf/src/counted.rs",
        "writes map values in place, calls the clock's and chance's helpers",
    ),
    ("lb-ebpf/src/fib.rs", "calls the route lookup helper and reads its answer"),
    ("lb-ebpf/src/sockets.rs", "calls the socket lookup helpers and gives the socket back"),
    ("lb-ebpf/src/link.rs", "writes link headers into packet memory"),
    ("lb-ebpf/src/main.rs", "calls the clock helper; names the licence section"),
    ("lb-ebpf/src/packet.rs", "the file that touches packet memory at TC"),
    ("lb-ebpf/src/stages.rs", "goes on to another program"),
    ("lb-ebpf/src/services.rs", "reads and writes map values in place"),
    ("lb-ebpf/src/translated.rs", "reads map values in place"),
    ("lb-ebpf/src/tables.rs", "reads and writes map values in place"),
    ("lb-ebpf/src/xdp.rs", "the file that touches packet memory at XDP"),
    ("lb-userspace/src/dataplane/batch.rs", "the batch system calls, which aya lacks"),
    (
        "lb-userspace/src/dataplane/binds.rs",
        "registers the ring buffer's descriptor with the runtime",
    ),
    ("lb-userspace/src/dataplane/link.rs", "the system calls that replace a link's program"),
    ("lb-userspace/src/dataplane/mapped.rs", "writes memory-mapped arrays"),
    ("lb-userspace/src/dataplane/tables.rs", "aya's Pod for the counters"),
    ("lb-userspace/src/dataplane/traffic.rs", "aya's Pod for the figures of backends"),
    ("lb-userspace/src/dataplane/trial.rs", "the system calls that try what the kernel has"),
    ("tests/benches/rig/live.rs", "the system call for live frames, with what aya leaves out"),
    ("tests/src/lab/cgroup.rs", "joins a cgroup between fork and exec, and takes a socket over"),
    ("tests/src/lab/namespace.rs", "enters a namespace between fork and exec"),
    ("tests/src/lab/tunnel.rs", "the system call that makes a tun device"),
    ("tests/src/process.rs", "asks for a signal between fork and exec"),
];

/// All rules for one source, but for `unsafe`.
pub fn check(file: &str, text: &str) -> Vec<Fault> {
    let fault = |line: usize, what: String| Fault { file: file.to_owned(), line, what };
    let mut faults = Vec::new();
    if !opens_with_docs(text) {
        faults.push(fault(1, "doesn't open with `//!` saying what the file is for".to_owned()));
    }
    let length = text.lines().count();
    if length > LONGEST {
        faults.push(fault(0, format!("{length} lines; more than {LONGEST} are several files")));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if is_exempt(line) {
            continue;
        }
        let code = code_of(line);
        for (pattern, why) in FORBIDDEN {
            if code.contains(pattern) {
                faults.push(fault(number, format!("`{pattern}`: {why}")));
            }
        }
    }
    faults
}

/// Space at the end of lines, in any text file.
pub fn trailing_whitespace(file: &str, text: &str) -> Vec<Fault> {
    let lines = (1..).zip(text.lines());
    let trailing = lines.filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
    let fault = |(line, _)| Fault { file: file.to_owned(), line, what: "space at the end".into() };
    trailing.map(fault).collect()
}

/// Whether a source has an `unsafe` block, function, trait or implementation.
pub fn uses_unsafe(text: &str) -> bool {
    let is_word_part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines()
        .filter(|line| !is_exempt(line))
        .any(|line| code_of(line).split(|c| !is_word_part(c)).any(|word| word == "unsafe"))
}

/// Holds the files that use `unsafe` against the list of those that may.
pub fn check_unsafe(found: &[String]) -> Vec<Fault> {
    let fault = |file: &str, what: &str| Fault { file: file.into(), line: 0, what: what.into() };
    let listed = |file: &String| UNSAFE.iter().any(|(name, _)| name == file);
    let unlisted = found.iter().filter(|file| !listed(file));
    let unlisted = unlisted.map(|file| fault(file, "`unsafe` in a file not listed in tidy"));
    let stale = UNSAFE.iter().filter(|(name, _)| !found.iter().any(|file| file == name));
    let stale = stale.map(|(name, _)| fault(name, "listed in tidy for `unsafe`, has none"));
    unlisted.chain(stale).collect()
}

fn opens_with_docs(text: &str) -> bool {
    // A shebang and inner attributes may come first; attributes may span lines.
    let mut in_attribute = false;
    for line in text.lines().map(str::trim) {
        if in_attribute {
            in_attribute = !line.ends_with(']');
        } else if line.starts_with("#![") {
            in_attribute = !line.contains(']');
        } else if !(line.is_empty() || line.starts_with("#!")) {
            return line.starts_with("//!");
        }
    }
    false
}

fn is_exempt(line: &str) -> bool {
    line.split_once("// tidy: ").is_some_and(|(_, reason)| !reason.trim().is_empty())
}

/// The line without its comment and without what its strings hold. Strings over several lines are not
/// followed.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut in_string = false;
    let line = line.replace("'\"'", "");
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if in_string => drop(rest.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && rest.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(c),
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#![no_std]\n//! For something.\nfn f() {}\n";

    #[test]
    fn a_good_file_has_no_faults() {
        assert_eq!(check("a.rs", GOOD), []);
    }

    #[test]
    fn each_forbidden_pattern_is_found_with_its_line() {
        for (pattern, _) in FORBIDDEN {
            let faults = check("a.rs", &format!("{GOOD}    {pattern}\n"));
            assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [4], "{pattern}");
        }
    }

    #[test]
    fn a_reason_exempts_a_line_and_a_comment_is_no_code() {
        let line = format!("{GOOD}thread::sleep(d) // tidy: the deadline's poll\n// dbg!(x)\n");
        assert_eq!(check("a.rs", &line), []);
        assert_eq!(check("a.rs", &line.replace("the deadline's poll", "")).len(), 1);
    }

    #[test]
    fn a_file_without_docs_or_too_long_is_a_fault() {
        assert_eq!(check("a.rs", "fn f() {}\n").len(), 1);
        assert_eq!(check("a.rs", "#![allow(\n    x,\n)]\n//! Docs\n"), []);
        assert_eq!(check("a.rs", &format!("{GOOD}{}", "\n".repeat(LONGEST))).len(), 1);
    }

    #[test]
    fn trailing_space_is_a_fault() {
        assert_eq!(trailing_whitespace("a.md", "a\nb \n")[0].line, 2);
    }

    #[test]
    fn unsafe_is_found_as_a_word_of_code() {
        assert!(uses_unsafe("let x = unsafe { y };"));
        assert!(!uses_unsafe("#![deny(unsafe_code)] // unsafe"));
        assert!(!uses_unsafe("let word = \"an unsafe one\";"));
        assert_eq!(check_unsafe(&["nowhere.rs".to_owned()]).len(), UNSAFE.len() + 1);
    }
}

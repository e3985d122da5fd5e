//! Transcripts: conversations between clients, weir and a server, message by message, byte for byte.
//!
//! Each file in `transcripts/` is one conversation with one shard. Lines of the outside world make things happen; all that weir
//! does about it must stand right below, in order. Notation of messages: `weir_sim::notation`.
//!
//! ```text
//! settings pool=1 client_auth=md5    how weir is configured (see `Setup::apply`)
//! client a                           a client connects
//! login a user=bob                   it sends its startup packet and proves itself by md5
//! a> Query "select 1"                it sends; `;` between messages of one write
//! serve s1                           connection s1 to the server comes up and logs in by trust
//! s1> ReadyForQuery I                the server sends
//! s1 connected, s1 fails, a tls, a eof, a reset, a congested, a drained, wait 5 s, drain, settings … again
//! ```
//! What only weir can know is written with `$`: keys, salts, nonces and proofs; the runner checks them in its own way. To write a new
//! transcript, write the lines of the outside world, run with `WEIR_WRITE_TRANSCRIPTS=1`, and read what came of it with care.

mod transcript;

use std::path::PathBuf;

use transcript::play;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) =
        (wanted.lines().collect(), found.lines().collect());
    let same = wanted
        .iter()
        .zip(&found)
        .take_while(|(a, b)| a == b)
        .count();
    let show = |lines: &[&str]| {
        lines
            .iter()
            .skip(same)
            .take(6)
            .map(|l| format!("      {l}\n"))
            .collect::<String>()
    };
    format!(
        "  from line {}:\n    the transcript says\n{}    weir does\n{}",
        same + 1,
        show(&wanted),
        show(&found)
    )
}

#[test]
fn every_transcript_comes_out() {
    let write = std::env::var_os("WEIR_WRITE_TRANSCRIPTS").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 40, "only {} transcripts", files.len());
    let mut failures = String::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        match play(&text) {
            Ok(found) if found == text => {}
            Ok(found) if write => std::fs::write(&file, found).unwrap(),
            Ok(found) => failures += &format!("{name}\n{}\n", difference(&text, &found)),
            Err(error) => failures += &format!("{name}\n  {error}\n"),
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn a_wrong_transcript_is_noticed() {
    let file = std::fs::read_to_string(folder().join("query_simple.txt")).unwrap();
    for (right, wrong) in [
        ("select 1", "select 2"),
        ("ReadyForQuery I", "ReadyForQuery T"),
        ("\na< CommandComplete", "\n# "),
    ] {
        assert!(file.contains(right));
        let spoilt = file.replacen(right, wrong, 1);
        assert_ne!(play(&spoilt).as_deref(), Ok(spoilt.as_str()), "{wrong}");
    }
}

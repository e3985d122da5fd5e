//! The program itself, without a database: how it starts, talks to the service manager, reloads, refuses and stops.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder of its own that goes away with it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("weir-front-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A weir that is killed with the test.
struct Weir {
    child: Child,
    log: PathBuf,
}

impl Weir {
    fn start(home: &Home, arguments: &[&str], notify: Option<&Path>) -> Weir {
        let log = home.0.join("log");
        let mut command = weir(arguments);
        command
            .stderr(std::fs::File::create(&log).unwrap())
            .stdout(Stdio::null());
        if let Some(socket) = notify {
            command
                .env("NOTIFY_SOCKET", socket)
                .env("WATCHDOG_USEC", "600000");
        }
        Weir {
            child: command.spawn().unwrap(),
            log,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -s {name} {pid}")])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn wait_for(&mut self, text: &str) {
        let log = |weir: &Weir| weir.log();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !log(self).contains(text) {
            assert!(
                Instant::now() < deadline,
                "no {text:?} in the log:\n{}",
                log(self)
            );
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "weir has ended:\n{}",
                log(self)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The exit code, after at most `most`.
    fn wait(&mut self, most: Duration) -> Option<i32> {
        let deadline = Instant::now() + most;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still runs:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(variable);
    }
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// A configuration whose target does not exist; its clients' and metrics' ports.
fn config(more: &str) -> (String, u16, u16) {
    let (port, metrics) = (free_port(), free_port());
    let text = format!(
        "[proxy]\nshards = 1\ndrain_timeout = 20\nmetrics_listen = \"127.0.0.1:{metrics}\"\n{more}\n[[listeners]]\n\
         listen = \"127.0.0.1:{port}\"\n[[target_groups]]\nhost = \"127.0.0.1\"\nport = 1\ntarget_tls = \"require\"\n\
         min_connection_pool_size = 0\n[[users]]\nname = \"app\"\npassword = \"marker-of-a-secret\"\n"
    );
    (text, port, metrics)
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// What the service manager is told until `wanted` comes.
fn hear(socket: &UnixDatagram, wanted: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(wanted) {
        let count = socket
            .recv(&mut buffer)
            .unwrap_or_else(|e| panic!("no {wanted}: {e}; heard {heard}"));
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    heard
}

#[test]
fn the_service_manager_hears_everything_and_a_stop_is_clean() {
    for io in ["auto", "epoll"] {
        let home = Home::new(&format!("notify-{io}"));
        let path = home.0.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let (text, port, metrics) = config(&format!("io = \"{io}\""));
        let file = home.write("weir.toml", &text);
        let mut weir = Weir::start(
            &home,
            &["run", "--config", file.to_str().unwrap()],
            Some(&path),
        );
        hear(&socket, "READY=1");
        hear(&socket, "WATCHDOG=1");
        assert!(get(metrics, "/metrics").contains("\nweir_config_generation 1\n"));
        assert!(get(metrics, "/health").starts_with("HTTP/1.1 200"));
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();

        weir.signal("HUP");
        let heard = hear(&socket, "RELOADING=1") + &hear(&socket, "READY=1");
        assert!(heard.contains("MONOTONIC_USEC="), "{heard}");
        assert!(get(metrics, "/metrics").contains("\nweir_config_generation 2\n"));

        home.write("weir.toml", &format!("{text}\n[nonsense]\nx = 1\n"));
        weir.signal("HUP");
        weir.wait_for("reload_refused");
        assert!(weir.log().contains("key=nonsense"), "{}", weir.log());
        assert!(get(metrics, "/metrics").contains("\nweir_reload_failures_total 1\n"));

        drop(client);
        weir.signal("TERM");
        hear(&socket, "STOPPING=1");
        assert_eq!(weir.wait(Duration::from_secs(15)), Some(0));
        let log = weir.log();
        assert!(log.contains(" stopped reason=drained "), "{log}");
        assert!(
            log.contains("certificate_made sha256_fingerprint="),
            "{log}"
        );
        assert!(!log.contains("marker-of-a-secret"), "{log}");
    }
}

#[test]
fn metrics_connections_that_say_nothing_do_not_keep_others_out() {
    let home = Home::new("silent");
    let (text, _, metrics) = config("log_format = \"json\"");
    let file = home.write("weir.toml", &text);
    let mut weir = Weir::start(&home, &["run", "--config", file.to_str().unwrap()], None);
    weir.wait_for("\"event\":\"started\"");
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(("127.0.0.1", metrics)).unwrap())
        .collect();
    assert!(get(metrics, "/health").ends_with("ok\n"));
    drop(silent);
    weir.signal("INT");
    assert_eq!(weir.wait(Duration::from_secs(15)), Some(0));
    for line in weir.log().lines() {
        assert!(
            line.starts_with("{\"time\":") && line.ends_with('}'),
            "{line}"
        );
    }
}

#[test]
fn what_can_not_start_says_why_in_one_line() {
    let home = Home::new("refused");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (text, port, _) = config("");
    let busy = text.replace(
        &format!("127.0.0.1:{port}"),
        &taken.local_addr().unwrap().to_string(),
    );
    let file = home.write("weir.toml", &busy);
    let output = weir(&["run", "--config", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    let last = text.lines().last().unwrap();
    assert!(
        last.contains("can't listen on") && last.contains(&taken.local_addr().unwrap().to_string()),
        "{text}"
    );
    assert!(
        !text.contains("panicked") && !text.contains("backtrace"),
        "{text}"
    );
}

#[test]
fn passwords_do_not_belong_on_the_command_line() {
    let output = weir(&[
        "run",
        "--target",
        "postgres://app:marker-of-a-secret@127.0.0.1:1/app",
        "--listen",
        "127.0.0.1:1",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("--password-file") && !text.contains("marker-of-a-secret"),
        "{text}"
    );
}

#[test]
fn init_check_and_verifier() {
    let home = Home::new("init");
    let path = home.0.join("weir.toml");
    let file = path.to_str().unwrap();
    assert!(weir(&["init", file]).output().unwrap().status.success());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = weir(&["init", file]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("--force"));
    assert!(
        weir(&["init", "--force", file])
            .output()
            .unwrap()
            .status
            .success()
    );

    home.write("weir.toml", "[proxy]\nshard = 1\nio = \"x\"\n");
    let checked = weir(&["check", "--config", file]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let text = said(&checked);
    assert!(
        text.contains("weir.toml:2: proxy.shard: unknown key; did you mean \"shards\"?"),
        "{text}"
    );
    assert!(text.contains("weir.toml:3: proxy.io: "), "{text}");

    let mut command = weir(&["scram-verifier"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let verifier = String::from_utf8(output.stdout).unwrap();
    assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
    assert!(weir_core::auth::UserSecret::from_verifier(verifier.trim()).is_ok());
    let completions = weir(&["completions", "bash"]).output().unwrap();
    assert!(String::from_utf8_lossy(&completions.stdout).contains("--max-connection-pool-size"));
}

//! The load generator against the null server: what it counts is what happened.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use weir_perf::load::{Login, Moment, Pace, Spec, Statement, Tls, Weighted, Work, run};
use weir_perf::model::Load;
use weir_perf::null::{Config, Running, spawn};

fn server(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    change(&mut config);
    spawn(&config).unwrap()
}

fn spec(to: SocketAddr, work: Work, pace: Pace) -> Spec {
    Spec {
        to,
        login: Login {
            user: "weir".to_owned(),
            database: "weir".to_owned(),
            password: None,
        },
        tls: None,
        connections: 8,
        active: 8,
        setup: Vec::new(),
        work: vec![Weighted { weight: 1, work }],
        pace,
        warmup: Duration::from_millis(100),
        duration: Duration::from_millis(500),
        cpus: Vec::new(),
        connect_rate: 10_000.0,
        read_rate: None,
        timeout: Duration::from_secs(30),
    }
}

fn one(sql: &str) -> Work {
    Work::Simple(vec![sql.to_owned()])
}

const CLOSED: Pace = Pace::Closed {
    think: Duration::ZERO,
};

fn loaded(spec: &Spec) -> Load {
    run(spec, &mut |_| {}).unwrap()
}

#[test]
fn a_closed_loop_counts_transactions_and_their_queries() {
    let server = server(|_| {});
    let three = ["begin", "select 1", "commit"].map(str::to_owned).to_vec();
    let mut spec = spec(server.address(), Work::Simple(three), CLOSED);
    spec.active = 5;
    let mut moments = Vec::new();
    let load = run(&spec, &mut |m| moments.push(m)).unwrap();
    assert!(load.done > 100, "{load:?}");
    assert_eq!(load.queries, 3 * load.done);
    assert!(load.errors.is_empty(), "{:?}", load.errors);
    assert_eq!(load.connect.count, 8);
    assert!(load.latency.count.abs_diff(load.done) <= 2 * 5);
    // begin: C and Z; select: T, D, C and Z; commit: C and Z.
    let expected = load.done * (12 + 6 + 30 + 12 + 14 + 6 + 13 + 6 - 12);
    assert!(load.bytes_in > expected / 2, "{} {expected}", load.bytes_in);
    assert!(load.generator_busy > 0.0);
    moments.retain(|m| !matches!(m, Moment::Connecting(_) | Moment::Progress(_)));
    assert_eq!(
        moments,
        [Moment::Connected, Moment::Measuring, Moment::Measured]
    );
}

#[test]
fn think_time_bounds_a_closed_loop() {
    let server = server(|_| {});
    let think = Duration::from_millis(50);
    let load = loaded(&spec(
        server.address(),
        one("select 1"),
        Pace::Closed { think },
    ));
    // 8 clients, 20 a second each, for half a second: 80; a busy machine makes fewer.
    assert!((20..=130).contains(&load.done), "{}", load.done);
}

#[test]
fn an_open_loop_sends_what_the_schedule_says_over_all_threads() {
    let server = server(|_| {});
    let mut spec = spec(
        server.address(),
        one("select 1"),
        Pace::Open { rate: 1000.0 },
    );
    spec.cpus = vec![0, 0];
    let load = loaded(&spec);
    assert!(
        (498..=502).contains(&load.latency.count),
        "{}",
        load.latency.count
    );
    assert!(load.errors.is_empty(), "{:?}", load.errors);
}

#[test]
fn latency_counts_from_the_schedule_and_lag_does_not_count_the_servers_time() {
    let server = server(|c| c.delay = Duration::from_millis(20));
    let mut spec = spec(
        server.address(),
        one("select 1"),
        Pace::Open { rate: 100.0 },
    );
    (spec.connections, spec.active, spec.warmup) = (1, 1, Duration::ZERO);
    let load = loaded(&spec);
    // 50 are due in half a second and take a second: the last one waits about half a second.
    assert!(
        (49..=51).contains(&load.latency.count),
        "{}",
        load.latency.count
    );
    assert!(load.latency.max > 400_000.0, "{:?}", load.latency);
    assert!(load.latency.p50 > 150_000.0, "{:?}", load.latency);
    assert!(load.lag.p50 < 50_000.0, "{:?}", load.lag);
    // Throughput is what was answered in time.
    assert!(load.done < 30, "{}", load.done);
}

#[test]
fn delayed_answers_of_many_connections_do_not_wait_for_each_other() {
    let server = server(|c| c.delay = Duration::from_millis(50));
    let load = loaded(&spec(server.address(), one("select 1"), CLOSED));
    assert!((40..=80).contains(&load.done), "{}", load.done);
    assert!(load.latency.p50 >= 50_000.0, "{:?}", load.latency);
}

#[test]
fn errors_count_by_code_and_the_transaction_is_rolled_back() {
    let server = server(|_| {});
    let texts = ["begin", "null_error 40001", "commit"]
        .map(str::to_owned)
        .to_vec();
    let load = loaded(&spec(server.address(), Work::Simple(texts), CLOSED));
    assert_eq!(load.done, 0);
    assert!(load.errors["40001"] > 100);
    assert_eq!(load.errors.len(), 1, "{:?}", load.errors);
    assert_eq!(load.connect.count, 8, "connections survive an error");
}

#[test]
fn statements_are_sent_in_each_protocol() {
    let server = server(|_| {});
    let statement = || Statement {
        sql: "select $1, $2".to_owned(),
        parameters: vec!["a".to_owned(), "{random:100000}".to_owned()],
    };
    let mut spec = spec(server.address(), Work::Extended(statement()), CLOSED);
    spec.work.push(Weighted {
        weight: 1,
        work: Work::Prepared(statement()),
    });
    let load = loaded(&spec);
    assert!(load.done > 100 && load.errors.is_empty(), "{load:?}");
    assert_eq!(load.queries, load.done);
}

#[test]
fn a_storm_connects_anew_for_each_transaction() {
    let server = server(|_| {});
    for rate in [0.0, 1000.0] {
        let mut spec = spec(
            server.address(),
            one("select 1"),
            Pace::Storm { total: 300, rate },
        );
        spec.connections = 20;
        spec.duration = Duration::from_secs(10);
        let load = loaded(&spec);
        assert_eq!((load.done, load.connect.count), (300, 300), "{load:?}");
        assert_eq!(load.latency.count, 300);
        assert!(load.errors.is_empty(), "{:?}", load.errors);
        assert!(load.seconds < 9.0);
        assert!(rate == 0.0 || load.seconds > 0.28, "{}", load.seconds);
        assert!(load.latency.p50 >= load.connect.p50);
    }
}

#[test]
fn a_storm_without_a_bound_lasts_as_long_as_it_is_told() {
    let server = server(|_| {});
    let load = loaded(&spec(
        server.address(),
        one("select 1"),
        Pace::Storm {
            total: 0,
            rate: 0.0,
        },
    ));
    assert!(load.done > 50 && load.errors.is_empty(), "{load:?}");
    assert!((load.seconds - 0.5).abs() < 0.001);
}

/// A certificate for localhost and its key, in files.
fn certificate(name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let dir = std::env::temp_dir().join(format!("weir-perf-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (chain, key)
}

#[test]
fn tls_is_spoken_checked_and_resumed() {
    let (chain, key) = certificate("tls");
    let server = server(|c| c.tls = Some((chain.clone(), key)));
    for (ca, resume) in [(None, false), (Some(chain.clone()), true)] {
        let tls = Tls {
            ca,
            name: "localhost".to_owned(),
            resume,
        };
        let mut closed = spec(server.address(), one("null_bytes 100000"), CLOSED);
        closed.tls = Some(tls.clone());
        let load = loaded(&closed);
        assert!(load.done > 10 && load.errors.is_empty(), "{load:?}");
        assert!(
            load.bytes_in > load.done.saturating_sub(16) * 100_000,
            "{load:?}"
        );
        let mut storm = closed.clone();
        storm.work = vec![Weighted {
            weight: 1,
            work: one("select 1"),
        }];
        storm.pace = Pace::Storm {
            total: 50,
            rate: 0.0,
        };
        storm.duration = Duration::from_secs(10);
        let load = loaded(&storm);
        assert_eq!(load.done, 50, "{load:?}");
        assert!(load.errors.is_empty(), "{load:?}");
    }
    let mut stranger = spec(server.address(), one("select 1"), CLOSED);
    stranger.tls = Some(Tls {
        ca: Some(certificate("other").0),
        name: "localhost".to_owned(),
        resume: false,
    });
    let error = run(&stranger, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("tls: invalid peer certificate"), "{error}");
}

#[test]
fn a_server_without_tls_is_said_to_be_one() {
    let server = server(|_| {});
    let mut spec = spec(server.address(), one("select 1"), CLOSED);
    spec.tls = Some(Tls {
        ca: None,
        name: "localhost".to_owned(),
        resume: false,
    });
    let error = run(&spec, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("does not offer TLS"), "{error}");
}

#[test]
fn copies_go_in_and_out() {
    let server = server(|_| {});
    let sql = "copy t from stdin".to_owned();
    let bytes = 1_000_001;
    let mut spec = spec(server.address(), Work::CopyIn { sql, bytes }, CLOSED);
    spec.connections = 2;
    spec.active = 2;
    let load = loaded(&spec);
    assert!(load.done > 2 && load.errors.is_empty(), "{load:?}");
    assert!(load.bytes_out > (load.done - 2) * bytes, "{load:?}");
    spec.work[0].work = one("copy (null_bytes 1000000) to stdout");
    let load = loaded(&spec);
    assert!(load.done > 2 && load.errors.is_empty(), "{load:?}");
    assert!(load.bytes_in > (load.done - 2) * 1_000_000, "{load:?}");
}

#[test]
fn a_slow_reader_reads_no_faster_than_it_may() {
    let server = server(|_| {});
    let mut spec = spec(server.address(), one("null_bytes 100000000"), CLOSED);
    (spec.connections, spec.active) = (2, 2);
    spec.read_rate = Some(1_000_000);
    let started = Instant::now();
    let load = loaded(&spec);
    // Two clients, a megabyte a second each, for half a second.
    assert!(
        (200_000..=1_300_000).contains(&load.bytes_in),
        "{}",
        load.bytes_in
    );
    assert!(load.errors.is_empty(), "{:?}", load.errors);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn where_nobody_listens_the_run_says_so() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = run(&spec(free, one("select 1"), CLOSED), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("refused") && error.contains(&free.to_string()),
        "{error}"
    );
}

#[test]
fn silence_is_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = spec(silent.local_addr().unwrap(), one("select 1"), CLOSED);
    spec.timeout = Duration::from_millis(100);
    let error = run(&spec, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("timeout"), "{error}");
}

#[test]
fn an_answer_that_never_comes_is_counted_with_the_time_it_was_waited_for() {
    let server = server(|c| c.delay = Duration::from_secs(60));
    let mut spec = spec(server.address(), one("select 1"), Pace::Open { rate: 40.0 });
    spec.timeout = Duration::from_millis(1000);
    (spec.warmup, spec.duration) = (Duration::ZERO, Duration::from_millis(500));
    let load = loaded(&spec);
    assert_eq!(load.done, 0);
    let lost: u64 = load.errors.values().sum();
    assert!(load.errors["timeout"] >= 8, "{:?}", load.errors);
    assert!(lost >= 20, "{:?}", load.errors);
}

#[test]
fn a_connection_that_breaks_is_counted_and_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    // Lets clients in and closes each at its first query.
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut buffer = [0; 1000];
            let _ = client.read(&mut buffer);
            let _ = client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
            let _ = client.read(&mut buffer);
        }
    });
    let mut spec = spec(to, one("select 1"), CLOSED);
    (spec.connections, spec.active) = (1, 1);
    let load = loaded(&spec);
    assert_eq!(load.done, 0);
    assert!(load.errors["closed"] >= 2, "{:?}", load.errors);
    assert!(load.connect.count >= 2, "{:?}", load.connect);
}

//! What a scenario is, as data: variants, each a load and the setting of the subjects under it.

use std::time::Duration;

use crate::load::{Pace, Spec, Statement, Tls, Weighted, Work};
use crate::model::{Cell, Load, Verdict};
use crate::sample::Unit;
use crate::subjects::Kind;

/// Server connections of every subject where a variant says nothing else.
pub const POOL: u32 = 32;

/// Clients a second that a storm is taken to have, to say how long it will take.
const STORM_RATE: f64 = 1500.0;

/// One scenario.
pub struct Plan {
    /// As on the command line.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// What is sent, to what, at what pace.
    pub says: String,
    /// In the order in which they run.
    pub variants: Vec<Variant>,
    /// Rounds; each runs every variant with every subject.
    pub rounds: u32,
    /// The figures to reach.
    pub judge: fn(&[Cell]) -> Vec<Verdict>,
    /// Looks at the machine first and may add variants; what it gives is a note.
    pub prepare: Option<Prepare>,
    /// Whether it makes sense against a proxy and database of the user's, about which nothing is known.
    pub generic: bool,
}

/// See [`Plan::prepare`]. It is given a way to send a variant's load to the server itself.
pub type Prepare = fn(&mut Plan, Probe<'_>) -> anyhow::Result<Option<String>>;

/// Sends a variant's load to the server itself.
pub type Probe<'a> = &'a mut dyn FnMut(&Variant) -> anyhow::Result<Load>;

/// The server behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// The null server; a query takes this long.
    Null(Duration),
    /// PostgreSQL.
    Postgres,
}

/// Cells of one variant are comparable.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `simple`, `simple client tls` …
    pub name: String,
    /// The server.
    pub behind: Behind,
    /// TLS towards clients (towards the server for `direct`), and whether sessions are resumed.
    pub client_tls: Option<Resume>,
    /// TLS from the proxy to the server.
    pub server_tls: bool,
    /// Server connections.
    pub pool: u32,
    /// The proxy's threads.
    pub shards: usize,
    /// The load.
    pub shape: Shape,
    /// Who takes part.
    pub subjects: Vec<Kind>,
    /// Whether system calls are counted, in a short load of its own.
    pub calls: bool,
    /// Clients beside the load, and the variant that their cells are reported under.
    pub side: Option<(String, Shape)>,
    /// What costs are divided by.
    pub unit: Unit,
    /// Whether the load needs statements that outlive a transaction.
    pub prepared: bool,
}

/// Whether reconnecting clients offer session tickets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// Each connect is a full handshake.
    No,
    /// Tickets are used.
    Yes,
}

/// A load without an address.
#[derive(Clone, Debug)]
pub struct Shape {
    /// See [`Spec`].
    pub connections: usize,
    /// See [`Spec`].
    pub active: usize,
    /// See [`Spec`].
    pub setup: Vec<String>,
    /// See [`Spec`].
    pub work: Vec<Weighted>,
    /// See [`Spec`].
    pub pace: Pace,
    /// See [`Spec`].
    pub warmup: Duration,
    /// See [`Spec`].
    pub duration: Duration,
    /// See [`Spec`].
    pub connect_rate: f64,
    /// See [`Spec`].
    pub read_rate: Option<u64>,
}

/// Where a shape is sent.
#[derive(Clone, Debug)]
pub struct Aim {
    /// Address.
    pub to: std::net::SocketAddr,
    /// Login.
    pub login: crate::load::Login,
    /// TLS.
    pub tls: Option<Tls>,
    /// The generator's CPUs.
    pub cpus: Vec<usize>,
}

impl Shape {
    /// So many clients that send the next when the last is answered.
    pub fn closed(clients: usize, work: Work, duration: Duration) -> Shape {
        Shape {
            connections: clients,
            active: clients,
            setup: Vec::new(),
            work: vec![Weighted { weight: 1, work }],
            pace: Pace::Closed {
                think: Duration::ZERO,
            },
            warmup: (duration / 4).clamp(Duration::from_millis(200), Duration::from_secs(2)),
            duration,
            connect_rate: 2000.0,
            read_rate: None,
        }
    }

    /// The same clients at so many transactions a second.
    pub fn at_rate(self, rate: f64) -> Shape {
        Shape {
            pace: Pace::Open { rate },
            ..self
        }
    }

    /// Clients that come, do one transaction and leave.
    pub fn storm(clients: usize, rate: f64, work: Work, duration: Duration) -> Shape {
        Shape {
            pace: Pace::Storm { total: 0, rate },
            ..Shape::closed(clients, work, duration)
        }
    }

    /// The same storm, ended by its last client.
    pub fn until(self, clients: u64) -> Shape {
        let Pace::Storm { rate, .. } = self.pace else {
            return self;
        };
        let pace = Pace::Storm {
            total: clients,
            rate,
        };
        Shape { pace, ..self }
    }

    /// The whole load.
    pub fn spec(&self, aim: &Aim) -> Spec {
        Spec {
            to: aim.to,
            login: aim.login.clone(),
            tls: aim.tls.clone(),
            connections: self.connections,
            active: self.active,
            setup: self.setup.clone(),
            work: self.work.clone(),
            pace: self.pace,
            warmup: self.warmup,
            duration: self.duration,
            cpus: aim.cpus.clone(),
            connect_rate: self.connect_rate,
            read_rate: self.read_rate,
            timeout: Duration::from_secs(60),
        }
    }

    /// How long it takes, about.
    pub fn length(&self) -> Duration {
        let fleet = match self.pace {
            Pace::Storm { total, .. } if total > 0 => {
                return Duration::from_secs_f64(total as f64 / STORM_RATE);
            }
            Pace::Storm { .. } => 0.0,
            Pace::Closed { .. } | Pace::Open { .. } => self.connections as f64 / self.connect_rate,
        };
        Duration::from_secs_f64(fleet) + self.warmup + self.duration
    }
}

impl Variant {
    /// A load against the null server, plain on both sides, for these subjects.
    pub fn new(name: &str, shape: Shape, subjects: &[Kind]) -> Variant {
        let storm = matches!(shape.pace, Pace::Storm { .. });
        let prepared = shape
            .work
            .iter()
            .any(|w| matches!(w.work, Work::Prepared(_)));
        Variant {
            name: name.to_owned(),
            behind: Behind::Null(Duration::ZERO),
            client_tls: None,
            server_tls: false,
            pool: POOL,
            shards: 1,
            shape,
            subjects: subjects.to_vec(),
            calls: false,
            side: None,
            unit: if storm { Unit::Client } else { Unit::Query },
            prepared,
        }
    }

    /// The same with TLS on these sides; subjects that can't end TLS are left out.
    pub fn tls(mut self, client: Option<Resume>, server: bool) -> Variant {
        self.client_tls = client;
        self.server_tls = server;
        self.subjects.retain(|kind| kind.ends_tls());
        self
    }

    /// How long one cell takes, about: with starting the subject and what is done beside.
    pub fn length(&self) -> Duration {
        let calls = if self.calls {
            self.counting().length()
        } else {
            Duration::ZERO
        };
        self.shape.length() + calls + Duration::from_millis(400)
    }

    /// The short load under which system calls are counted.
    pub fn counting(&self) -> Shape {
        Shape {
            warmup: Duration::from_millis(300),
            duration: (self.shape.duration / 3)
                .clamp(Duration::from_millis(500), Duration::from_secs(2)),
            ..self.shape.clone()
        }
    }
}

/// `SELECT 1` in the simple protocol: the smallest query.
pub fn simple() -> Work {
    Work::Simple(vec!["SELECT 1".to_owned()])
}

/// The same with the unnamed statement.
pub fn extended() -> Work {
    Work::Extended(Statement {
        sql: "SELECT $1::int".to_owned(),
        parameters: vec!["1".to_owned()],
    })
}

/// The same with a named statement.
pub fn prepared() -> Work {
    Work::Prepared(Statement {
        sql: "SELECT $1::int".to_owned(),
        parameters: vec!["1".to_owned()],
    })
}

/// How long a plan takes, about.
pub fn length(plan: &Plan, subjects: impl Fn(&Variant) -> usize) -> Duration {
    let once: Duration = plan
        .variants
        .iter()
        .map(|v| v.length() * u32::try_from(subjects(v)).unwrap_or(1))
        .sum();
    once * plan.rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_fleets_and_rounds() {
        let shape = Shape {
            connections: 4000,
            ..Shape::closed(32, simple(), Duration::from_secs(4))
        };
        assert_eq!(shape.length(), Duration::from_secs(2 + 1 + 4));
        let variant = Variant::new("simple", shape, &[Kind::Direct, Kind::Weir]);
        let plan = Plan {
            name: "p",
            title: "",
            says: String::new(),
            variants: vec![variant],
            rounds: 3,
            judge: |_| Vec::new(),
            prepare: None,
            generic: false,
        };
        let all = length(&plan, |v| v.subjects.len());
        assert_eq!(all, Duration::from_millis(7400 * 2 * 3));
    }

    #[test]
    fn tls_leaves_out_who_cannot_end_it() {
        let shape = Shape::storm(10, 0.0, prepared(), Duration::from_secs(1));
        let variant =
            Variant::new("storm", shape, &[Kind::Weir, Kind::HaProxy]).tls(Some(Resume::No), true);
        assert_eq!(variant.subjects, [Kind::Weir]);
        assert!(variant.prepared && variant.unit == Unit::Client);
    }
}

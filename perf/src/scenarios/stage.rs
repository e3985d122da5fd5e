//! What a run has up: certificates, servers (started when first needed), the subjects of this machine, or the user's own
//! proxy and database.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use weir_e2e::pki::Pki;
use weir_e2e::place;

use super::plan::{Aim, Behind, Resume, Variant};
use crate::load::{Login, Pace, Tls};
use crate::model;
use crate::net::raise_descriptors;
use crate::subjects::{self, Backend, Cpus, Found, Front, Kind, Peers, Setting, Wanted};

/// Clients that a proxy must take beyond those of the load.
const SPARE_CLIENTS: usize = 100;
/// Descriptors of a proxy that are not its clients'.
const RESERVED: usize = 400;

/// What the user runs.
#[derive(Clone, Debug)]
pub struct Own {
    /// The proxy.
    pub target: SocketAddr,
    /// The database itself, for the comparison.
    pub direct: Option<SocketAddr>,
    /// Login.
    pub login: Login,
    /// TLS towards both.
    pub tls: bool,
    /// Host name to verify, and the authority; without one, any certificate does.
    pub ca: Option<PathBuf>,
    /// Host name in the certificate.
    pub name: String,
}

/// Where cells run.
pub struct Stage {
    cpus: Cpus,
    ground: Ground,
}

enum Ground {
    Ours {
        pki: Box<Pki>,
        peers: Peers,
        weir: PathBuf,
        servers: HashMap<String, Backend>,
    },
    Own(Own),
}

impl Stage {
    /// Everything is started by this run.
    ///
    /// # Errors
    /// When certificates can't be made.
    pub fn ours(wanted: &Wanted) -> Result<Stage> {
        let pki = Pki::make(&place::run_dir()?.join("pki"))?;
        let ground = Ground::Ours {
            pki: Box::new(pki),
            peers: Peers::find(wanted),
            weir: place::weir_binary(),
            servers: HashMap::new(),
        };
        Ok(Stage {
            cpus: Cpus::of_machine()?,
            ground,
        })
    }

    /// Nothing is started.
    ///
    /// # Errors
    /// When the system doesn't say which CPUs may be used.
    pub fn own(own: Own) -> Result<Stage> {
        let cpus = Cpus::of_machine()?;
        Ok(Stage {
            cpus,
            ground: Ground::Own(own),
        })
    }

    /// The subjects of a variant that can take part here, and why others can't.
    pub fn cast(&self, variant: &Variant) -> (Vec<Kind>, Vec<String>) {
        match &self.ground {
            Ground::Own(own) => {
                let direct = own.direct.map(|_| Kind::Direct);
                (
                    direct.into_iter().chain([Kind::Target]).collect(),
                    Vec::new(),
                )
            }
            Ground::Ours { peers, .. } => cast(variant, peers),
        }
    }

    /// Whether a variant can be asked of the user's own proxy.
    pub fn takes(&self, variant: &Variant) -> bool {
        match &self.ground {
            Ground::Ours { .. } => true,
            Ground::Own(own) => {
                !variant.server_tls
                    && variant.client_tls.is_some() == own.tls
                    && variant.behind == Behind::Null(std::time::Duration::ZERO)
                    && variant.shards == 1
            }
        }
    }

    /// What a reader must know of the machine and of missing subjects.
    pub fn notes(&self) -> Vec<String> {
        let missing = match &self.ground {
            Ground::Ours { peers, .. } => peers.missing.as_slice(),
            Ground::Own(_) => &[],
        };
        let told = missing
            .iter()
            .map(|(kind, why)| format!("{} was left out: {why}", kind.name()));
        self.cpus.note().into_iter().chain(told).collect()
    }

    /// The subjects for the report.
    pub fn subjects(&self) -> Vec<model::Subject> {
        let subject = |kind: Kind, version: &str| model::Subject {
            name: kind.name().to_owned(),
            version: version.to_owned(),
            settings: kind.settings().to_owned(),
        };
        match &self.ground {
            Ground::Own(_) => vec![subject(Kind::Direct, ""), subject(Kind::Target, "")],
            Ground::Ours { peers, servers, .. } => {
                let mut behind: Vec<&str> = servers.values().map(|s| s.version.as_str()).collect();
                behind.sort_unstable();
                behind.dedup();
                let behind = behind.join(", ");
                let version = |kind, own: &str| match kind {
                    Kind::Direct => behind.clone(),
                    _ => own.to_owned(),
                };
                let all = peers.all().iter();
                all.map(|f| subject(f.kind, &version(f.kind, &f.version)))
                    .collect()
            }
        }
    }

    /// Whether a subject of this run is missing that nothing should miss.
    pub fn lacks_weir(&self) -> bool {
        match &self.ground {
            Ground::Ours { peers, .. } => peers.missing.iter().any(|(kind, _)| kind.is_weir()),
            Ground::Own(_) => false,
        }
    }

    /// Starts the server of a variant if it is not up.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn prepare(&mut self, behind: Behind) -> Result<()> {
        let Ground::Ours {
            pki, weir, servers, ..
        } = &mut self.ground
        else {
            return Ok(());
        };
        let key = format!("{behind:?}");
        if servers.contains_key(&key) {
            return Ok(());
        }
        let backend = match behind {
            Behind::Null(delay) => Backend::null(pki, &self.cpus, delay, weir),
            Behind::Postgres => Backend::postgres(pki, &self.cpus),
        };
        servers.insert(key, backend.context("the server behind the subjects")?);
        Ok(())
    }

    /// Starts a subject for a variant whose server is prepared, and says how to reach it.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn front(&self, kind: Kind, variant: &Variant) -> Result<(Front, Aim)> {
        let resume = variant.client_tls == Some(Resume::Yes);
        match &self.ground {
            Ground::Own(own) => {
                let address = if kind == Kind::Direct {
                    own.direct.context("no --direct")?
                } else {
                    own.target
                };
                let front = Front::of_user(address);
                let tls = own.tls.then(|| tls(own.ca.clone(), &own.name, resume));
                let aim = self.aim(&front, own.login.clone(), tls, 1);
                Ok((front, aim))
            }
            Ground::Ours {
                pki,
                peers,
                servers,
                ..
            } => {
                let backend = servers.get(&format!("{:?}", variant.behind));
                let backend = backend.context("its server is not up")?;
                let front = self.start(kind, variant, pki, peers, backend)?;
                let login = Login {
                    user: backend.login.name.clone(),
                    database: backend.login.name.clone(),
                    password: Some(backend.login.password.clone()),
                };
                let tls = front
                    .ca
                    .clone()
                    .map(|ca| tls(Some(ca), "127.0.0.1", resume));
                let aim = self.aim(&front, login, tls, variant.shards);
                Ok((front, aim))
            }
        }
    }

    fn start(
        &self,
        kind: Kind,
        variant: &Variant,
        pki: &Pki,
        peers: &Peers,
        backend: &Backend,
    ) -> Result<Front> {
        let Some(found) = peers.get(kind) else {
            bail!("{} is not on this machine", kind.name())
        };
        let most = raise_descriptors().saturating_sub(RESERVED);
        let clients = clients(variant).min(most);
        let setting = Setting {
            pki,
            client_tls: variant.client_tls.is_some(),
            server_tls: variant.server_tls,
            pool: variant.pool,
            clients: u32::try_from(clients)?,
            shards: variant.shards,
            cpus: &self.cpus.for_shards(variant.shards).proxy,
        };
        subjects::start(found, &setting, backend)
    }

    fn aim(&self, front: &Front, login: Login, tls: Option<Tls>, shards: usize) -> Aim {
        Aim {
            to: front.address,
            login,
            tls,
            cpus: self.cpus.for_shards(shards).generator,
        }
    }

    /// The CPUs of this run.
    pub fn cpus(&self) -> &Cpus {
        &self.cpus
    }
}

/// Clients that a proxy must take. In a storm those that have left may not have been seen to leave.
fn clients(variant: &Variant) -> usize {
    let side = variant.side.as_ref().map_or(0, |(_, s)| s.connections);
    let own = match variant.shape.pace {
        Pace::Storm { .. } => 2 * variant.shape.connections,
        Pace::Closed { .. } | Pace::Open { .. } => variant.shape.connections,
    };
    own + side + SPARE_CLIENTS
}

fn cast(variant: &Variant, peers: &Peers) -> (Vec<Kind>, Vec<String>) {
    let mut cast = Vec::new();
    let mut notes = Vec::new();
    for kind in variant.subjects.iter().copied() {
        match peers.get(kind) {
            Some(found) if variant.prepared && !found.keeps_statements() => {
                notes.extend(no_statements(found, &variant.name));
            }
            Some(_) => cast.push(kind),
            None => {}
        }
    }
    (cast, notes)
}

/// Why it takes no part. The bare relay was never meant to.
fn no_statements(found: &Found, variant: &str) -> Option<String> {
    (found.kind != Kind::BareRelay).then(|| {
        format!(
            "{} was left out of `{variant}`: {} keeps no prepared statements in transaction mode (1.21 and later do; name \
             one with --pgbouncer)",
            found.kind.name(),
            found.version
        )
    })
}

fn tls(ca: Option<PathBuf>, name: &str, resume: bool) -> Tls {
    Tls {
        ca,
        name: name.to_owned(),
        resume,
    }
}

//! The data plane as the rest of the process sees it: start it, reload it, drain it, ask it for numbers.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use weir_core::backend::MovedBackend;
use weir_core::ids::{Now, ShardId};
use weir_core::settings::Settings;
use weir_core::shard::{Shard, ShardSetup, Shared, Stats};

use crate::epoll::Poller;
pub use crate::io::IoStats;
pub use crate::report::{Level, Sink, TargetAddresses};

use crate::io::Io;
use crate::ring::{self, Ring};
use crate::shards::hash::{self, Request};
use crate::shards::machine::Machine;
use crate::shards::mailbox::{Letter, Mailbox};
use crate::shards::{Driver, Face, Parts};
use crate::sys;
use crate::tls::TlsContexts;

#[cfg(test)]
mod tests;

/// Which I/O the shards use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoChoice {
    /// io_uring where it works, else epoll with one warning.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// Where clients come in; in the order of `Settings::listeners`.
#[derive(Clone, Copy, Debug)]
pub struct ListenerSetup {
    /// Address and port; port 0 takes a free one, see [`Running::addresses`].
    pub addr: SocketAddr,
}

/// What the data plane is made from.
pub struct ShellSetup {
    /// How many shards.
    pub shards: u16,
    /// Which I/O.
    pub io: IoChoice,
    /// Where clients come in.
    pub listeners: Vec<ListenerSetup>,
    /// For the core.
    pub settings: Arc<Settings>,
    /// Certificates and trust.
    pub tls: TlsContexts,
    /// Where the targets are.
    pub targets: TargetAddresses,
    /// Where to report.
    pub sink: Arc<dyn Sink>,
    /// The process's secret from which salts of unknown users are made.
    pub mock_secret: [u8; 32],
}

/// Why the data plane did not start: one line, with the way out.
#[derive(Debug)]
pub struct ShellError(String);

impl std::fmt::Display for ShellError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ShellError {}

/// A data plane that runs.
///
/// `B` is the core's side of a backend on its way between shards.
pub struct Running<B = Box<MovedBackend>> {
    mailboxes: Arc<Vec<Arc<Mailbox<B>>>>,
    faces: Vec<Arc<Face>>,
    threads: Vec<JoinHandle<()>>,
    io: &'static str,
    addresses: Vec<SocketAddr>,
}

/// What a shard's thread tells at its start: its mailbox, or why it can't use io_uring.
type Proof<B> = Result<Mailbox<B>, String>;

/// What a shard's thread is told then.
struct Go<B> {
    mailboxes: Arc<Vec<Arc<Mailbox<B>>>>,
    sockets: Vec<TcpListener>,
}

/// Why a muster did not end in a data plane.
enum Halt {
    /// The chosen I/O is denied here.
    Refused(String),
    /// Something else.
    Failed(ShellError),
}

/// A thread before it runs its loop.
struct Recruit<B> {
    proof: Receiver<Proof<B>>,
    go: Sender<Go<B>>,
    thread: JoinHandle<()>,
    face: Arc<Face>,
}

/// Starts one thread per shard.
///
/// # Errors
/// When an address can't be listened on, threads can't be started, or io_uring was asked for and is denied.
pub fn start(setup: ShellSetup) -> Result<Running, ShellError> {
    let make = cores(&setup)?;
    launch(setup, Arc::new(make))
}

/// Makes a core for each shard.
fn cores(setup: &ShellSetup) -> Result<impl Fn(u16, Now) -> Shard + use<>, ShellError> {
    let shared: Arc<Shared> = Arc::default();
    let shards = setup.shards.max(1);
    let seeds: Result<Vec<_>, _> = (0..shards).map(|_| seed()).collect();
    let seeds = seeds?;
    let settings = Arc::clone(&setup.settings);
    let mock_secret = setup.mock_secret;
    Ok(move |number: u16, now| {
        let setup = ShardSetup {
            id: ShardId(number),
            shards,
            settings: Arc::clone(&settings),
            seed: seeds.get(usize::from(number)).copied().unwrap_or_default(),
            mock_secret,
            shared: Arc::clone(&shared),
        };
        Shard::new(setup, now)
    })
}

fn seed() -> Result<[u8; 32], ShellError> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed)
        .map_err(|_| ShellError("the system gives no random numbers".to_owned()))?;
    Ok(seed)
}

/// Makes a shard's machine, on the shard's thread.
type Make<M> = Arc<dyn Fn(u16, Now) -> M + Send + Sync>;

/// [`start`] with machines of the caller's choice.
fn launch<M: Machine>(setup: ShellSetup, make: Make<M>) -> Result<Running<M::Moved>, ShellError> {
    let hasher =
        hash::start().map_err(|e| ShellError(format!("can't start the hash thread: {e}")))?;
    // Sharing an address between the shards must not mean sharing it with somebody else's process.
    for listener in &setup.listeners {
        let probe = TcpListener::bind(listener.addr);
        drop(probe.map_err(|error| cannot_listen(listener.addr, &error))?);
    }
    let epoch = Instant::now();
    let mut uring = setup.io != IoChoice::Epoll;
    loop {
        let mut recruits = Vec::new();
        for number in (0..setup.shards.max(1)).rev() {
            let post = Post {
                number,
                uring,
                epoch,
                hasher: hasher.clone(),
                make: Arc::clone(&make),
                tls: setup.tls.clone(),
                targets: Arc::clone(&setup.targets),
                sink: Arc::clone(&setup.sink),
            };
            recruits.insert(0, recruit(post)?);
        }
        match muster(&setup, recruits, if uring { "io_uring" } else { "epoll" }) {
            Ok(running) => return Ok(running),
            Err(Halt::Failed(error)) => return Err(error),
            Err(Halt::Refused(refusal)) if uring && setup.io == IoChoice::Auto => {
                uring = false;
                let text = format!(
                    "{refusal}; serving with epoll instead, which costs more CPU for each query"
                );
                setup.sink.note(Level::Warn, "io_fallback", text);
            }
            Err(Halt::Refused(refusal)) => return Err(ShellError(refusal)),
        }
    }
}

/// For each shard a socket for each of the addresses. A port that was free to choose is written into the address by the
/// first shard and taken by the others.
fn listening_sockets(
    shards: u16,
    addresses: &mut [SocketAddr],
) -> Result<Vec<Vec<TcpListener>>, ShellError> {
    let one = |address: &mut SocketAddr| {
        let socket = sys::listening_socket(*address).and_then(|socket| {
            *address = socket.local_addr()?;
            Ok(socket)
        });
        socket.map_err(|error| cannot_listen(*address, &error))
    };
    (0..shards.max(1))
        .map(|_| addresses.iter_mut().map(one).collect())
        .collect()
}

fn cannot_listen(addr: SocketAddr, error: &std::io::Error) -> ShellError {
    ShellError(format!(
        "can't listen on {addr}: {error}; choose another address or end what uses it (`ss -ltnp` shows it)"
    ))
}

/// What a shard's thread takes along.
struct Post<M: Machine> {
    number: u16,
    uring: bool,
    epoch: Instant,
    hasher: Sender<Request<M::Moved>>,
    make: Make<M>,
    tls: TlsContexts,
    targets: TargetAddresses,
    sink: Arc<dyn Sink>,
}

fn recruit<M: Machine>(post: Post<M>) -> Result<Recruit<M::Moved>, ShellError> {
    let (proof_to, proof) = channel();
    let (go, go_from) = channel();
    let face: Arc<Face> = Arc::default();
    let theirs = Arc::clone(&face);
    let thread = std::thread::Builder::new()
        .name(format!("weir-shard-{}", post.number))
        .spawn(move || serve(post, &theirs, &proof_to, &go_from))
        .map_err(|e| ShellError(format!("can't start a shard's thread: {e}")))?;
    Ok(Recruit {
        proof,
        go,
        thread,
        face,
    })
}

/// Waits for every thread's proof, then lets all of them go, or none. Nobody listens before it is known that there will be
/// someone to serve.
fn muster<B>(
    setup: &ShellSetup,
    recruits: Vec<Recruit<B>>,
    io: &'static str,
) -> Result<Running<B>, Halt> {
    let ended = || {
        Halt::Failed(ShellError(
            "a shard's thread has ended at its start".to_owned(),
        ))
    };
    let mut mailboxes = Vec::new();
    for recruit in &recruits {
        match recruit.proof.recv() {
            Ok(Ok(mailbox)) => mailboxes.push(Arc::new(mailbox)),
            // Those who are not told to go end by themselves.
            Ok(Err(refusal)) => return Err(Halt::Refused(refusal)),
            Err(_) => return Err(ended()),
        }
    }
    let mailboxes = Arc::new(mailboxes);
    let mut addresses: Vec<SocketAddr> = setup.listeners.iter().map(|l| l.addr).collect();
    let sockets = listening_sockets(setup.shards, &mut addresses).map_err(Halt::Failed)?;
    let (mut faces, mut threads) = (Vec::new(), Vec::new());
    for (recruit, sockets) in recruits.into_iter().zip(sockets) {
        let go = Go {
            mailboxes: Arc::clone(&mailboxes),
            sockets,
        };
        recruit.go.send(go).map_err(|_| ended())?;
        faces.push(recruit.face);
        threads.push(recruit.thread);
    }
    Ok(Running {
        mailboxes,
        faces,
        threads,
        io,
        addresses,
    })
}

/// A shard's thread.
fn serve<M: Machine>(
    post: Post<M>,
    face: &Arc<Face>,
    proof: &Sender<Proof<M::Moved>>,
    go: &Receiver<Go<M::Moved>>,
) {
    // Where there are fewer cores than shards, or the kernel won't, the scheduler decides.
    let _ = sys::pin_to_core(usize::from(post.number));
    if post.uring {
        match ring::self_test() {
            Ok(io) => run::<M, Ring>(io, post, face, proof, go),
            Err(refusal) => drop(proof.send(Err(refusal.to_string()))),
        }
    } else {
        match Poller::new() {
            Ok(io) => run::<M, Poller>(io, post, face, proof, go),
            Err(error) => {
                drop(proof.send(Err(format!("epoll failed: {error}; raise LimitNOFILE"))))
            }
        }
    }
}

fn run<M: Machine, I: Io>(
    io: I,
    post: Post<M>,
    face: &Arc<Face>,
    proof: &Sender<Proof<M::Moved>>,
    go: &Receiver<Go<M::Moved>>,
) {
    if proof.send(Ok(Mailbox::new(io.waker()))).is_err() {
        return;
    }
    let Ok(Go { mailboxes, sockets }) = go.recv() else {
        return;
    };
    let now = Now(u64::try_from(post.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut driver = Driver::new(Parts {
        io,
        machine: (post.make)(post.number, now),
        number: post.number,
        epoch: post.epoch,
        mailboxes,
        face: Arc::clone(face),
        tls: post.tls,
        targets: post.targets,
        sink: post.sink,
        hasher: post.hasher,
    });
    for (listener, socket) in (0u16..).zip(sockets) {
        driver.listen(listener, socket);
    }
    driver.run();
}

impl<B> Running<B> {
    fn tell_all(&self, letter: impl Fn() -> Letter<B>) {
        for mailbox in self.mailboxes.iter() {
            mailbox.put(letter());
        }
    }

    /// Hands a new configuration to every shard. Nobody is dropped; connections that are up keep their TLS.
    pub fn reload(&self, settings: Arc<Settings>, tls: TlsContexts) {
        self.tell_all(|| Letter::Reload {
            settings: Arc::clone(&settings),
            tls: tls.clone(),
        });
    }

    /// Accepts no one any more and closes clients as they become idle.
    pub fn drain(&self) {
        self.tell_all(|| Letter::Drain);
    }

    /// After [`Running::drain`]: no client is left.
    #[must_use]
    pub fn drained(&self) -> bool {
        self.faces
            .iter()
            .all(|face| face.drained.load(Ordering::Acquire))
    }

    /// Counters and gauges by shard, a tenth of a second old at most while anything happens.
    #[must_use]
    pub fn stats(&self) -> Vec<Stats> {
        self.read_faces(|(core, _)| *core)
    }

    /// Counters of the I/O by shard, as old as [`Running::stats`].
    #[must_use]
    pub fn io_stats(&self) -> Vec<IoStats> {
        self.read_faces(|(_, io)| *io)
    }

    fn read_faces<T>(&self, what: impl Fn(&(Stats, IoStats)) -> T) -> Vec<T> {
        let read =
            |face: &Arc<Face>| what(&face.stats.lock().unwrap_or_else(PoisonError::into_inner));
        self.faces.iter().map(read).collect()
    }

    /// `io_uring` or `epoll`.
    #[must_use]
    pub fn io(&self) -> &'static str {
        self.io
    }

    /// The addresses listened on, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A number by shard that grows while the shard is alive, at least once a second.
    #[must_use]
    pub fn heartbeats(&self) -> Vec<u64> {
        self.faces
            .iter()
            .map(|face| face.heartbeat.load(Ordering::Relaxed))
            .collect()
    }

    /// Ends the shards; what is under way is lost.
    pub fn stop(self) {
        self.tell_all(|| Letter::Stop);
        for thread in self.threads {
            // A shard that has panicked has said so itself.
            let _ = thread.join();
        }
    }
}

//! Processes that a run starts: every one is known by its pid, has its own process group, dies with this program and is
//! stopped on every way out (end, failure, timeout, signal).

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Pids of the processes that run now, in the order of their start.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A process of this run; dropping it stops it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command in its own process group. It is killed when the *thread* that started it ends.
    pub fn start(name: &str, command: &mut Command) -> Result<Process> {
        command.process_group(0);
        // SAFETY: prctl and getppid are async-signal-safe and touch no memory of this program.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command
            .spawn()
            .with_context(|| format!("can't start {name} ({})", command.get_program().display()))?;
        running().push(child.id());
        Ok(Process {
            name: name.to_owned(),
            child,
            ended: None,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs; an error that says how it ended if not.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.try_wait()? {
            bail!("{} has ended: {status}", self.name);
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Sends a signal to the process (not to its children).
    pub fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            kill(self.pid().cast_signed(), signal);
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self, most: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + most;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} still runs after {most:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop, and kills it and its group if it has not ended in time.
    pub fn stop(&mut self, signal: i32, most: Duration) -> Result<ExitStatus> {
        self.signal(signal);
        let ended = self.wait(most);
        kill(-self.pid().cast_signed(), libc::SIGKILL);
        let status = self.wait(Duration::from_secs(5));
        running().retain(|pid| *pid != self.child.id());
        ended.or(status)
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/statm", self.pid());
        let text = std::fs::read_to_string(&path).context(path)?;
        let pages: u64 = text
            .split(' ')
            .nth(1)
            .and_then(|n| n.parse().ok())
            .context("statm")?;
        Ok(pages * 4096)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop(libc::SIGTERM, Duration::from_millis(500));
    }
}

/// Runs a command to its end, at most this long; gives its output (both streams together).
pub fn run_to_end(
    name: &str,
    command: &mut Command,
    most: Duration,
) -> Result<(ExitStatus, String)> {
    let log = crate::place::run_dir()?.join(format!("{name}-{}.out", number()));
    let file = std::fs::File::create(&log)?;
    command
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let ended = Process::start(name, command)?.wait(most);
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    match ended {
        Ok(status) => Ok((status, text)),
        Err(error) => bail!("{error:#}; it said:\n{text}"),
    }
}

/// A number that no other call gets.
pub fn number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// How many processes have been started and not ended; what is started later can be stopped with [`stop_after`].
pub fn mark() -> usize {
    running().len()
}

/// Kills every process that was started after the mark.
pub fn stop_after(mark: usize) {
    let pids: Vec<u32> = running().get(mark..).unwrap_or_default().to_vec();
    for pid in pids {
        kill(-pid.cast_signed(), libc::SIGKILL);
    }
}

/// On SIGINT, SIGTERM or SIGHUP: stops everything that was started, removes the folder of the run and ends.
pub fn stop_all_on_signals() -> Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("signal {signal}: stopping what was started");
            stop_after(0);
            std::thread::sleep(Duration::from_millis(100));
            crate::place::remove_run_dir();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Sends a signal to a process of this run.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: kill takes numbers only; the pid is of a child that was not reaped yet, of its group, or of a server's own child.
    unsafe {
        libc::kill(pid, signal);
    }
}

/// The user that a server is to run as when this program runs as root (PostgreSQL refuses to run as root): user and
/// group number. `None` when this program is not root.
pub fn unprivileged() -> Result<Option<(u32, u32)>> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    for wanted in ["postgres", "nobody"] {
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let [name, _, uid, gid, ..] = fields.as_slice()
                && *name == wanted
            {
                return Ok(Some((uid.parse()?, gid.parse()?)));
            }
        }
    }
    bail!(
        "running as root, and there is neither a user postgres nor a user nobody to run the server as"
    )
}

/// Makes the system refuse io_uring to a command (EPERM), as the default filters of container runtimes do.
pub fn deny_io_uring(command: &mut Command) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    // The number of the call is the first word of what the filter sees; io_uring_setup has the same on every architecture.
    let number = u32::try_from(libc::SYS_io_uring_setup).unwrap_or(u32::MAX);
    let mut filter = [
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, number),
        step(RETURN, 0, 0, refuse),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: prctl is async-signal-safe; the filter is owned by the closure and outlives the call.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog {
                len: 4,
                filter: filter.as_mut_ptr(),
            };
            let set = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) == 0;
            if set {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}

/// Lets this program have as many file descriptors as the system allows it.
pub fn raise_descriptor_limit() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a valid pointer to a limit of ours.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(std::io::Error::last_os_error()).context("getrlimit");
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return Err(std::io::Error::last_os_error()).context("setrlimit");
        }
    }
    Ok(())
}

/// A command that runs as the unprivileged user when this program is root.
pub fn as_unprivileged(mut command: Command) -> Result<Command> {
    if let Some((uid, gid)) = unprivileged()? {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// Gives a file or folder to the unprivileged user, when this program is root.
pub fn give(path: &std::path::Path) -> Result<()> {
    if let Some((uid, gid)) = unprivileged()? {
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

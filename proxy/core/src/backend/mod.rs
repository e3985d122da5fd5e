//! One server connection: where it is in its life and what it holds.

use std::sync::Arc;

use crate::ids::{ConnId, GroupId, Now, ShardId};
use crate::pool::Waiter;
use crate::profile::{Known, Profile};
use crate::timers::Timer;
use crate::wire::{BackendLogin, Damage, Errand, Frames, Held, Mend, Quiet, SessionState};

/// Where a backend is in its life.
pub enum State {
    /// Connecting and logging in.
    Opening(Box<BackendLogin>),
    /// Free.
    Idle,
    /// A client has it.
    Lent(ConnId),
    /// Free, but a cancel request for what it just did is still on its way.
    Parked,
    /// Its client has left; a cancel request is on its way, then this is to be done.
    Breaking(Break),
    /// Weir has said goodbye or hung up; the server has not closed yet, and counts it.
    Leaving,
    /// Being rolled back and reset.
    Mending(Box<Mend>),
}

/// How a backend stands with the shell and the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// No connection yet.
    Connecting,
    /// Connected.
    Up,
    /// The server has ended it.
    Ended,
    /// The shell has closed it; the server may not have noticed yet.
    Closed,
}

/// Who has had a backend since it was opened or reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Used {
    /// Nobody.
    ByNobody,
    /// This client alone.
    By(ConnId),
    /// Several clients, or one of another shard.
    ByOthers,
}

impl Used {
    /// `client` has it now.
    #[must_use]
    pub fn and_by(self, client: ConnId) -> Used {
        if self.is_fresh_for(client) {
            Used::By(client)
        } else {
            Used::ByOthers
        }
    }

    /// The same, seen from another shard.
    #[must_use]
    pub fn by_another(self) -> Used {
        if self == Used::ByNobody {
            self
        } else {
            Used::ByOthers
        }
    }

    /// Nobody but `client` can have left anything on it.
    #[must_use]
    pub fn is_fresh_for(self, client: ConnId) -> bool {
        self == Used::ByNobody || self == Used::By(client)
    }
}

/// What becomes of a backend whose client has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aftermath {
    /// Mend it.
    Mend(Damage),
    /// Close it.
    Close(&'static str),
}

/// A backend whose client has left, before anything can be sent on it.
pub struct Break {
    /// What is to be done.
    pub after: Aftermath,
    /// Where the server's stream stands.
    pub frames: Frames,
}

/// A reported parameter: name and value.
pub type Parameter = (Box<[u8]>, Box<[u8]>);

/// One backend.
pub struct Backend {
    /// Whose target.
    pub group: GroupId,
    /// Whom it can serve.
    pub profile: Arc<Profile>,
    /// Its state.
    pub state: State,
    /// Its connection.
    pub link: Link,
    /// When it was opened.
    pub opened_at: Now,
    /// Since when it has been idle.
    pub idle_since: Now,
    /// When it last showed that its server is there.
    pub heard_at: Now,
    /// When the present state has lasted too long.
    pub deadline: Option<Now>,
    /// What the server reported at login.
    pub known: Arc<Known>,
    /// Parameters that differ from [`Backend::known`] now.
    pub drift: Vec<Parameter>,
    /// The settings that its session has; `None`: those of a new one.
    pub holds: Option<Arc<SessionState>>,
    /// It has been asked to take over others and has not answered: what it holds is not known.
    pub replaying: bool,
    /// The server's key for cancel requests.
    pub key: Option<(u32, Vec<u8>)>,
    /// The cancel request that is on its way.
    pub errand: Option<ConnId>,
    /// Its socket is full: its client is not being read.
    pub congested: bool,
    /// Not being read, because its client's socket is full.
    pub paused: bool,
    /// Which shared statements it has prepared.
    pub held: Held,
    /// Who has had it since it was opened or reset.
    pub used: Used,
    /// A client has had it since `reset_query` was last run.
    pub soiled: bool,
    /// Whom it is being reset for.
    pub reserved: Option<Waiter>,
    /// Hears it while it is idle.
    pub quiet: Quiet,
    /// Its timer.
    pub timer: Timer,
}

impl Backend {
    /// A backend that is about to be opened.
    #[must_use]
    pub fn opening(
        group: GroupId,
        profile: Arc<Profile>,
        login: BackendLogin,
        now: Now,
        deadline: Now,
    ) -> Backend {
        Backend {
            group,
            profile,
            state: State::Opening(Box::new(login)),
            link: Link::Connecting,
            opened_at: now,
            idle_since: now,
            heard_at: now,
            deadline: Some(deadline),
            known: Arc::default(),
            drift: Vec::new(),
            holds: None,
            replaying: false,
            key: None,
            errand: None,
            congested: false,
            paused: false,
            held: Held::default(),
            used: Used::ByNobody,
            soiled: false,
            reserved: None,
            quiet: Quiet::default(),
            timer: Timer::default(),
        }
    }

    /// Whose client it serves.
    #[must_use]
    pub fn client(&self) -> Option<ConnId> {
        if let State::Lent(client) = self.state {
            Some(client)
        } else {
            None
        }
    }

    /// The server has reported a parameter.
    pub fn reported(&mut self, name: &[u8], value: &[u8]) {
        let as_known = self.known.get(name) == Some(value);
        match self.drift.iter().position(|(n, _)| &**n == name) {
            Some(at) if as_known => {
                self.drift.remove(at);
            }
            Some(at) => {
                if let Some(entry) = self.drift.get_mut(at) {
                    entry.1 = value.into();
                }
            }
            None if as_known => {}
            None => self.drift.push((name.into(), value.into())),
        }
    }
}

/// A backend on its way to another shard: the core's side of it. Opaque to shells.
pub struct MovedBackend {
    backend: Backend,
}

impl core::fmt::Debug for MovedBackend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MovedBackend")
            .field("group", &self.backend.group)
            .finish_non_exhaustive()
    }
}

impl MovedBackend {
    pub(crate) fn pack(backend: Backend) -> MovedBackend {
        MovedBackend { backend }
    }

    pub(crate) fn unpack(self) -> Backend {
        self.backend
    }

    /// Whose target it is connected to.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.backend.group
    }
}

const _: fn() = || {
    fn sendable<T: Send>() {}
    sendable::<MovedBackend>();
};

/// A cancel errand and what it is for.
pub struct ErrandRun {
    /// The conversation.
    pub errand: Errand,
    /// The backend whose query is to be cancelled.
    pub backend: ConnId,
    /// Its group.
    pub group: GroupId,
    /// Whose requests it carries: their connections are closed when it is over, as a server does it, so that who has asked
    /// knows from when on the cancel can't hit anything any more.
    pub askers: Vec<(ShardId, ConnId)>,
    /// When it has lasted too long.
    pub deadline: Now,
    /// Its timer.
    pub timer: Timer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::UserSecret;
    use crate::settings::TargetTls;
    use crate::wire::BackendIdentity;

    fn backend() -> Backend {
        let profile = Profile {
            group: GroupId(0),
            user: "u".into(),
            database: "d".into(),
            parameters: Arc::default(),
        };
        let identity = BackendIdentity {
            user: "u".into(),
            database: "d".into(),
            parameters: Arc::default(),
            secret: Arc::new(UserSecret::from_password("p", [0; 16])),
            learned: None,
            cached: None,
            init_query: None,
        };
        let login = BackendLogin::new(identity, TargetTls::Off, [0; 18]);
        Backend::opening(GroupId(0), Arc::new(profile), login, Now(0), Now(1))
    }

    #[test]
    fn a_parameter_that_comes_back_is_no_drift() {
        let mut backend = backend();
        backend.known = Arc::new(Known {
            parameters: vec![(b"TimeZone"[..].into(), b"UTC"[..].into())],
        });
        backend.reported(b"TimeZone", b"CET");
        backend.reported(b"TimeZone", b"EET");
        assert_eq!(backend.drift.len(), 1);
        backend.reported(b"TimeZone", b"UTC");
        assert!(backend.drift.is_empty());
    }
}

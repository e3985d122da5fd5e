//! Clients on their way in: from accept to the first ReadyForQuery.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand_chacha::rand_core::Rng;

use super::{Conn, Shard};
use crate::ids::{ConnId, ListenerId, Now, ShardId};
use crate::limits::{PENDING_LOGINS_MIN, SHARDS_MAX};
use crate::profile::{Known, Profile};
use crate::seam::{Close, Op, TlsRole, Trace};
use crate::session::{Client, Phase, hush};
use crate::wire::{ClientError, ClientLogin, LoginStep, Startup, errors, greeting};

/// Bits of a cancel key's number that name the client's slot.
const KEY_SLOT_BITS: u32 = 20;
/// The shard is named by so many bits above.
const KEY_SHARD_BITS: u32 = 8;
/// Set in every number: no process of the server's is called so (PIDs of Linux end at 2²²), so that a client that has one of them
/// terminated for its own hits nobody. The sign bit stays free: some drivers read the number as a signed one.
const KEY_MARK: u32 = 1 << 30;

const _: () = assert!(KEY_SLOT_BITS + KEY_SHARD_BITS < 30);
const _: () = assert!(SHARDS_MAX as u32 <= 1 << KEY_SHARD_BITS);

/// The number of a client's cancel key, which stands where a server gives its process id.
pub(super) fn key_number(shard: ShardId, id: ConnId) -> u32 {
    KEY_MARK | u32::from(shard.0) << KEY_SLOT_BITS | (id.slot + 1)
}

/// Which shard's client has this number, and its slot; `None`: nobody's.
pub(super) fn key_owner(key: u32) -> Option<(ShardId, u32)> {
    let shard = (key.checked_sub(KEY_MARK)?) >> KEY_SLOT_BITS;
    let slot = (key & ((1 << KEY_SLOT_BITS) - 1)).checked_sub(1)?;
    Some((ShardId(u16::try_from(shard).ok()?), slot))
}

impl Shard {
    pub(super) fn client_accepted(
        &mut self,
        now: Now,
        listener: ListenerId,
        peer: IpAddr,
    ) -> Option<ConnId> {
        let front = self.settings.listeners.get(usize::from(listener.0))?;
        if self.draining {
            return None;
        }
        let login = ClientLogin::new(front.tls, front.client_auth, front.server_end_point.clone());
        let group = front.group;
        let client = Client::new(listener, group, peer, login, self.random(), now);
        let id = self.table.insert(Conn::Client(Box::new(client)));
        if id.slot >= (1 << KEY_SLOT_BITS) - 1 {
            self.table.remove(id);
            return None;
        }
        self.stats.clients += 1;
        self.stats.clients_in_login += 1;
        self.arm_client(now, id);
        self.logins.push_back(id);
        self.crowd_out(now);
        Some(id)
    }

    /// Connections that say nothing must not shut the door: the one that has been in login longest makes room.
    fn crowd_out(&mut self, now: Now) {
        let room = PENDING_LOGINS_MIN.max(self.settings.max_client_connections) as usize;
        while self.stats.clients_in_login as usize > room
            && let Some(oldest) = self.logins.pop_front()
        {
            if self.client(oldest).is_some_and(|c| !c.proven()) {
                self.end_client(now, oldest, None, "crowded out while in login");
            }
        }
        // Names of those who are in or gone already are swept when they are the majority.
        if self.logins.len() > 64 && self.logins.len() as u64 > 2 * self.stats.clients_in_login {
            let mut logins = core::mem::take(&mut self.logins);
            logins.retain(|id| self.client(*id).is_some_and(|c| !c.proven()));
            self.logins = logins;
        }
    }

    pub(super) fn client_tls_ready(&mut self, id: ConnId, alpn_postgresql: bool) {
        if let Some(client) = self.client(id)
            && let Phase::Login(login) = &mut client.phase
        {
            login.tls_ready(alpn_postgresql);
        }
    }

    /// Bytes of a client that is not proven yet.
    pub(super) fn login_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let mut used = 0;
        loop {
            let Some(client) = self.client(id) else {
                return;
            };
            let Phase::Login(login) = &mut client.phase else {
                break;
            };
            let step = login.next(bytes, &mut used);
            if !self.login_step(now, id, step) {
                return;
            }
        }
        if let Some(rest) = bytes.get(used..)
            && !rest.is_empty()
        {
            // What follows a login in the same buffer: ranges to forward count from the buffer's start.
            self.base = used;
            self.client_received(now, id, rest);
            self.base = 0;
        }
    }

    /// Does what the login asks for; whether it may go on with the bytes at hand.
    fn login_step(&mut self, now: Now, id: ConnId, step: LoginStep) -> bool {
        match step {
            LoginStep::NeedMore => return false,
            LoginStep::Send(bytes) => self.send(id, bytes),
            LoginStep::StartTls { reply, early } => {
                self.send(id, reply.unwrap_or_default());
                self.op(Op::StartTls {
                    conn: id,
                    role: TlsRole::Server,
                    early,
                });
                return false;
            }
            LoginStep::Cancel { key, secret } => {
                self.route_cancel(now, id, key, secret);
                return false;
            }
            LoginStep::Identify(startup) => return self.identify(now, id, &startup),
            LoginStep::Authenticated { client_key } => self.authenticated(now, id, client_key),
            LoginStep::Refuse { error, reason } => {
                self.refuse(now, id, &error, reason);
                return false;
            }
            LoginStep::Hangup { reason } => {
                self.end_client(now, id, None, reason);
                return false;
            }
        }
        true
    }

    fn identify(&mut self, now: Now, id: ConnId, startup: &Startup) -> bool {
        let settings = Arc::clone(&self.settings);
        let known = settings.users.get(&startup.user);
        let mock = self.mock_secret;
        let Some(Conn::Client(client)) = self.table.get_mut(id) else {
            return false;
        };
        let Phase::Login(login) = &mut client.phase else {
            return false;
        };
        let rng = &mut self.rng;
        let step = login.identified(known, &mock, &mut |out: &mut [u8]| rng.fill_bytes(out));
        client.long_key = login.minor() >= 2;
        client.profile = Some(Arc::new(Profile {
            group: client.group,
            user: Arc::clone(known.map_or(&startup.user, |u| &u.name)),
            database: Arc::clone(&startup.database),
            parameters: Arc::new(startup.parameters.clone()),
        }));
        self.login_step(now, id, step)
    }

    fn authenticated(&mut self, now: Now, id: ConnId, client_key: Option<[u8; 32]>) {
        let Some(client) = self.client(id) else {
            return;
        };
        let Some(profile) = client.profile.clone() else {
            return;
        };
        if let Some(key) = client_key {
            self.learn_key(&profile.user, key, true);
        }
        let profile = self.profiles.adopt(&profile);
        if !self.take_client_slot() {
            let error = errors::too_many_clients(self.settings.max_client_connections);
            self.refuse(now, id, &error, "max_client_connections reached".to_owned());
            return;
        }
        let known = self.profiles.known(&profile);
        let limits = self.limits_of(&profile.user);
        let Some(client) = self.client(id) else {
            return;
        };
        client.limits = limits;
        client.phase = Phase::Joining;
        client.profile = Some(profile);
        self.stats.clients_in_login -= 1;
        if self.draining {
            self.end_client(now, id, Some(&errors::shutting_down()), "draining");
            return;
        }
        match known {
            Some(known) => self.greet(now, id, &known),
            None => self.want_backend(now, id),
        }
    }

    /// One of `max_client_connections`, over all shards.
    fn take_client_slot(&self) -> bool {
        let limit = self.settings.max_client_connections;
        let more = |n: u32| if n < limit { Some(n + 1) } else { None };
        self.shared
            .clients
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .is_ok()
    }

    /// Tells a proven client all that it must know; from here on it is at work.
    pub(super) fn greet(&mut self, now: Now, id: ConnId, known: &Arc<Known>) {
        let number = key_number(self.id, id);
        let Some(client) = self.client(id) else {
            return;
        };
        client.phase = Phase::Ready;
        client.active_at = now;
        client.told = Some(Arc::clone(known));
        let bytes = greeting(&known.parameters, number, client.cancel_secret());
        let hello = client
            .profile
            .clone()
            .map(|p| (Arc::clone(&p.user), Arc::clone(&p.database)));
        let impatient = !client.pending.is_empty();
        self.send(id, bytes);
        self.stats.logins += 1;
        if let Some((user, database)) = hello {
            self.trace(Trace::ClientReady {
                conn: id,
                user,
                database,
            });
        }
        self.arm_client(now, id);
        if impatient {
            self.want_backend(now, id);
        } else {
            self.unhush(id, hush::WAITING);
        }
    }

    fn refuse(&mut self, now: Now, id: ConnId, error: &ClientError, reason: String) {
        self.stats.refused += 1;
        self.trace(Trace::Refused {
            conn: id,
            code: error.code,
            reason,
        });
        self.end_client(now, id, Some(error), "refused");
    }

    /// What a lost or refused client needs: `farewell` first, then the end.
    pub(super) fn say_goodbye(&mut self, id: ConnId, farewell: Option<&ClientError>) {
        if let Some(error) = farewell {
            let bytes = error.to_bytes();
            self.send(id, bytes);
        }
        self.op(Op::Close {
            conn: id,
            how: Close::Flush,
        });
    }
}

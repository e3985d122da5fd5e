//! Mail between shards, and backends on their way from one to another.

use std::sync::Arc;

use super::permits::OWNER;
use super::{Conn, Shard};
use crate::backend::{Backend, Link, MovedBackend, State};
use crate::ids::{ConnId, Now, ShardId};
use crate::profile::{Known, Profile, ProfileNews};
use crate::seam::{Mail, Op};

impl Shard {
    pub(super) fn mail(&mut self, now: Now, from: ShardId, body: Mail) {
        match body {
            Mail::Demand {
                group,
                waiting,
                held,
                idle,
                recalls,
            } => self.demand_heard(from, group, waiting, held, idle, recalls),
            Mail::Grant { group, permits } => {
                self.permits_arrived(now, group, permits);
                if from != OWNER {
                    self.report_demand(now, group, true);
                }
            }
            Mail::Return { group, permits } => self.permits_returned(now, from, group, permits),
            Mail::Recall {
                group,
                permits,
                to,
                idle_only,
            } => self.recall(now, group, permits, to, idle_only),
            Mail::Cancel { asker, key, secret } => self.cancel(now, (from, asker), key, &secret),
            Mail::CancelDone { asker } => self.cancel_done(now, (self.id, asker)),
            Mail::Profile(news) => self.news_heard(now, *news),
            Mail::Gate(identity, word) => self.gate_heard(now, identity, word),
        }
    }

    pub(super) fn spread_news(&mut self, profile: &Arc<Profile>, known: &Arc<Known>) {
        self.spread(|| ProfileNews::Known(Arc::clone(profile), Arc::clone(known)));
    }

    /// Clients of a profile ask for what their sessions have done to sequences: from now on those keep their backends.
    pub(super) fn learn_reader(&mut self, profile: &Arc<Profile>) {
        if self.profiles.learn_reader(profile) {
            self.spread(|| ProfileNews::ReadsSequences(Arc::clone(profile)));
        }
    }

    /// Keeps a client key for logins at the server; `spread`: the other shards are told.
    pub(super) fn learn_key(&mut self, user: &Arc<str>, key: [u8; 32], spread: bool) {
        let needed = self
            .settings
            .users
            .get(user)
            .is_some_and(|u| u.secret.password().is_none());
        if !needed || self.learned.get(user) == Some(&key) {
            return;
        }
        self.learned.insert(Arc::clone(user), key);
        if spread {
            self.spread(|| ProfileNews::Key(Arc::clone(user), key));
        }
    }

    /// Tells the other shards that a new era of statements has begun here.
    pub(super) fn tell_era(&mut self) {
        if let Some(news) = self.catalog.take_news() {
            self.spread(|| ProfileNews::Era(news));
        }
    }

    fn spread(&mut self, news: impl Fn() -> ProfileNews) {
        for to in (0..self.shards).map(ShardId).filter(|to| *to != self.id) {
            self.ops.push_back(Op::Mail {
                to,
                body: Mail::Profile(Box::new(news())),
            });
        }
    }

    fn news_heard(&mut self, now: Now, news: ProfileNews) {
        match news {
            ProfileNews::Known(profile, known) => {
                let group = profile.group;
                let profile = self.profiles.adopt(&profile);
                self.profiles.learn(
                    &profile,
                    Known {
                        parameters: known.parameters.clone(),
                    },
                );
                self.serve(now, group);
            }
            ProfileNews::ReadsSequences(profile) => {
                let profile = self.profiles.adopt(&profile);
                self.profiles.learn_reader(&profile);
            }
            ProfileNews::Era(news) => self.catalog.heard(news),
            ProfileNews::Key(user, key) => self.learn_key(&user, key, false),
        }
    }

    pub(super) fn backend_adopted(&mut self, now: Now, moved: MovedBackend) -> ConnId {
        let mut backend = moved.unpack();
        let (group, idle_since, heard_at) = (backend.group, backend.idle_since, backend.heard_at);
        backend.profile = self.profiles.adopt(&backend.profile);
        let reported = Known {
            parameters: backend.known.parameters.clone(),
        };
        backend.known = self.profiles.learn(&backend.profile, reported).0;
        let id = self.take_in(backend);
        self.give_back(now, id);
        // It has not been used by moving: one that goes home because it has aged is not young again.
        if let Some(backend) = self.backend(id)
            && matches!(backend.state, State::Idle)
        {
            backend.idle_since = idle_since;
            backend.heard_at = heard_at;
            self.arm_backend(now, id);
        }
        // The owner has only heard that the permit left its last place, and would never look for it here.
        self.report_demand(now, group, true);
        id
    }

    /// The shell has closed it on the way, because the server said something or because it ended: the server may still count it.
    pub(super) fn backend_lost_on_its_way(&mut self, now: Now, moved: MovedBackend) {
        let mut backend = moved.unpack();
        let group = backend.group;
        backend.link = Link::Closed;
        let id = self.take_in(backend);
        self.close_backend(now, id, "lost on its way to another shard");
        self.report_demand(now, group, true);
    }

    /// A backend's permit comes with it.
    fn take_in(&mut self, mut backend: Backend) -> ConnId {
        let group = backend.group;
        backend.timer = crate::timers::Timer::default();
        // Clients of this shard may have the same name.
        backend.used = backend.used.by_another();
        let id = self.table.insert(Conn::Backend(Box::new(backend)));
        if let Some(pool) = self.pool(group) {
            pool.permits += 1;
            pool.open += 1;
        }
        id
    }
}

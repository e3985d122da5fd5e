//! Profiles: what makes two clients able to use the same backend, and what a server said of itself to such clients.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::GroupId;
use crate::limits::PROFILES_MAX;
use crate::wire::Parameters;

/// Group, user, database and startup parameters. A backend is opened with these, so that on it `RESET` and `DISCARD`
/// lead back to just what this client asked for at its start.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct Profile {
    /// Whose target.
    pub group: GroupId,
    /// Login name.
    pub user: Arc<str>,
    /// Database.
    pub database: Arc<str>,
    /// Startup parameters other than user and database, sorted.
    pub parameters: Arc<Parameters>,
}

/// Parameters that a server reported at login, in its order.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// Name and value.
    pub parameters: Parameters,
}

impl Known {
    /// The reported value of a parameter.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.parameters
            .iter()
            .find(|(n, _)| &**n == name)
            .map(|(_, v)| &**v)
    }

    /// The same with some values changed.
    #[must_use]
    pub fn with(&self, changes: &Parameters) -> Known {
        let mut parameters = self.parameters.clone();
        for (name, value) in changes {
            match parameters.iter_mut().find(|(n, _)| n == name) {
                Some(entry) => entry.1.clone_from(value),
                None => parameters.push((name.clone(), value.clone())),
            }
        }
        Known { parameters }
    }
}

/// What shards tell each other so that they need not ask the server. Opaque to shells.
pub enum ProfileNews {
    /// What a server reports to clients of a profile.
    Known(Arc<Profile>, Arc<Known>),
    /// Clients of a profile ask for `currval` or `lastval` without having a backend.
    ReadsSequences(Arc<Profile>),
    /// Something may have changed what texts of statements mean: to be added to the era of the shard's catalog.
    Era(u128),
    /// A user's SCRAM client key, for the login at the server.
    Key(Arc<str>, [u8; 32]),
}

impl core::fmt::Debug for ProfileNews {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ProfileNews::Known(..) => "ProfileNews::Known(..)",
            ProfileNews::ReadsSequences(..) => "ProfileNews::ReadsSequences(..)",
            ProfileNews::Era(..) => "ProfileNews::Era(..)",
            ProfileNews::Key(..) => "ProfileNews::Key(..)",
        })
    }
}

/// All profiles in use in a shard, each once, so that "the same profile" is "the same pointer".
#[derive(Default)]
pub struct Profiles {
    known: HashMap<Arc<Profile>, Learned>,
    sweep_at: usize,
    /// There is a profile that reads sequences, or was.
    sequences_read: bool,
}

/// What has been learned of a profile.
#[derive(Default)]
struct Learned {
    /// What the server reports.
    known: Option<Arc<Known>>,
    /// See [`Profiles::reads_sequences`].
    reads_sequences: bool,
}

impl Profiles {
    /// The one shared copy of that profile.
    pub fn intern(&mut self, profile: Profile) -> Arc<Profile> {
        if let Some((found, _)) = self.known.get_key_value(&profile) {
            return Arc::clone(found);
        }
        self.sweep();
        let profile = Arc::new(profile);
        self.known.insert(Arc::clone(&profile), Learned::default());
        profile
    }

    /// The shared copy of a profile that came from another shard.
    pub fn adopt(&mut self, profile: &Profile) -> Arc<Profile> {
        if let Some((found, _)) = self.known.get_key_value(profile) {
            return Arc::clone(found);
        }
        self.intern(Profile {
            group: profile.group,
            user: Arc::clone(&profile.user),
            database: Arc::clone(&profile.database),
            parameters: Arc::clone(&profile.parameters),
        })
    }

    /// What the server reports to clients of this profile, when it has been asked before.
    #[must_use]
    pub fn known(&self, profile: &Profile) -> Option<Arc<Known>> {
        self.known.get(profile)?.known.clone()
    }

    /// Notes what a server reported. Answers the shared copy, and whether it is news.
    pub fn learn(&mut self, profile: &Arc<Profile>, reported: Known) -> (Arc<Known>, bool) {
        let learned = self.known.entry(Arc::clone(profile)).or_default();
        if let Some(old) = &learned.known
            && **old == reported
        {
            return (Arc::clone(old), false);
        }
        let known = Arc::new(reported);
        learned.known = Some(Arc::clone(&known));
        (known, true)
    }

    /// Clients of this profile ask for `currval` or `lastval` after the transaction that set them: their statements that add rows
    /// leave something that will be asked for. Costs nothing where no profile does so.
    #[must_use]
    pub fn reads_sequences(&self, profile: &Profile) -> bool {
        self.sequences_read && self.known.get(profile).is_some_and(|l| l.reads_sequences)
    }

    /// Notes that they do. Answers whether it is news.
    pub fn learn_reader(&mut self, profile: &Arc<Profile>) -> bool {
        self.sequences_read = true;
        let learned = self.known.entry(Arc::clone(profile)).or_default();
        !core::mem::replace(&mut learned.reads_sequences, true)
    }

    /// Forgets profiles that nobody uses when there are many. Each sweep pays for at least as many insertions.
    fn sweep(&mut self) {
        if self.known.len() < PROFILES_MAX.max(self.sweep_at) {
            return;
        }
        self.known
            .retain(|profile, _| Arc::strong_count(profile) > 1);
        self.sweep_at = self.known.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(user: &str) -> Profile {
        Profile {
            group: GroupId(0),
            user: user.into(),
            database: "d".into(),
            parameters: Arc::default(),
        }
    }

    #[test]
    fn equal_profiles_are_one_pointer() {
        let mut profiles = Profiles::default();
        let a = profiles.intern(profile("a"));
        let b = profiles.intern(profile("a"));
        assert!(Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &profiles.intern(profile("b"))));
    }

    #[test]
    fn unused_profiles_are_forgotten_when_there_are_many() {
        let mut profiles = Profiles::default();
        let kept = profiles.intern(profile("kept"));
        profiles.learn(&kept, Known::default());
        for i in 0..PROFILES_MAX * 3 {
            profiles.intern(profile(&i.to_string()));
        }
        assert!(profiles.known.len() <= PROFILES_MAX + 1);
        assert!(profiles.known(&kept).is_some());
    }

    #[test]
    fn readers_of_sequences_are_learned_once_and_outlive_what_a_server_reports() {
        let mut profiles = Profiles::default();
        let (a, b) = (profiles.intern(profile("a")), profiles.intern(profile("b")));
        assert!(!profiles.reads_sequences(&a));
        assert!(profiles.learn_reader(&a) && !profiles.learn_reader(&a));
        profiles.learn(&a, Known::default());
        assert!(profiles.reads_sequences(&a) && !profiles.reads_sequences(&b));
    }

    #[test]
    fn what_a_server_reports_is_shared_until_it_changes() {
        let mut profiles = Profiles::default();
        let p = profiles.intern(profile("a"));
        let tz = |v: &str| (Box::from(&b"TimeZone"[..]), Box::from(v.as_bytes()));
        let (first, news) = profiles.learn(
            &p,
            Known {
                parameters: vec![tz("UTC")],
            },
        );
        assert!(news);
        let (again, news) = profiles.learn(
            &p,
            Known {
                parameters: vec![tz("UTC")],
            },
        );
        assert!(!news && Arc::ptr_eq(&first, &again));
        let (changed, news) = profiles.learn(&p, first.with(&vec![tz("CET")]));
        assert!(news);
        assert_eq!(changed.get(b"TimeZone"), Some(&b"CET"[..]));
    }
}

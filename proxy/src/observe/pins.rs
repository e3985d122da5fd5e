//! Pins by who has them: user, database and reason. Counted from what shards report, since pins are rare.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use weir_core::limits::PIN_TENANTS_MAX;
use weir_core::pins::PinReason;
use weir_core::profile::Profile;

use super::escape;

/// Counts by reason.
type Counts = [u64; 32];

/// User and database.
type Tenant = (Arc<str>, Arc<str>);

/// All counts; shared by the shards' sink and the metrics page.
#[derive(Clone, Debug, Default)]
pub struct PinBook(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    tenants: BTreeMap<Tenant, Counts>,
    /// Those for whom there is no room.
    others: Counts,
}

impl PinBook {
    /// A session of `profile` was pinned.
    pub fn count(&self, profile: &Profile, reason: PinReason) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = (Arc::clone(&profile.user), Arc::clone(&profile.database));
        let known = book.tenants.contains_key(&tenant);
        let counts = if known || book.tenants.len() < PIN_TENANTS_MAX {
            book.tenants.entry(tenant).or_default()
        } else {
            &mut book.others
        };
        if let Some(count) = counts.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Appends the samples of the metrics page; what was never counted is not there.
    pub fn write(&self, page: &mut String) {
        page.push_str(
            "# HELP weir_tenant_pins_total Sessions that were pinned, by user, database and reason; those for whom there is no room have an \
             empty user and database.\n# TYPE weir_tenant_pins_total counter\n",
        );
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((user, database), counts) in &book.tenants {
            samples(page, user, database, counts);
        }
        samples(page, "", "", &book.others);
    }
}

fn samples(page: &mut String, user: &str, database: &str, counts: &Counts) {
    for reason in PinReason::ALL {
        let count = counts.get(*reason as usize).copied().unwrap_or(0);
        if count == 0 {
            continue;
        }
        page.push_str("weir_tenant_pins_total{user=");
        escape::label(page, user);
        page.push_str(",database=");
        escape::label(page, database);
        let _ = writeln!(page, ",reason=\"{}\"}} {count}", reason.name());
    }
}

#[cfg(test)]
mod tests {
    use weir_core::ids::GroupId;

    use super::*;

    fn profile(user: &str) -> Profile {
        Profile {
            group: GroupId(0),
            user: user.into(),
            database: "d\"b".into(),
            parameters: Arc::default(),
        }
    }

    fn page(book: &PinBook) -> Vec<String> {
        let mut page = String::new();
        book.write(&mut page);
        page.lines().skip(2).map(str::to_owned).collect()
    }

    #[test]
    fn pins_are_counted_by_user_database_and_reason() {
        let book = PinBook::default();
        assert!(page(&book).is_empty());
        book.count(&profile("b"), PinReason::Listen);
        book.count(&profile("a"), PinReason::Setting);
        book.clone().count(&profile("b"), PinReason::Listen);
        assert_eq!(
            page(&book),
            [
                "weir_tenant_pins_total{user=\"a\",database=\"d\\\"b\",reason=\"setting\"} 1",
                "weir_tenant_pins_total{user=\"b\",database=\"d\\\"b\",reason=\"listen\"} 2",
            ]
        );
    }

    #[test]
    fn those_for_whom_there_is_no_room_are_counted_together() {
        let book = PinBook::default();
        for n in 0..PIN_TENANTS_MAX + 7 {
            book.count(&profile(&format!("u{n}")), PinReason::Load);
        }
        book.count(&profile("u0"), PinReason::Load);
        let lines = page(&book);
        assert_eq!(lines.len(), PIN_TENANTS_MAX + 1);
        assert!(lines[0].ends_with(" 2"), "{}", lines[0]);
        let last = "weir_tenant_pins_total{user=\"\",database=\"\",reason=\"load\"} 7";
        assert_eq!(lines[PIN_TENANTS_MAX], last);
    }
}

//! Time limits of transactions: the proxy's, and a user's own.

use weir_core::settings::TimeLimits;

use super::*;

fn limits_of(text: &str, user: &str) -> TimeLimits {
    let home = Home::new("limits");
    let (config, problems) = home.load(text);
    let config = config.unwrap_or_else(|| panic!("{problems:?}"));
    config.settings.users[user].limits
}

#[test]
fn there_is_no_limit_unless_one_is_given() {
    assert_eq!(limits_of(LEAST, "app"), TimeLimits::default());
}

#[test]
fn a_users_own_limits_go_before_the_proxys_and_zero_is_none() {
    let text = format!(
        "[proxy]\ntransaction_timeout = 60\nidle_in_transaction_timeout = 0.5\n{LEAST}\
         transaction_timeout = 0\n[[users]]\nname = \"batch\"\npassword = \"x\"\nidle_in_transaction_timeout = 300\n"
    );
    let seconds = |s: f64| Some(Duration::from_secs_f64(s));
    let own = |transaction, idle_in_transaction| TimeLimits {
        transaction,
        idle_in_transaction,
    };
    assert_eq!(limits_of(&text, "app"), own(None, seconds(0.5)));
    assert_eq!(
        limits_of(&text, "batch"),
        own(seconds(60.0), seconds(300.0))
    );
}

#[test]
fn a_users_limit_is_checked_like_the_proxys() {
    let home = Home::new("limits-bad");
    let bad = changed(
        &home,
        "password = \"secret\"\n",
        "password = \"secret\"\ntransaction_timeout = \"1s\"\n",
    );
    one_error(
        &bad,
        &["9: users.transaction_timeout", "or 0 for \"no limit\""],
    );
}

//! What shared statements give: remembered from the first description, and held against later ones.

use super::super::statements::digest::result_of;
use super::exchange::Exchange;
use super::owed::Kind;
use super::shown;

impl Exchange {
    /// The server says what the result of a statement is, or of something else that is of no interest here.
    pub(super) fn described(&mut self, tag: u8, body: &[u8]) {
        if self.owed.front().is_some_and(Kind::is_described)
            && let Some(statements) = &mut self.statements
        {
            statements.described(result_of(tag, body));
        }
    }

    /// Whether an ErrorResponse refuses a statement that was asked for under a name of nobody's, since its result has changed.
    pub(super) fn asked_for_changed(&self, body: &[u8]) -> bool {
        let statements = self.statements.as_deref();
        statements.is_some_and(|s| shown::changed_result(s, body).is_some())
    }
}

//! Whether the transaction under way may change what texts of statements mean: then statements begin a new era.

use crate::sql::postgres::Schema;

/// What has been asked for since the last transaction ended.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Era {
    /// Something that changes what texts mean, or may have done so.
    redefines: bool,
    /// Something that is gone again if the transaction is rolled back.
    creates: bool,
    /// Something that changes how texts are read until the transaction ends.
    passing: bool,
    /// Statements were prepared on behalf of all meanwhile.
    prepared: bool,
}

impl Era {
    pub(super) const fn new() -> Era {
        Era {
            redefines: false,
            creates: false,
            passing: false,
            prepared: false,
        }
    }

    /// A statement is on its way; whether texts may mean something else behind it.
    pub(super) fn asked(&mut self, schema: Schema) -> bool {
        self.creates |= schema.creates;
        self.passing |= schema.passing;
        let redefines = schema.redefines || (schema.undoes && self.creates);
        self.redefines |= redefines;
        redefines
    }

    /// The server has refused something: what was made before is gone with the transaction.
    pub(super) fn failed(&mut self) {
        self.redefines |= self.creates;
    }

    /// A transaction has ended; whether texts may mean something else from now on. While more is under way (`alone` is false) it can't
    /// be told which transaction it was.
    pub(super) fn ended(&mut self, alone: bool) -> bool {
        let redefines = self.redefines;
        if alone {
            *self = Era::new();
        }
        redefines
    }

    /// Whether texts may be read in a way that passes with the transaction.
    pub(super) const fn is_passing(self) -> bool {
        self.passing
    }

    /// A statement that others may use is prepared.
    pub(super) fn prepares(&mut self) {
        self.prepared |= self.passing;
    }

    /// Whether statements that others may use were prepared under what passes: asked before [`Era::ended`].
    pub(super) const fn leaves_doubt(self) -> bool {
        self.prepared
    }

    /// The end of the transaction will not be heard of; whether texts may mean something else.
    pub(super) const fn in_doubt(self) -> bool {
        self.redefines || self.creates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALTER: Schema = Schema {
        redefines: true,
        creates: false,
        undoes: false,
        passing: false,
    };
    const CREATE: Schema = Schema {
        redefines: false,
        creates: true,
        undoes: false,
        passing: false,
    };
    const ROLLBACK: Schema = Schema {
        redefines: false,
        creates: false,
        undoes: true,
        passing: false,
    };
    const LOCAL: Schema = Schema {
        redefines: false,
        creates: false,
        undoes: false,
        passing: true,
    };

    #[test]
    fn what_is_prepared_under_what_passes_is_in_doubt_behind_it() {
        let mut era = Era::new();
        era.prepares();
        assert!(!era.asked(LOCAL) && era.is_passing() && !era.leaves_doubt());
        era.prepares();
        assert!(era.leaves_doubt() && !era.ended(false) && era.is_passing());
        assert!(!era.ended(true) && !era.is_passing() && !era.leaves_doubt());
    }

    #[test]
    fn begins_when_something_is_changed_or_what_was_made_is_undone() {
        let mut era = Era::new();
        assert!(!era.asked(Schema::default()) && !era.asked(ROLLBACK) && !era.ended(true));
        assert!(era.asked(ALTER) && era.in_doubt());
        assert!(era.ended(false) && era.ended(true) && !era.ended(true));
        assert!(!era.asked(CREATE) && era.in_doubt() && !era.ended(true) && !era.in_doubt());
        assert!(!era.asked(CREATE) && era.asked(ROLLBACK) && era.ended(true));
        era.failed();
        assert!(!era.ended(true));
        assert!(!era.asked(CREATE));
        era.failed();
        assert!(era.ended(true) && !era.ended(true));
    }
}

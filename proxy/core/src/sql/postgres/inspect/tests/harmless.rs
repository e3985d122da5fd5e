//! Statements of everyday use that must leave no pin.

//! What a statement does to its session: one lexer per dialect.

pub mod postgres;

//! What bytes mean: one folder per engine. Above this room there is no engine, only neutral signals.
pub mod postgres;

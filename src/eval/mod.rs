//! What a trained or untrained model is worth: agreement with the published model, accuracy, solved puzzles.

pub mod golden;
pub mod verify;

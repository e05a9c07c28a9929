//! Shapes that ops share.

/// Shape (B, L, D) of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// B: samples.
    pub batch: usize,
    /// L: positions, puzzle embedding included.
    pub length: usize,
    /// D: features.
    pub width: usize,
}

impl Shape {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.batch * self.length * self.width
    }

    /// Rows of D features: B L.
    pub fn rows(&self) -> usize {
        self.batch * self.length
    }
}

/// The axis of (B, L, D) that an op contracts or normalises: the mixer works over L what the MLP does over D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Over D, each position by itself.
    Width,
    /// Over L, each feature by itself.
    Length,
}

/// Shapes of a linear layer. Over D: y (B, L, N) = x (B, L, K) W^T. Over L: `y[b] (N, D) = W x[b] (K, D)`. W (N, K).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearForm {
    /// What is contracted: D or L of `input`.
    pub axis: Axis,
    /// Shape of x.
    pub input: Shape,
    /// N: length of the contracted axis in y.
    pub out: usize,
}

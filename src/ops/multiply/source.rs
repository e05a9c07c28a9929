//! Where a product's operands come from: strided matrices of any element type, or sums that are made while they are
//! read.

use crate::plan::Stored;

/// An operand by its lines: the rows of A, or the columns of B. Depth is the axis that the product contracts.
pub(in crate::ops) trait Source: Sync {
    /// Whether neighbours in depth lie side by side; else neighbouring lines do.
    fn along_depth(&self) -> bool;

    /// Where its words lie, if they are just what a panel holds: f32, or pairs of bfloat16 that are neighbours in
    /// depth.
    fn words(&self, _pairs: bool) -> Option<Words<'_>> {
        None
    }

    /// The matrix that it is, if neighbouring lines lie side by side in memory.
    fn across(&self) -> Option<Matrix<'_>> {
        None
    }

    /// Reads what lies side by side: of line `fixed` from depth `from` on, or at depth `fixed` from line `from` on.
    fn read(&self, fixed: usize, from: usize, out: &mut [f32]);
}

/// Words of a panel as they lie in memory, with strides in words from line to line and from step to step in depth.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Words<'a> {
    pub(super) words: &'a [u32],
    pub(super) line: usize,
    pub(super) depth: usize,
}

/// A strided matrix.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Matrix<'a> {
    /// What it is a part of.
    pub(in crate::ops) words: Stored<'a>,
    /// Its first element.
    pub(in crate::ops) start: usize,
    /// From one line to the next.
    pub(in crate::ops) line: usize,
    /// From one step in depth to the next.
    pub(in crate::ops) depth: usize,
}

impl<'a> Matrix<'a> {
    /// Lines of `depth` elements, one after the other.
    pub(in crate::ops) fn lines_of(words: Stored<'a>, depth: usize) -> Matrix<'a> {
        Matrix { words, start: 0, line: depth, depth: 1 }
    }

    /// Lines that lie across: `lines` neighbours at each depth.
    pub(in crate::ops) fn across(words: Stored<'a>, lines: usize) -> Matrix<'a> {
        Matrix { words, start: 0, line: 1, depth: lines }
    }

    /// Depth across lines.
    pub(in crate::ops) fn turned(self) -> Matrix<'a> {
        Matrix { line: self.depth, depth: self.line, ..self }
    }

    /// The same matrix from another element on.
    pub(in crate::ops) fn from(self, start: usize) -> Matrix<'a> {
        Matrix { start, ..self }
    }
}

impl Source for Matrix<'_> {
    fn along_depth(&self) -> bool {
        self.depth == 1
    }

    fn words(&self, pairs: bool) -> Option<Words<'_>> {
        let (line, depth) = (self.line, self.depth);
        match self.words {
            Stored::F32(words) if !pairs && (line == 1 || depth == 1) => {
                Some(Words { words: bytemuck::cast_slice(&words[self.start..]), line, depth })
            }
            Stored::Bf16(halves)
                if pairs && depth == 1 && [self.start, line].iter().all(|at| at.is_multiple_of(2)) =>
            {
                let words = bytemuck::try_cast_slice(&halves[self.start..]).ok()?;
                Some(Words { words, line: line / 2, depth })
            }
            _ => None,
        }
    }

    fn across(&self) -> Option<Matrix<'_>> {
        (self.line == 1).then_some(*self)
    }

    fn read(&self, fixed: usize, from: usize, out: &mut [f32]) {
        let (far, near) = if self.along_depth() { (self.line, self.depth) } else { (self.depth, self.line) };
        let start = self.start + fixed * far + from * near;
        if near == 1 {
            return self.words.read(start, out);
        }
        for (index, out) in out.iter_mut().enumerate() {
            self.words.read(start + index * near, std::slice::from_mut(out));
        }
    }
}

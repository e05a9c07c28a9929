//! Several processes that train one model: each has a device and its share of the batch, and all hold the same weights.
//!
//! What they exchange is combined in the order of ranks, so that all get the same bits, and those that a single process
//! gets that computes the shares one after the other.

#[cfg(feature = "mpi")]
mod mpi;

use crate::Result;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;

/// One of the processes, and what connects it with the others. All have to make the same calls in the same order.
pub trait Ranks: Send + Sync {
    /// Which one this is, from 0 on.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// Everybody's `words`, of one length, in the order of ranks.
    ///
    /// # Errors
    /// Where the others cannot be reached, as with [`Ranks::exchange`].
    fn gather(&self, words: &[u32]) -> Result<Vec<u32>>;
    /// Gives each rank its part of `words`, which are as many equal parts, and takes the parts that they have for this one,
    /// in the order of ranks.
    ///
    /// # Errors
    /// As with [`Ranks::gather`].
    fn exchange(&self, words: &[u32]) -> Result<Vec<u32>>;

    /// Whether this one writes files and speaks to people.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}

/// A single process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn gather(&self, words: &[u32]) -> Result<Vec<u32>> {
        Ok(words.to_vec())
    }

    fn exchange(&self, words: &[u32]) -> Result<Vec<u32>> {
        Ok(words.to_vec())
    }
}

/// The sum of everybody's `values`, in place: each rank adds up a part and hands it to the others.
///
/// # Errors
/// As with [`Ranks::gather`].
pub fn sum(ranks: &dyn Ranks, values: &mut [f32]) -> Result<()> {
    let part = values.len().div_ceil(ranks.size());
    let mut words: Vec<u32> = bytemuck::cast_slice(values).to_vec();
    words.resize(part * ranks.size(), 0);
    let shares = ranks.exchange(&words)?;
    let (first, others) = shares.split_at(part);
    let mut total: Vec<f32> = bytemuck::cast_slice(first).to_vec();
    for share in others.chunks_exact(part.max(1)) {
        let share: &[f32] = bytemuck::cast_slice(share);
        total.iter_mut().zip(share).for_each(|(total, value)| *total += value);
    }
    let totals = ranks.gather(bytemuck::cast_slice(&total))?;
    values.copy_from_slice(bytemuck::cast_slice(&totals[..values.len()]));
    Ok(())
}

/// Whether any of them says so.
///
/// # Errors
/// As with [`Ranks::gather`].
pub fn any(ranks: &dyn Ranks, this: bool) -> Result<bool> {
    if ranks.size() == 1 {
        return Ok(this);
    }
    Ok(ranks.gather(&[u32::from(this)])?.contains(&1))
}

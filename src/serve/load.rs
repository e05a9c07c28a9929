//! How much there is to do, and the widths of batches for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::Result;
use crate::checkpoint::Model;
use crate::engine::Device;
use crate::eval::Evaluator;
use crate::model::step::Rollouts;

/// How much wider the next batch is.
const WIDER: usize = 4;
/// How long a crowd is remembered at least, so that the moment between its answers and its next questions is no reason
/// for a narrow batch.
const MOMENT: Duration = Duration::from_secs(1);

/// How much there is to do, and the widths of batches for it.
pub struct Load {
    /// The narrowest first.
    pub widths: Vec<usize>,
    /// When the moment at hand began.
    since: Instant,
    /// Most rollouts that were to do at once, in the moment at hand and in the one before.
    peaks: [usize; 2],
}

impl Load {
    /// For batches of up to `widest`.
    pub fn up_to(widest: usize) -> Load {
        let narrower = std::iter::successors(Some(1_usize), |width| width.checked_mul(WIDER));
        let widths = narrower.take_while(|width| *width < widest).chain([widest]).collect();
        Load { widths, since: Instant::now(), peaks: [0; 2] }
    }

    /// The widest batch.
    pub fn widest(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }

    /// An evaluator for each width, able to disturb rollouts where that may be asked for.
    pub fn evaluators(
        &self,
        Model { config, weights }: &Model,
        device: &Device,
        widely: bool,
        over: &Arc<AtomicBool>,
    ) -> Result<Vec<Evaluator>> {
        let able = Rollouts { differ: widely, changes: widely };
        let open = |&width| {
            let mut evaluator = Evaluator::able(config, device, width, able)?;
            evaluator.load(weights)?;
            evaluator.stop_when(over.clone());
            Ok(evaluator)
        };
        self.widths.iter().map(open).collect()
    }

    /// The place of the narrowest width for all that is to do now, and was a moment ago.
    pub fn suiting(&mut self, to_do: usize) -> usize {
        let passed = self.since.elapsed();
        if passed >= MOMENT {
            self.peaks = [0, if passed < 2 * MOMENT { self.peaks[0] } else { 0 }];
            self.since = Instant::now();
        }
        self.peaks[0] = self.peaks[0].max(to_do);
        let most = self.peaks[0].max(self.peaks[1]);
        self.widths.iter().position(|width| *width >= most).unwrap_or(self.widths.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_remembered_for_a_moment() {
        let mut load = Load::up_to(32);
        assert_eq!(load.widths, [1, 4, 16, 32]);
        assert_eq!([1, 1, 3, 1, 17, 100, 1].map(|to_do| load.suiting(to_do)), [0, 0, 1, 1, 3, 3, 3]);
        load.since -= MOMENT;
        assert_eq!(load.suiting(2), 3, "the moment before counts");
        load.since -= MOMENT;
        assert_eq!(load.suiting(1), 1, "the one before that does not");
        load.suiting(40);
        load.since -= 2 * MOMENT;
        assert_eq!(load.suiting(1), 0, "what was long ago neither");
        assert_eq!(Load::up_to(1).widths, [1]);
    }
}

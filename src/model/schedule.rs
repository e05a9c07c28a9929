//! The learning rate: linear warm-up, then a cosine down to a share of the base rate; and how deep samples are thought
//! through by then.

/// A schedule over steps that count from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The rate after warm-up.
    pub base: f64,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// The last rate as a share of `base`; 1 keeps it constant.
    pub min_ratio: f64,
}

impl Schedule {
    /// The rate of `step`.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.base * step as f64 / self.warmup_steps as f64;
        }
        let rest = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = (step - self.warmup_steps) as f64 / rest as f64;
        let wave = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.base * (self.min_ratio + (1.0 - self.min_ratio) * wave)
    }
}

/// Supervision steps of a sample at the most: they grow from 1 to `halt_max_steps`, each for an equal part of the first
/// `share` of the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curriculum {
    /// Of the steps of the whole run; 0 for all supervision steps from the first on.
    pub share: f64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// N_sup.
    pub halt_max_steps: usize,
}

impl Curriculum {
    /// Those of `step`, which counts from 1.
    pub fn at(&self, step: u64) -> u32 {
        let most = self.halt_max_steps as f64;
        let grows_over = self.share * self.total_steps as f64;
        let done = step.saturating_sub(1) as f64;
        let now = if done < grows_over { 1.0 + (most * done / grows_over).floor() } else { most };
        now.min(most) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{Curriculum, Schedule};

    #[test]
    fn depth_grows_in_equal_stairs() {
        let curriculum = Curriculum { share: 0.4, total_steps: 100, halt_max_steps: 8 };
        let depths: Vec<u32> = (1..=100).map(|step| curriculum.at(step)).collect();
        assert_eq!(depths[..11], [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]);
        assert!(depths[35..].iter().all(|&depth| depth == 8));
        let off = Curriculum { share: 0.0, ..curriculum };
        assert_eq!((off.at(1), off.at(100)), (8, 8));
    }

    #[test]
    fn warms_up_then_falls_to_the_minimum() {
        let schedule = Schedule { base: 2.0, warmup_steps: 4, total_steps: 104, min_ratio: 0.1 };
        assert_eq!(schedule.at(1), 0.5);
        assert_eq!(schedule.at(4), 2.0);
        assert!((schedule.at(54) - 1.1).abs() < 1e-12);
        assert!((schedule.at(104) - 0.2).abs() < 1e-12);
    }
}

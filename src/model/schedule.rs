//! The learning rate: linear warm-up, then a cosine down to a share of the base rate.

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

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn warms_up_then_falls_to_the_minimum() {
        let schedule = Schedule { base: 2.0, warmup_steps: 4, total_steps: 104, min_ratio: 0.1 };
        assert_eq!(schedule.at(1), 0.5);
        assert_eq!(schedule.at(4), 2.0);
        assert!((schedule.at(54) - 1.1).abs() < 1e-12);
        assert!((schedule.at(104) - 0.2).abs() < 1e-12);
    }
}

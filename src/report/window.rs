//! How training samples did lately, and why a test may say otherwise.

use crate::model::Metrics;

/// Averages since they were last shown.
#[derive(Default)]
pub(super) struct Window {
    steps: f64,
    loss: f64,
    halted: f64,
    exact: f64,
    /// The exact accuracy shown while no sample halts.
    last_exact: Option<f64>,
}

impl Window {
    /// Those of a step.
    pub fn add(&mut self, metrics: &Metrics) {
        self.steps += 1.0;
        self.loss += metrics.loss();
        if metrics.count > 0.0 {
            self.halted += metrics.count;
            self.exact += metrics.exact_accuracy * metrics.count;
        }
    }

    /// The share of samples that halted lately with every cell right.
    pub fn exact(&self) -> Option<f64> {
        (self.halted > 0.0).then(|| self.exact / self.halted).or(self.last_exact)
    }

    /// What is shown of them; they begin anew.
    pub fn take(&mut self) -> String {
        let exact = self.exact();
        let loss = self.loss / self.steps.max(1.0);
        *self = Window { last_exact: exact, ..Window::default() };
        match exact {
            Some(exact) => format!("loss {loss:.3}, exact {:.1} %", 100.0 * exact),
            None => format!("loss {loss:.3}"),
        }
    }
}

/// So much of a moving average is of weights that were there at the beginning, once it has caught up: exp(-3), a twentieth.
const CAUGHT_UP: f64 = 3.0;
/// Tests that are worse than training by this share ask for a reason.
const APART: f64 = 0.1;

/// The moving average of the weights, which tests use and which lags behind the weights themselves.
pub(super) struct Lag {
    rate: f64,
    explained: bool,
}

impl Lag {
    /// Of an average that keeps `rate` of itself at each step.
    pub fn of(rate: f64) -> Lag {
        Lag { rate, explained: false }
    }

    /// Says once why a test after `step` steps is worse than training, if it is and that is the reason: shares of samples with
    /// every cell right.
    pub fn explain(&mut self, step: u64, trained: Option<f64>, tested: Option<f64>) -> Option<String> {
        let steps = CAUGHT_UP / (1.0 - self.rate);
        let apart = trained? - tested? > APART;
        if self.explained || !apart || step as f64 >= steps {
            return None;
        }
        self.explained = true;
        Some(format!(
            "the test takes the moving average of the weights, which lags behind training for about {steps:.0} steps \
             (train.ema_rate is {})",
            self.rate
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_average_over_halted_samples() {
        let metrics =
            |count: f64, exact: f64| Metrics::of([count, 0.0, exact, 0.0, 0.0, 2.0, 0.0, 0.0]).averaged(1.0);
        let mut window = Window::default();
        window.add(&metrics(0.0, 0.0));
        assert_eq!(window.take(), "loss 2.000");
        window.add(&metrics(1.0, 1.0));
        window.add(&metrics(3.0, 0.0));
        assert_eq!(window.take(), "loss 2.000, exact 25.0 %");
        window.add(&metrics(0.0, 0.0));
        assert_eq!(window.take(), "loss 2.000, exact 25.0 %");
    }

    #[test]
    fn an_early_test_is_explained_once() {
        let told = |step, trained, tested| Lag::of(0.99).explain(step, trained, tested);
        let line = told(203, Some(0.72), Some(0.02)).unwrap_or_default();
        assert!(line.contains("about 300 steps (train.ema_rate is 0.99)"), "{line}");
        for (step, trained, tested) in
            [(300, Some(0.72), Some(0.02)), (203, Some(0.72), Some(0.7)), (203, None, Some(0.0))]
        {
            assert_eq!(told(step, trained, tested), None, "{step}");
        }
        let mut lag = Lag::of(0.999);
        assert!(
            lag.explain(1, Some(1.0), Some(0.0)).is_some() && lag.explain(2, Some(1.0), Some(0.0)).is_none()
        );
    }
}

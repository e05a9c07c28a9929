//! How many rollouts at once suit a device.

use crate::engine::Device;
use crate::{Error, Result};

/// On a GPU and on a processor, which more do not fill better.
const WIDEST: [usize; 2] = [256, 32];

/// As many as fill it.
pub(crate) fn suiting(device: &Device) -> usize {
    WIDEST[usize::from(!device.info().is_hardware())]
}

/// What `open` opens for `widest` rollouts at once, or, where the device has no room for it, for half as many, and so on; with
/// that width.
///
/// # Errors
/// Those of `open`.
pub(crate) fn fitting<T>(widest: usize, mut open: impl FnMut(usize) -> Result<T>) -> Result<(usize, T)> {
    match open(widest) {
        Err(Error::Limit { .. } | Error::Memory { .. }) if widest > 1 => fitting(widest / 2, open),
        outcome => outcome.map(|opened| (widest, opened)),
    }
}

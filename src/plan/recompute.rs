//! Dropping what the reverse pass needs, to compute it again there: memory for time.

use super::Pass;
use super::dispatch::Pending;
use super::tape::{Reverse, Tape, Tensor};
use crate::Result;

impl Tape {
    /// Lets go of `dropped`, planned tensors that only dispatches from number `from` on have seen: their place is free
    /// after the last of these. The reverse pass lays the dispatches that wrote them down once more before it comes
    /// to the rules that were recorded until now. What those dispatches read is kept.
    pub fn recompute(&mut self, from: usize, dropped: &[Tensor]) {
        let Some(&last) = dropped.last() else { return };
        if !self.recording() {
            return;
        }
        let laid = &self.pending[from..];
        let again = laid.iter().filter(|pending| pending.writes(dropped)).cloned().collect();
        // Rules know the tensors by their names, so it is the forward pass that gets others.
        for &tensor in dropped {
            let info = &self.infos[tensor.0];
            let passing = self.tensor_of(info.role, info.elements, info.element);
            let bound = self.pending[from..].iter_mut().flat_map(|pending| &mut pending.tensors);
            bound.filter(|bound| **bound == tensor).for_each(|bound| *bound = passing);
        }
        self.rule(last, Again { dispatches: again });
    }
}

struct Again {
    dispatches: Vec<Pending>,
}

impl Reverse for Again {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let again = self.dispatches.iter().map(|pending| Pending { pass: Pass::Reverse, ..pending.clone() });
        tape.pending.extend(again);
        Ok(())
    }
}

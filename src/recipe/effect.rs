//! Settings that change nothing beside the others.

use super::{Recipe, sets_key};
use crate::model::{ArchName, PosEncodings};

/// A key that other settings leave without effect.
struct Idle {
    key: &'static str,
    idle: bool,
    /// A file, which has every key, asks for something with it.
    asked: bool,
    why: &'static str,
}

impl Recipe {
    /// What `sets` changes, or a file asks for, without effect: a line for each key, with the reason.
    pub fn without_effect(&self, sets: &[String]) -> Vec<String> {
        let said = |idle: &&Idle| idle.idle && (idle.asked || sets_key(sets, idle.key));
        let line = |idle: &Idle| format!("{} has no effect: {}", idle.key, idle.why);
        self.idle_keys().iter().filter(said).map(line).collect()
    }

    fn idle_keys(&self) -> Vec<Idle> {
        let (arch, train) = (&self.arch, &self.train);
        let set = |key, idle, why| Idle { key, idle, asked: false, why };
        let asked = |key, idle, asked, why| Idle { key, idle, asked, why };
        let rope = arch.pos_encodings == PosEncodings::Rope;
        let (hrm, transformer) = (arch.name == ArchName::Hrm, arch.name == ArchName::Transformer);
        let (one_net, no_cycles) = ("this architecture has no such net", "a transformer does not recur");
        let (mixer, frozen) =
            ("arch.mlp_t mixes positions without attention", "train.freeze_weights is true");
        let no_embedding = "arch.puzzle_emb_ndim is 0";
        vec![
            asked("arch.H_layers", !hrm && !transformer, arch.H_layers > 0, one_net),
            asked("arch.L_layers", transformer, arch.L_layers > 0, one_net),
            set("arch.H_cycles", transformer, no_cycles),
            set("arch.L_cycles", transformer, no_cycles),
            set("arch.num_heads", arch.mlp_t, mixer),
            asked(
                "arch.pos_encodings",
                arch.mlp_t && rope,
                true,
                "rope is part of attention, which arch.mlp_t replaces",
            ),
            set("arch.rope_theta", arch.mlp_t || !rope, "there is no rotary encoding"),
            asked(
                "arch.puzzle_emb_len",
                hrm || transformer,
                arch.puzzle_emb_len > 0,
                "here the embedding takes what it fills",
            ),
            set("train.curriculum", arch.halt_max_steps == 1, "arch.halt_max_steps is 1"),
            set("train.ema_rate", !train.ema, "train.ema is false"),
            set("train.lr", train.freeze_weights, frozen),
            set("train.weight_decay", train.freeze_weights, frozen),
            set("train.beta1", train.freeze_weights, frozen),
            set("train.beta2", train.freeze_weights, frozen),
            set("train.puzzle_emb_lr", arch.puzzle_emb_ndim == 0, no_embedding),
            set("train.puzzle_emb_weight_decay", arch.puzzle_emb_ndim == 0, no_embedding),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(recipe: &str, sets: &[&str]) -> Vec<String> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Recipe::load(recipe, &sets).unwrap().without_effect(&sets)
    }

    #[test]
    fn built_in_recipes_ask_for_nothing_idle() {
        for name in Recipe::names() {
            assert_eq!(said(name, &[]), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn idle_settings_are_said() {
        let cases = [
            ("tiny-sudoku4", "arch.pos_encodings=rope", "arch.pos_encodings has no effect: rope is part of"),
            (
                "tiny-sudoku4",
                "arch.H_layers=3",
                "arch.H_layers has no effect: this architecture has no such net",
            ),
            ("tiny-sudoku4", "arch.num_heads=2", "arch.num_heads has no effect: arch.mlp_t"),
            ("sudoku-att", "train.ema=false", ""),
            ("sudoku-att", "arch.num_heads=4", ""),
        ];
        for (recipe, set, expected) in cases {
            let lines = said(recipe, &[set]);
            assert_eq!(lines.len(), usize::from(!expected.is_empty()), "{set}: {lines:?}");
            assert!(lines.iter().all(|line| line.starts_with(expected)), "{set}: {lines:?}");
        }
    }
}

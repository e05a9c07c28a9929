//! How a tensor's elements lie in 32-bit words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The type of a tensor's elements. Halves lie two a word, the first in the lower half. Sums are f32 throughout;
/// products are too, but on the CPU engine, which may round both operands of one with a bfloat16 to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 32 bits.
    #[default]
    F32,
    /// The upper 16 bits of an f32: its range with 8 bits of precision.
    Bf16,
    /// IEEE half precision: 11 bits of precision, at most 65,504.
    F16,
}

impl Element {
    /// Every type, by the name that people give it.
    pub const ALL: [(&'static str, Element); 3] =
        [("f32", Element::F32), ("bf16", Element::Bf16), ("f16", Element::F16)];

    /// What people call it.
    pub fn name(self) -> &'static str {
        Element::ALL[self.code() as usize].0
    }

    /// Words that `count` elements take.
    pub fn words(self, count: usize) -> usize {
        match self {
            Element::F32 => count,
            Element::Bf16 | Element::F16 => count.div_ceil(2),
        }
    }

    /// The number that stands for it in `shaders/lib/element.wgsl`.
    pub fn code(self) -> u32 {
        match self {
            Element::F32 => 0,
            Element::Bf16 => 1,
            Element::F16 => 2,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Element {
    type Err = String;

    fn from_str(name: &str) -> Result<Element, String> {
        let known = Element::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, element)| *element).ok_or_else(|| "is none of f32, bf16, f16".to_owned())
    }
}

//! What people ask for as the storage of activations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Element;

/// The storage of activations, or the wish for what suits the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// F16 where the device has matrix units that are worth it, f32 elsewhere.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// The upper 16 bits of an f32.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl Precision {
    /// The elements, unless it is for the device to say.
    pub fn element(self) -> Option<Element> {
        match self {
            Precision::Auto => None,
            Precision::F32 => Some(Element::F32),
            Precision::Bf16 => Some(Element::Bf16),
            Precision::F16 => Some(Element::F16),
        }
    }
}

impl From<Element> for Precision {
    fn from(element: Element) -> Precision {
        match element {
            Element::F32 => Precision::F32,
            Element::Bf16 => Precision::Bf16,
            Element::F16 => Precision::F16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.element().map_or("auto", Element::name))
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Precision, String> {
        match name {
            "auto" => Ok(Precision::Auto),
            name => name
                .parse::<Element>()
                .map(Precision::from)
                .map_err(|_| "is none of auto, f32, bf16, f16".into()),
        }
    }
}

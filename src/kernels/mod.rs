//! What becomes of the kernels on their way to a device.
//!
//! [`mod@variants`] walks the plans of the built-in recipes and lists every specialised kernel that they launch;
//! [`translate`] writes one in the language of another system; [`isa`] has Mesa's RADV driver compile them for AMD
//! GPUs that need not be there and reads what the compiler made of them; [`radv`] is the Vulkan side of that.

pub mod isa;
pub mod radv;
pub mod translate;
pub mod variants;

pub use isa::Isa;
pub use translate::Language;
pub use variants::{Variant, variants};

//! What a kernel is: WGSL text, the entry points in it, and for each entry point its native twin.
//!
//! The WGSL is the declaration. [`Kernel::interface`] reads bindings, access, workgroup size and the
//! parameter struct out of it with naga, so Rust names them and never repeats them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wgpu::naga;

use super::call::Call;
use super::interface::{BindingInfo, Interface, ParamInfo};
use crate::{Error, Result};

/// One shader file and its entry points. Lives in the file of its op, one registry line in `ops/mod.rs`.
#[derive(Debug)]
pub struct Kernel {
    /// The file's stem: `gemm` for `shaders/gemm.wgsl`.
    pub name: &'static str,
    /// The file's text.
    pub source: &'static str,
    /// Entry points and their CPU twins.
    pub entries: &'static [Entry],
}

/// One entry point of a kernel.
#[derive(Debug)]
pub struct Entry {
    /// The WGSL function's name.
    pub name: &'static str,
    /// The same computation on the CPU.
    pub twin: fn(&mut Call<'_>),
}

/// Values given to `const NAME: u32 = ...;` lines of a shader, which every shader declares with a default.
pub type Specialisation = Vec<(&'static str, u32)>;

/// A kernel by its address, as tests have several of one name; its entry point; its constants.
type InterfaceKey = (usize, &'static str, Specialisation);

/// What naga has read so far. Reading takes most of the time to lay a plan down, and programs lay down many plans of
/// the same few kernels.
static KNOWN: Mutex<BTreeMap<InterfaceKey, Arc<Interface>>> = Mutex::new(BTreeMap::new());

/// What kernels may use beyond plain WGSL. Plans launch such kernels only on devices whose target asks for them.
const CAPABILITIES: naga::valid::Capabilities = naga::valid::Capabilities::SUBGROUP
    .union(naga::valid::Capabilities::SHADER_FLOAT16)
    .union(naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32)
    .union(naga::valid::Capabilities::COOPERATIVE_MATRIX);

/// How shaders write the size of their cooperative matrices, which WGSL does not take from a constant.
const MATRIX: &str = "coop_mat16x16<";

/// Text that shaders share; a shader imports a piece with a line `#import <name>`, or, where a constant of it says
/// which, `#import <name> if <CONSTANT> else <name>`.
const LIBRARY: &[(&str, &str)] = &[
    ("atan2", include_str!("../../shaders/lib/atan2.wgsl")),
    ("clock", include_str!("../../shaders/lib/clock.wgsl")),
    ("element", include_str!("../../shaders/lib/element.wgsl")),
    ("finite", include_str!("../../shaders/lib/finite.wgsl")),
    ("gaussian", include_str!("../../shaders/lib/gaussian.wgsl")),
    ("index", include_str!("../../shaders/lib/index.wgsl")),
    ("philox", include_str!("../../shaders/lib/philox.wgsl")),
    ("product", include_str!("../../shaders/lib/product.wgsl")),
    ("reduce", include_str!("../../shaders/lib/reduce.wgsl")),
    ("sigmoid", include_str!("../../shaders/lib/sigmoid.wgsl")),
    ("staged_scalars", include_str!("../../shaders/lib/staged_scalars.wgsl")),
    ("staged_vectors", include_str!("../../shaders/lib/staged_vectors.wgsl")),
];

impl Kernel {
    /// The entry point called `name`.
    pub fn entry(&'static self, name: &str) -> Result<&'static Entry> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            Error::kernel(format!("{}.{name}", self.name), "no such entry point in the registry")
        })
    }

    /// The WGSL with imports resolved, blocks repeated and constants specialised: what the driver gets.
    pub fn text(&self, constants: &[(&str, u32)]) -> Result<String> {
        let mut text = String::with_capacity(self.source.len() * 2);
        for line in repeated(self.lines(constants)?) {
            text.push_str(&specialised(&line, constants));
            text.push('\n');
        }
        for (name, _) in constants {
            if !text.contains(&format!("const {name}: u32 = ")) {
                return Err(Error::kernel(self.name, format!("declares no constant {name}")));
            }
        }
        Ok(text)
    }

    /// The constant that says what the elements of `binding` are: `A_ELEMENT` for `a`.
    pub(super) fn element_constant(&self, binding: &str) -> Result<Option<&'static str>> {
        let declared = |line: &'static str| Some(line.strip_prefix("const ")?.split_once(": u32 = ")?.0);
        let belongs = |constant: &&str| {
            constant.strip_suffix("_ELEMENT").is_some_and(|stem| stem.eq_ignore_ascii_case(binding))
        };
        Ok(self.lines(&[])?.into_iter().filter_map(declared).find(belongs))
    }

    /// The lines of the WGSL with imports resolved.
    fn lines(&self, constants: &[(&str, u32)]) -> Result<Vec<&'static str>> {
        let mut lines = Vec::new();
        for line in self.source.lines() {
            match line.strip_prefix("#import ") {
                Some(choice) => lines.extend(self.import(chosen(choice, constants))?.lines()),
                None => lines.push(line),
            }
        }
        Ok(lines)
    }

    fn import(&self, name: &str) -> Result<&'static str> {
        LIBRARY
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
            .ok_or_else(|| Error::kernel(self.name, format!("imports the unknown piece {name}")))
    }

    /// The shader parsed and validated.
    ///
    /// # Errors
    /// [`Error::Kernel`] with what naga says of the defect.
    pub fn module(&self, constants: &[(&str, u32)]) -> Result<(naga::Module, naga::valid::ModuleInfo)> {
        let text = self.text(constants)?;
        let module = naga::front::wgsl::parse_str(&text)
            .map_err(|error| Error::kernel(self.name, error.emit_to_string(&text)))?;
        let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), CAPABILITIES)
            .validate(&module)
            .map_err(|error| Error::kernel(self.name, error.emit_to_string(&text)))?;
        Ok((module, info))
    }

    /// The interface of `entry`, read once in the life of the program.
    pub(super) fn known_interface(
        &'static self,
        entry: &'static str,
        constants: &Specialisation,
    ) -> Result<Arc<Interface>> {
        let key = (std::ptr::from_ref(self).addr(), entry, constants.clone());
        let known = KNOWN.lock().ok().and_then(|known| known.get(&key).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let interface = Arc::new(self.interface(entry, constants)?);
        if let Ok(mut known) = KNOWN.lock() {
            known.insert(key, interface.clone());
        }
        Ok(interface)
    }

    /// Reads the interface of `entry`.
    pub fn interface(&self, entry: &str, constants: &[(&str, u32)]) -> Result<Interface> {
        let full_name = format!("{}.{entry}", self.name);
        let (module, info) = self.module(constants)?;
        let index = module
            .entry_points
            .iter()
            .position(|point| point.name == entry)
            .ok_or_else(|| Error::kernel(&full_name, "the shader has no such entry point"))?;
        read_interface(&module, index, info.get_entry_point(index), &full_name)
    }
}

/// The piece that `<name>`, or `<name> if <CONSTANT> else <name>`, names; constants are 0 where none is given.
fn chosen<'a>(choice: &'a str, constants: &[(&str, u32)]) -> &'a str {
    let parted = choice.split_once(" if ").and_then(|(one, rest)| Some((one, rest.split_once(" else ")?)));
    let Some((one, (constant, other))) = parted else { return choice.trim() };
    if constants.contains(&(constant, 1)) { one } else { other }
}

/// Writes what stands between the lines `#each <names>` and `#end` once for each name, which takes the place of the
/// word `each`, and in capitals that of `EACH`.
fn repeated(lines: Vec<&'static str>) -> Vec<Cow<'static, str>> {
    let mut lines = lines.into_iter();
    let mut whole = Vec::new();
    while let Some(line) = lines.next() {
        let Some(names) = line.strip_prefix("#each ") else {
            whole.push(Cow::Borrowed(line));
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "#end").collect();
        for name in names.split_whitespace() {
            let capitals = name.to_uppercase();
            let written = |line: &&str| Cow::Owned(line.replace("each", name).replace("EACH", &capitals));
            whole.extend(block.iter().map(written));
        }
    }
    whole
}

/// Replaces the value in a line `const NAME: u32 = value;` where `constants` gives one. The constant SIZE is also
/// that of the cooperative matrices.
fn specialised<'a>(line: &'a str, constants: &[(&str, u32)]) -> Cow<'a, str> {
    for (name, value) in constants {
        if *name == "SIZE" && line.starts_with("alias ") {
            return Cow::Owned(line.replace(MATRIX, &format!("coop_mat{value}x{value}<")));
        }
        if line.starts_with(&format!("const {name}: u32 = ")) {
            return Cow::Owned(format!("const {name}: u32 = {value}u;"));
        }
    }
    Cow::Borrowed(line)
}

fn read_interface(
    module: &naga::Module,
    index: usize,
    usage: &naga::valid::FunctionInfo,
    full_name: &str,
) -> Result<Interface> {
    let mut interface = Interface {
        bindings: Vec::new(),
        params: Vec::new(),
        params_binding: None,
        params_words: 0,
        workgroup: module.entry_points[index].workgroup_size,
        cooperative: module.types.iter().find_map(|(_, ty)| match ty.inner {
            naga::TypeInner::CooperativeMatrix { rows, .. } => Some(rows as u32),
            _ => None,
        }),
        shared_bytes: 0,
    };
    let used = module.global_variables.iter().filter(|(handle, _)| !usage[*handle].is_empty());
    for (_, global) in used {
        if global.space == naga::AddressSpace::WorkGroup {
            interface.shared_bytes += module.types[global.ty].inner.size(module.to_ctx());
        }
        let (Some(binding), Some(name)) = (&global.binding, &global.name) else { continue };
        match global.space {
            naga::AddressSpace::Storage { access } => interface.bindings.push(BindingInfo {
                name: name.clone(),
                slot: binding.binding,
                writable: access.contains(naga::StorageAccess::STORE),
            }),
            naga::AddressSpace::Uniform => {
                interface.params_binding = Some(binding.binding);
                (interface.params, interface.params_words) = read_params(module, global.ty, full_name)?;
            }
            _ => {}
        }
    }
    interface.bindings.sort_by_key(|binding| binding.slot);
    Ok(interface)
}

fn read_params(
    module: &naga::Module,
    ty: naga::Handle<naga::Type>,
    full_name: &str,
) -> Result<(Vec<ParamInfo>, usize)> {
    let naga::TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err(Error::kernel(full_name, "its uniform is not a struct"));
    };
    let mut params = Vec::new();
    for member in members {
        let naga::TypeInner::Scalar(scalar) = module.types[member.ty].inner else {
            return Err(Error::kernel(full_name, "its params have a member that is not a scalar"));
        };
        params.push(ParamInfo {
            name: member.name.clone().unwrap_or_default(),
            word: member.offset as usize / 4,
            float: scalar.kind == naga::ScalarKind::Float,
        });
    }
    Ok((params, *span as usize / 4))
}

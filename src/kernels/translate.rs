//! Kernels in the languages of other systems, through naga, without run-time checks: what their drivers get.

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

use super::Variant;
use crate::{Error, Result};

/// What a kernel can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// SPIR-V 1.6: Vulkan.
    Spirv,
    /// Metal Shading Language 2.4.
    Msl,
    /// HLSL, shader model 6.0: Direct3D 12.
    Hlsl,
    /// GLSL 4.50.
    Glsl,
}

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

impl Language {
    /// Whether naga can write cooperative matrices in it.
    fn has_cooperative(self) -> bool {
        let can = match self {
            Language::Spirv => spv::supported_capabilities(),
            Language::Msl => msl::supported_capabilities(),
            Language::Hlsl => hlsl::supported_capabilities(),
            Language::Glsl => glsl::supported_capabilities(),
        };
        can.contains(naga::valid::Capabilities::COOPERATIVE_MATRIX)
    }

    /// Its name.
    fn name(self) -> &'static str {
        match self {
            Language::Spirv => "SPIR-V",
            Language::Msl => "Metal",
            Language::Hlsl => "HLSL",
            Language::Glsl => "GLSL",
        }
    }

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Language::Spirv => "spv",
            Language::Msl => "metal",
            Language::Hlsl => "hlsl",
            Language::Glsl => "comp",
        }
    }
}

/// The bytes of a file in `language`.
///
/// # Errors
/// [`Error::Kernel`] where naga cannot say it in that language.
pub fn translate(variant: &Variant, language: Language) -> Result<Vec<u8>> {
    // The writers of such languages stop the program instead of refusing.
    let interface = variant.kernel.interface(variant.entry.name, &variant.constants)?;
    if interface.cooperative.is_some() && !language.has_cooperative() {
        return Err(refused(variant, language)("it has no cooperative matrices".into()));
    }
    match language {
        Language::Spirv => spirv(variant).map(|words| bytemuck::cast_slice(&words).to_vec()),
        Language::Msl => metal(variant).map(String::into_bytes),
        Language::Hlsl => direct3d(variant).map(String::into_bytes),
        Language::Glsl => opengl(variant).map(String::into_bytes),
    }
}

fn refused(variant: &Variant, language: Language) -> impl Fn(String) -> Error {
    let name = variant.name();
    move |problem| Error::kernel(&name, format!("cannot be written in {}: {problem}", language.name()))
}

/// SPIR-V with the options that wgpu gives to a trusted shader.
///
/// # Errors
/// [`Error::Kernel`] where naga cannot say it in SPIR-V.
pub fn spirv(variant: &Variant) -> Result<Vec<u32>> {
    let (module, info) = variant.kernel.module(&variant.constants)?;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let entry = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: variant.entry.name.into(),
    };
    let written = spv::write_vec(&module, &info, &options, Some(&entry));
    written.map_err(|error| refused(variant, Language::Spirv)(error.to_string()))
}

fn metal(variant: &Variant) -> Result<String> {
    let (module, info) = variant.kernel.module(&variant.constants)?;
    metal_has_matrices(&module, &info).map_err(refused(variant, Language::Msl))?;
    let options = msl::Options {
        lang_version: (2, 4),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..msl::Options::default()
    };
    let entry = msl::PipelineOptions { entry_point: entry_of(variant), ..msl::PipelineOptions::default() };
    let written = msl::write_string(&module, &info, &options, &entry);
    written.map(|(text, _)| text).map_err(|error| refused(variant, Language::Msl)(error.to_string()))
}

/// The writer takes any matrices and any pointers to them. Of stores, those in a function's outermost block are seen.
fn metal_has_matrices(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
) -> std::result::Result<(), String> {
    let sizes = module.types.iter().filter_map(|(_, ty)| match ty.inner {
        naga::TypeInner::CooperativeMatrix { rows, .. } => Some(rows),
        _ => None,
    });
    if sizes.into_iter().any(|rows| rows != naga::CooperativeSize::Eight) {
        return Err("its matrices are 8 x 8".into());
    }
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(index, entry)| (&entry.function, info.get_entry_point(index)));
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    for (function, types) in functions.chain(entries) {
        let loads = function.expressions.iter().filter_map(|(_, expression)| match expression {
            naga::Expression::CooperativeLoad { data, .. } => Some(data.pointer),
            _ => None,
        });
        let stores = function.body.iter().filter_map(|statement| match statement {
            naga::Statement::CooperativeStore { data, .. } => Some(data.pointer),
            _ => None,
        });
        for pointer in loads.chain(stores) {
            let inner = types[pointer].ty.inner_with(&module.types);
            let base = inner.pointer_base_type();
            let scalar = |base: &naga::proc::TypeResolution| {
                matches!(base.inner_with(&module.types), naga::TypeInner::Scalar(_))
            };
            if !base.as_ref().is_some_and(scalar) {
                return Err("its matrices come from and go to scalars".into());
            }
        }
    }
    Ok(())
}

fn direct3d(variant: &Variant) -> Result<String> {
    let (module, info) = variant.kernel.module(&variant.constants)?;
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let entry = hlsl::PipelineOptions { entry_point: entry_of(variant) };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &entry).write(&module, &info, None);
    written.map_err(|error| refused(variant, Language::Hlsl)(error.to_string()))?;
    Ok(text)
}

fn opengl(variant: &Variant) -> Result<String> {
    let (module, info) = variant.kernel.module(&variant.constants)?;
    let options = glsl::Options {
        version: glsl::Version::Desktop(450),
        zero_initialize_workgroup_memory: false,
        ..glsl::Options::default()
    };
    let entry = glsl::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: variant.entry.name.into(),
        multiview: None,
    };
    let mut text = String::new();
    let written = glsl::Writer::new(&mut text, &module, &info, &options, &entry, UNCHECKED)
        .and_then(|mut writer| writer.write());
    written.map_err(|error| refused(variant, Language::Glsl)(error.to_string()))?;
    Ok(text)
}

fn entry_of(variant: &Variant) -> Option<(naga::ShaderStage, String)> {
    Some((naga::ShaderStage::Compute, variant.entry.name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::variants;

    #[test]
    fn every_variant_is_valid_in_every_language_that_can_say_it() {
        for variant in variants().unwrap() {
            let size = variant.constants.iter().find(|(name, _)| *name == "SIZE").map(|(_, size)| *size);
            for language in [Language::Spirv, Language::Msl, Language::Hlsl, Language::Glsl] {
                let reason = match (language, size) {
                    (Language::Spirv, _) | (_, None) | (Language::Msl, Some(8)) => None,
                    (Language::Msl, _) => Some("its matrices are 8 x 8"),
                    _ => Some("no cooperative matrices"),
                };
                let name = format!("{} {language:?}", variant.name());
                match (translate(&variant, language), reason) {
                    (Ok(bytes), None) => assert!(!bytes.is_empty(), "{name}"),
                    (Err(error), Some(reason)) => assert!(error.to_string().contains(reason), "{error}"),
                    (outcome, _) => panic!("{name}: {outcome:?}"),
                }
            }
        }
    }

    #[test]
    fn metal_is_given_pointers_to_scalars_alone() {
        let of_apple = |variant: &Variant| variant.constants.contains(&("SCALARS", 1));
        let apple: Vec<Variant> = variants().unwrap().into_iter().filter(of_apple).collect();
        assert!(apple.iter().any(|variant| variant.kernel.name == "attention_matrix"));
        for mut variant in apple {
            let text = String::from_utf8(translate(&variant, Language::Msl).unwrap()).unwrap();
            assert!(text.contains("simdgroup_half8x8") && text.contains("half first;"), "{}", variant.name());
            variant.constants.retain(|(name, _)| *name != "SCALARS");
            let refused = translate(&variant, Language::Msl).unwrap_err().to_string();
            assert!(refused.contains("come from and go to scalars"), "{refused}");
        }
    }
}

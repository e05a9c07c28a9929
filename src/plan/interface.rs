//! What the WGSL of an entry point declares.

/// What naga read out of an entry point.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Storage buffers in the order of their binding numbers.
    pub bindings: Vec<BindingInfo>,
    /// Members of the uniform struct `params`; empty when the entry point reads none.
    pub params: Vec<ParamInfo>,
    /// Binding number of `params`, if used.
    pub params_binding: Option<u32>,
    /// Size of `params` in words.
    pub params_words: usize,
    /// Threads per workgroup along x, y, z.
    pub workgroup: [u32; 3],
    /// Rows and columns of the cooperative matrices that the shader declares; None where it has none.
    pub cooperative: Option<u32>,
    /// Bytes of shared memory of a workgroup.
    pub shared_bytes: u32,
}

/// One storage buffer that an entry point uses.
#[derive(Clone, Debug)]
pub struct BindingInfo {
    /// The WGSL variable.
    pub name: String,
    /// `@binding` in group 0.
    pub slot: u32,
    /// Declared `read_write`.
    pub writable: bool,
}

/// One member of the parameter struct.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// The member's name.
    pub name: String,
    /// Word offset in the struct.
    pub word: usize,
    /// f32, as opposed to u32.
    pub float: bool,
}

//! Refuses pickles that ask for more than data.
//!
//! A pickle is a program: it may name any Python function and have it called. The reader used here calls nothing
//! and skips what it does not know; this check, made first, refuses a file that names a function by which programs are
//! run, so that nobody goes on to trust it elsewhere. Tensors pass, and what trainings keep beside them: states of random
//! generators, containers, objects of any class, which are named.

use std::collections::BTreeSet;

/// What a pickle of plain tensors names (module, name), besides the storage types of `torch`.
const TENSOR_GLOBALS: [(&str, &str); 3] = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
];

/// Modules whose functions make data of data.
const DATA_MODULES: [&str; 15] = [
    "_codecs",
    "argparse",
    "collections",
    "copyreg",
    "copy_reg",
    "datetime",
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
    "numpy.random._pickle",
    "pathlib",
    "torch._utils",
    "torch.storage",
];

/// Names in `torch` and `builtins` that are types.
const TYPES: [&str; 18] = [
    "set",
    "frozenset",
    "list",
    "dict",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "complex",
    "slice",
    "range",
    "object",
    "device",
    "dtype",
    "layout",
];

/// Packages whose classes run programs, too.
const RUNNERS: [&str; 14] = [
    "asyncio",
    "code",
    "ctypes",
    "importlib",
    "multiprocessing",
    "nt",
    "os",
    "pickle",
    "posix",
    "pty",
    "runpy",
    "shutil",
    "subprocess",
    "sys",
];

/// What follows an opcode.
enum Operand {
    /// This many bytes.
    Bytes(usize),
    /// A length of this many bytes, then that many.
    Counted(usize),
    /// Two lines: a module and a name in it.
    Global,
    /// Nothing; the module and the name are the strings before.
    StackGlobal,
    /// Nothing, and the pickle is over.
    Stop,
}

/// Walks through a pickle up to its end; what it names beside tensors, each once.
///
/// # Errors
/// What was found: the function it asks for, an instruction that data does not need, or that it is cut short.
pub(super) fn check_pickle(pickle: &[u8]) -> Result<Vec<String>, String> {
    let mut foreign = BTreeSet::new();
    let mut rest = pickle;
    let mut strings = [String::new(), String::new()];
    loop {
        let opcode = *take(&mut rest, 1)?.first().unwrap_or(&0);
        match operand(opcode) {
            Some(Operand::Stop) => return Ok(foreign.into_iter().collect()),
            Some(Operand::Bytes(count)) => drop(take(&mut rest, count)?),
            Some(Operand::Counted(width)) => {
                let bytes = take(&mut rest, width)?;
                let count = bytes.iter().rev().fold(0u64, |count, &byte| count << 8 | u64::from(byte));
                let text = take(&mut rest, usize::try_from(count).unwrap_or(usize::MAX))?;
                strings.rotate_left(1);
                strings[1] = printable(text);
            }
            Some(Operand::Global) => {
                let (module, name) = (line(&mut rest)?, line(&mut rest)?);
                foreign.extend(check_global(&printable(module), &printable(name))?);
            }
            Some(Operand::StackGlobal) => {
                let [module, name] = &strings;
                check_global(module, name)?;
                return Err("is written in another pickle protocol than torch.save's".to_owned());
            }
            None => return Err(format!("holds the instruction {opcode:#04x}, which data does not need")),
        }
    }
}

/// The operand of the instructions that tensors need and of those that name a function; none for the others.
fn operand(opcode: u8) -> Option<Operand> {
    Some(match opcode {
        // Marks, containers, constants, persistent ids, calls of what was named.
        b'(' | b')' | b'}' | b']' | b't' | b's' | b'u' | b'a' | b'e' | b'N' | b'Q' | b'R' | b'b' => {
            Operand::Bytes(0)
        }
        0x81 | 0x85..=0x89 | 0x94 => Operand::Bytes(0),
        // Protocol, small integers, the memo.
        0x80 | b'K' | b'q' | b'h' => Operand::Bytes(1),
        b'M' => Operand::Bytes(2),
        b'J' | b'r' | b'j' => Operand::Bytes(4),
        b'G' | 0x95 => Operand::Bytes(8),
        // Text and long integers.
        0x8a | 0x8c | b'U' | b'C' => Operand::Counted(1),
        0x8b | b'X' | b'T' | b'B' => Operand::Counted(4),
        b'c' | b'i' => Operand::Global,
        0x93 => Operand::StackGlobal,
        b'.' => Operand::Stop,
        _ => return None,
    })
}

/// What is no tensor's: a class whose objects are skipped, or a function that makes data.
fn check_global(module: &str, name: &str) -> Result<Option<String>, String> {
    let storage = module == "torch" && name.ends_with("Storage");
    if storage || TENSOR_GLOBALS.contains(&(module, name)) {
        return Ok(None);
    }
    let full = format!("{module}.{name}");
    let class = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|first: char| first.is_ascii_uppercase()));
    let of_types = ["torch", "builtins", "__builtin__"].contains(&module)
        && (TYPES.contains(&name)
            || name.starts_with("float")
            || name.starts_with("int")
            || name.starts_with("bfloat"));
    let runs = RUNNERS.contains(&module.split('.').next().unwrap_or_default());
    if !runs && (class || of_types || DATA_MODULES.contains(&module)) {
        Ok(Some(full))
    } else {
        Err(format!("asks to run {full}"))
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    rest.split_off(..count).ok_or_else(|| "is cut short".to_owned())
}

fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let end = rest.iter().position(|&byte| byte == b'\n').ok_or("is cut short")?;
    let line = take(rest, end)?;
    take(rest, 1)?;
    Ok(line)
}

/// A name as it may be shown in one line.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(80).flat_map(char::escape_debug).collect()
}

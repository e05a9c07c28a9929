//! Refuses pickles that ask for more than data.
//!
//! A pickle is a program: it may name any Python function and have it called. The reader used here calls nothing
//! and skips what it does not know; this check, made first, refuses a file that names a function by which programs are
//! run, so that nobody goes on to trust it elsewhere. Tensors pass, and what trainings keep beside them: states of random
//! generators, containers, objects of any class, which are named.

use std::collections::{BTreeSet, HashMap};

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

/// What an opcode does, as far as names go, and what follows it.
enum Operand {
    /// This many bytes, of no meaning here.
    Bytes(usize),
    /// A length of this many bytes, then that many.
    Counted(usize),
    /// Two lines: a module and a name in it.
    Global,
    /// Nothing; the module and the name are the two strings before.
    StackGlobal,
    /// Nothing or a number of this many bytes: the last value is remembered under the next number or this one.
    Remember(usize),
    /// A number of this many bytes: what was remembered under it is the last value again.
    Recall(usize),
    /// This many bytes, and no value at all: the protocol, and where a frame ends.
    Framing(usize),
    /// Nothing, and the pickle is over.
    Stop,
}

/// The strings that a pickle has made, as far as they can become names.
#[derive(Default)]
struct Strings<'a> {
    /// The last two values, of those that are strings.
    last: [Option<&'a [u8]>; 2],
    /// By their number.
    remembered: HashMap<u64, &'a [u8]>,
    /// Values remembered so far without and with a number of their own.
    counted: [u64; 2],
}

impl<'a> Strings<'a> {
    fn push(&mut self, value: Option<&'a [u8]>) {
        self.last = [self.last[1], value];
    }

    /// Keeps the last value under `number`, or under the next one.
    fn remember(&mut self, number: Option<u64>) -> Result<(), String> {
        self.counted[usize::from(number.is_some())] += 1;
        if self.counted.iter().all(|&count| count > 0) {
            return Err("numbers its values in two ways, of which data needs one".to_owned());
        }
        let number = number.unwrap_or(self.counted[0] - 1);
        match self.last[1] {
            Some(text) => self.remembered.insert(number, text),
            None => self.remembered.remove(&number),
        };
        Ok(())
    }

    /// The module and the name that the last two values are.
    fn names(&self) -> Result<(&'a [u8], &'a [u8]), String> {
        self.last[0].zip(self.last[1]).ok_or_else(|| "computes the name of a function".to_owned())
    }
}

/// Walks through a pickle up to its end; what it names beside tensors, each once.
///
/// # Errors
/// What was found: the function it asks for, an instruction that data does not need, or that it is cut short.
pub(super) fn check_pickle(pickle: &[u8]) -> Result<Vec<String>, String> {
    let mut foreign = BTreeSet::new();
    let mut rest = pickle;
    let mut strings = Strings::default();
    loop {
        let opcode = *take(&mut rest, 1)?.first().unwrap_or(&0);
        match operand(opcode) {
            Some(Operand::Stop) => return Ok(foreign.into_iter().collect()),
            Some(Operand::Framing(count)) => drop(take(&mut rest, count)?),
            Some(Operand::Bytes(count)) => {
                take(&mut rest, count)?;
                strings.push(None);
            }
            Some(Operand::Counted(width)) => {
                let count = number(take(&mut rest, width)?);
                let text = take(&mut rest, usize::try_from(count).unwrap_or(usize::MAX))?;
                strings.push(Some(text));
            }
            Some(Operand::Remember(0)) => strings.remember(None)?,
            Some(Operand::Remember(width)) => strings.remember(Some(number(take(&mut rest, width)?)))?,
            Some(Operand::Recall(width)) => {
                let number = number(take(&mut rest, width)?);
                strings.push(strings.remembered.get(&number).copied());
            }
            Some(Operand::Global) => {
                let (module, name) = (line(&mut rest)?, line(&mut rest)?);
                foreign.extend(check_global(&printable(module), &printable(name))?);
                strings.push(None);
            }
            Some(Operand::StackGlobal) => {
                let (module, name) = strings.names()?;
                foreign.extend(check_global(&printable(module), &printable(name))?);
                strings.push(None);
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
        0x81 | 0x85..=0x89 | 0x8f..=0x92 => Operand::Bytes(0),
        // Integers and floats.
        b'K' => Operand::Bytes(1),
        b'M' => Operand::Bytes(2),
        b'J' => Operand::Bytes(4),
        b'G' => Operand::Bytes(8),
        // Text, bytes and long integers.
        0x8a | 0x8c | b'U' | b'C' => Operand::Counted(1),
        0x8b | b'X' | b'T' | b'B' => Operand::Counted(4),
        0x8d | 0x8e | 0x96 => Operand::Counted(8),
        0x94 => Operand::Remember(0),
        b'q' => Operand::Remember(1),
        b'r' => Operand::Remember(4),
        b'h' => Operand::Recall(1),
        b'j' => Operand::Recall(4),
        0x80 => Operand::Framing(1),
        0x95 => Operand::Framing(8),
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

/// Little-endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
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

//! Refuses pickles that ask for more than tensors.
//!
//! A pickle is a program: it may name any Python function and have it called. The reader used here calls nothing
//! and skips what it does not know; this check, made first, refuses such a file by the name of the function, so
//! that nobody goes on to trust it elsewhere. Only what `torch.save` writes for tensors passes.

/// What a pickle of plain tensors names (module, name), besides the storage types of `torch`.
const TENSOR_GLOBALS: [(&str, &str); 3] = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
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

/// Walks through a pickle up to its end.
///
/// # Errors
/// What was found: the function it asks for, an instruction that tensors do not need, or that it is cut short.
pub(super) fn check_pickle(pickle: &[u8]) -> Result<(), String> {
    let mut rest = pickle;
    let mut strings = [String::new(), String::new()];
    loop {
        let opcode = *take(&mut rest, 1)?.first().unwrap_or(&0);
        match operand(opcode) {
            Some(Operand::Stop) => return Ok(()),
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
                check_global(&printable(module), &printable(name))?;
            }
            Some(Operand::StackGlobal) => {
                let [module, name] = &strings;
                check_global(module, name)?;
                return Err("is written in another pickle protocol than torch.save's".to_owned());
            }
            None => return Err(format!("holds the instruction {opcode:#04x}, which tensors do not need")),
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
        0x85..=0x89 | 0x94 => Operand::Bytes(0),
        // Protocol, small integers, the memo.
        0x80 | b'K' | b'q' | b'h' => Operand::Bytes(1),
        b'M' => Operand::Bytes(2),
        b'J' | b'r' | b'j' => Operand::Bytes(4),
        b'G' | 0x95 => Operand::Bytes(8),
        // Text and long integers.
        0x8a | 0x8c | b'U' => Operand::Counted(1),
        b'X' | b'T' => Operand::Counted(4),
        b'c' | b'i' => Operand::Global,
        0x93 => Operand::StackGlobal,
        b'.' => Operand::Stop,
        _ => return None,
    })
}

fn check_global(module: &str, name: &str) -> Result<(), String> {
    let storage = module == "torch" && name.ends_with("Storage");
    if storage || TENSOR_GLOBALS.contains(&(module, name)) {
        return Ok(());
    }
    Err(format!("asks to run {module}.{name}"))
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

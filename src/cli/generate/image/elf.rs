//! Whether an executable can run without any other file.

/// The kind of a program header that names the loader.
const PT_INTERP: u32 = 3;

/// Where the needed fields are in an ELF file of one class. Offsets are in bytes.
struct Layout {
    /// Bytes of an address.
    word: usize,
    /// In the file: where the program headers are, how long one is, how many there are.
    headers: usize,
    header_size: usize,
    count: usize,
    /// In a program header: where its content is in the file, and how long it is.
    offset: usize,
    size: usize,
}

const ELF32: Layout =
    Layout { word: 4, headers: 0x1c, header_size: 0x2a, count: 0x2c, offset: 0x04, size: 0x10 };
const ELF64: Layout =
    Layout { word: 8, headers: 0x20, header_size: 0x36, count: 0x38, offset: 0x08, size: 0x20 };

/// The loader that an executable needs (PT_INTERP); `Some(None)` for one that needs none, which is
/// linked statically. `None` for what is no ELF file of this kind of machine.
pub(super) fn interpreter(file: &[u8]) -> Option<Option<String>> {
    let native = if cfg!(target_endian = "little") { 1 } else { 2 };
    let layout = match file.get(..6)? {
        [0x7f, b'E', b'L', b'F', 1, order] if *order == native => ELF32,
        [0x7f, b'E', b'L', b'F', 2, order] if *order == native => ELF64,
        _ => return None,
    };
    let start = number(file, layout.headers, layout.word)?;
    let size = number(file, layout.header_size, 2)?;
    for at in 0..number(file, layout.count, 2)? {
        let header = file.get(start.checked_add(at * size)?..)?;
        if number(header, 0, 4)? == PT_INTERP as usize {
            let offset = number(header, layout.offset, layout.word)?;
            let length = number(header, layout.size, layout.word)?;
            let name = file.get(offset..offset.checked_add(length)?)?;
            let name = String::from_utf8_lossy(name);
            return Some(Some(name.trim_end_matches('\0').to_owned()));
        }
    }
    Some(None)
}

/// A number in the order of bytes of this machine.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    let mut wide = [0; 8];
    if cfg!(target_endian = "little") {
        wide[..size].copy_from_slice(bytes);
    } else {
        wide[8 - size..].copy_from_slice(bytes);
    }
    u64::from_ne_bytes(wide).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_found_where_there_is_one() {
        let echo = include_bytes!(concat!(env!("OUT_DIR"), "/echo"));
        assert_eq!(interpreter(echo), Some(None));
        // The tests are linked as the compiler links by default.
        let own = std::fs::read("/proc/self/exe").unwrap();
        let loader = interpreter(&own).unwrap();
        let dynamic = !cfg!(target_feature = "crt-static");
        assert_eq!(loader.is_some_and(|loader| loader.starts_with("/lib")), dynamic);
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_not_understood() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for cut in [0, 4, 6, 0x30, 0x41] {
            assert_eq!(interpreter(&own[..cut]), None, "{cut}");
        }
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The libraries that a shared library needs, read out of its file.
//!
//! The loader names only the first library that is missing, and loading one of ONNX Runtime's
//! providers outside of ONNX Runtime leaves it without its host. So the list is read from the
//! file's dynamic section, and each entry can be looked for by itself.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
/// More than any real file has; what claims more is damaged.
const MOST_HEADERS: usize = 1024;
const MOST_DYNAMIC: u64 = 1 << 20;
const MOST_STRINGS: u64 = 64 << 20;

/// What a shared library says of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    /// Names of libraries that the loader must find.
    pub needed: Vec<String>,
    /// Folders in which it looks first; `$ORIGIN` is the file's own.
    pub search: Vec<String>,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn read(file: &mut File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads the dynamic section of a 64 bit little-endian ELF file.
pub(super) fn dynamic(path: &Path) -> io::Result<Dynamic> {
    let mut file = File::open(path)?;
    let header = read(&mut file, 0, 64)?;
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Err(damaged("it is not a 64 bit little-endian ELF file"));
    }
    let (start, size, count) = (
        u64_at(&header, 32),
        usize::from(u16_at(&header, 54)),
        usize::from(u16_at(&header, 56)),
    );
    if size < 56 || count > MOST_HEADERS {
        return Err(damaged("its program headers are damaged"));
    }
    let headers = read(&mut file, start, size * count)?;
    let headers: Vec<&[u8]> = headers.chunks_exact(size).collect();
    let Some(section) = headers.iter().find(|h| u32_at(h, 0) == PT_DYNAMIC) else {
        return Ok(Dynamic::default());
    };
    let (offset, len) = (u64_at(section, 8), u64_at(section, 32));
    if len > MOST_DYNAMIC {
        return Err(damaged("its dynamic section is damaged"));
    }
    let entries = read(&mut file, offset, len as usize)?;
    let entries: Vec<(u64, u64)> = entries
        .chunks_exact(16)
        .map(|entry| (u64_at(entry, 0), u64_at(entry, 8)))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let value = |tag| entries.iter().find(|(t, _)| *t == tag).map(|(_, v)| *v);
    let (Some(address), Some(len)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
        return Ok(Dynamic::default());
    };
    // The table is given by its address in memory.
    let place = headers.iter().find_map(|h| {
        let (offset, start, size) = (u64_at(h, 8), u64_at(h, 16), u64_at(h, 32));
        let within = address.checked_sub(start).filter(|at| *at < size)?;
        (u32_at(h, 0) == PT_LOAD).then(|| offset.checked_add(within))?
    });
    let Some(place) = place.filter(|_| len <= MOST_STRINGS) else {
        return Err(damaged("its table of names is damaged"));
    };
    let strings = read(&mut file, place, len as usize)?;
    let text = |at: u64| {
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let texts = |wanted: &[u64]| -> Vec<String> {
        entries
            .iter()
            .filter(|(tag, _)| wanted.contains(tag))
            .filter_map(|(_, at)| text(*at))
            .collect()
    };
    Ok(Dynamic {
        needed: texts(&[DT_NEEDED]),
        search: texts(&[DT_RPATH, DT_RUNPATH])
            .iter()
            .flat_map(|list| list.split(':'))
            .map(str::to_string)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_the_c_library() {
        let own = dynamic(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.needed.iter().any(|n| n == "libc.so.6"), "{own:?}");
    }

    #[test]
    fn damaged_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.so");
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in [0, 5, 63, 64, 100, 700] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(dynamic(&path).is_err(), "{len} bytes");
        }
        std::fs::write(
            &path,
            "a text that is long enough to hold the header of an ELF file, so there",
        )
        .unwrap();
        assert!(dynamic(&path).unwrap_err().to_string().contains("ELF"));
        // Whatever the bytes of the headers are, nothing panics.
        for at in 0..1000 {
            let mut bytes = whole[..whole.len().min(20_000)].to_vec();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            let _ = dynamic(&path);
        }
    }
}

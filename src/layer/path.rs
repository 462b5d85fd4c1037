//! Names in a tar, cleaned and judged.

use super::Refusal;

/// `NAME_MAX`.
const MAX_COMPONENT: usize = 255;
/// `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// The name relative to the root, without empty and `.` components.
pub(super) fn clean(raw: &[u8]) -> Result<Box<[u8]>, Refusal> {
    if raw.contains(&0) {
        return Err(Refusal::Nul);
    }
    let mut out: Vec<u8> = Vec::with_capacity(raw.len());
    for component in raw.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Refusal::DotDot),
            long if long.len() > MAX_COMPONENT => return Err(Refusal::LongComponent),
            _ => {}
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(component);
    }
    if out.len() > MAX_PATH {
        Err(Refusal::LongPath)
    } else {
        Ok(out.into())
    }
}

/// A hard link's target: another name in the root.
pub(super) fn hard_link(raw: &[u8]) -> Result<Box<[u8]>, Refusal> {
    let target = clean(raw).map_err(|refusal| match refusal {
        Refusal::DotDot => Refusal::LinkDotDot,
        other => other,
    })?;
    if target.is_empty() {
        Err(Refusal::NoTarget)
    } else {
        Ok(target)
    }
}

/// A symlink's target: any bytes; the kernel takes 1 to 4095.
pub(super) fn symlink(raw: &[u8]) -> Result<Box<[u8]>, Refusal> {
    match raw {
        [] => Err(Refusal::NoTarget),
        long if long.len() >= MAX_PATH => Err(Refusal::LongPath),
        nul if nul.contains(&0) => Err(Refusal::Nul),
        _ => Ok(raw.into()),
    }
}

/// The last component.
pub(super) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let ok = |raw: &[u8]| clean(raw).unwrap().into_vec();
        assert_eq!(ok(b"./a//b/./c/"), b"a/b/c");
        assert_eq!(ok(b"/etc/passwd"), b"etc/passwd");
        assert_eq!(ok(b"./"), b"");
        assert_eq!(ok(b"..a/b..\xff"), b"..a/b..\xff");
        assert_eq!(clean(b"a/../b"), Err(Refusal::DotDot));
        assert_eq!(clean(&[b'x'; 256]), Err(Refusal::LongComponent));
        assert_eq!(clean(&b"x/".repeat(2100)), Err(Refusal::LongPath));
        assert_eq!(clean(b"a\0b"), Err(Refusal::Nul));
        assert_eq!(hard_link(b"../x"), Err(Refusal::LinkDotDot));
        assert_eq!(hard_link(b"/"), Err(Refusal::NoTarget));
        assert_eq!(symlink(b"../../x").unwrap().into_vec(), b"../../x");
        assert_eq!(symlink(b""), Err(Refusal::NoTarget));
    }
}

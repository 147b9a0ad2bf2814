//! The program's own pages.

/// Lets go of the code and constants that are mapped, for the end of a start that has run through
/// much more of it than what comes after: what is needed again is mapped again
/// from the page cache, a fault for each few hundred pages. A kernel that maps
/// large folios whole keeps tens of megabytes otherwise. Elsewhere than on Linux
/// it does nothing.
pub fn unmap() {
    #[cfg(target_os = "linux")]
    for part in unwritten() {
        // SAFETY: it is mapped privately and never written, not by relocation
        // either: whoever comes to it again finds the same bytes in the file.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(part.start as *mut libc::c_void, part.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Where the kernel says that the program's file is mapped to be run, and what
/// stands before that: behind it linkers put what is relocated and then protected.
#[cfg(target_os = "linux")]
fn unwritten() -> Vec<std::ops::Range<usize>> {
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return Vec::new() };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = |line: &str| {
        let (fields, path) = line.split_at_checked(line.find('/')?)?;
        let mut fields = fields.split_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let range = address(start)?..address(end)?;
        (program.as_os_str() == path).then(|| (range, rights.to_owned()))
    };
    let mut parts: Vec<_> = maps.lines().filter_map(mapped).collect();
    let code = parts.iter().rposition(|(_, rights)| rights == "r-xp");
    parts.truncate(code.map_or(0, |code| code + 1));
    parts.retain(|(_, rights)| ["r--p", "r-xp"].contains(&rights.as_str()));
    parts.into_iter().map(|(range, _)| range).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    static CONSTANT: [u8; 3] = *b"abc";

    #[test]
    fn what_was_let_go_is_there_again() {
        let here = unmap as *const () as usize;
        assert!(unwritten().iter().any(|part| part.contains(&here)));
        let before = std::hint::black_box(&CONSTANT);
        unmap();
        assert_eq!(std::hint::black_box(before), b"abc");
        assert!(unwritten().iter().any(|part| part.contains(&here)));
    }
}

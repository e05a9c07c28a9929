//! How much more memory this process may take: what the system has, less where a container or the shell says so.
//!
//! Linux tells all of it in files; elsewhere nothing is known, and nothing is refused.

use std::fs;
use std::path::{Path, PathBuf};

/// Address space that is left to what no plan counts: stacks, arenas of the allocator, libraries.
const RESERVE: u64 = 128 << 20;

/// A limit, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes that may still be taken.
    pub bytes: u64,
    /// In words that follow "the CPU engine"; empty for the memory of the machine.
    pub within: &'static str,
}

/// The least room that anybody leaves.
pub(super) fn room() -> Option<Room> {
    // Threads take address space of their own; afterwards they have it.
    rayon::current_num_threads();
    room_below(Path::new("/"))
}

/// Bytes of memory that this process has now, where the system tells.
pub(super) fn taken() -> Option<u64> {
    let status = text(Path::new("/"), "proc/self/status")?;
    number_after(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024)
}

fn room_below(root: &Path) -> Option<Room> {
    let rooms = [
        (free_memory(root), ""),
        (left_by_shell(root, "Max address space", "VmSize:"), " within ulimit -v"),
        (left_by_shell(root, "Max data size", "VmData:"), " within ulimit -d"),
        (left_by_groups(root), " within this container's memory (cgroup)"),
    ];
    let rooms = rooms.into_iter().filter_map(|(bytes, within)| Some(Room { bytes: bytes?, within }));
    rooms.min_by_key(|room| room.bytes)
}

fn text(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok()
}

/// The first number in the line that starts with `name`, if one follows.
fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn free_memory(root: &Path) -> Option<u64> {
    number_after(&text(root, "proc/meminfo")?, "MemAvailable:").map(|kibibytes| kibibytes * 1024)
}

fn left_by_shell(root: &Path, limit: &str, taken: &str) -> Option<u64> {
    let limit = number_after(&text(root, "proc/self/limits")?, limit)?;
    let taken = number_after(&text(root, "proc/self/status")?, taken)? * 1024;
    Some(limit.saturating_sub(taken).saturating_sub(RESERVE))
}

/// What the control groups of this process leave it, of both versions: each of them, and each around it.
fn left_by_groups(root: &Path) -> Option<u64> {
    let (groups, mounts) = (text(root, "proc/self/cgroup")?, text(root, "proc/self/mountinfo")?);
    let left = groups.lines().filter_map(|line| {
        // Number, controllers, path: the second version has no list of controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "" => left_by(root, &mounts, "cgroup2", path, ["memory.max", "memory.current", "inactive_file "]),
            of if of.split(',').any(|name| name == "memory") => {
                let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
                left_by(root, &mounts, "memory", path, files)
            }
            _ => None,
        }
    });
    left.min()
}

/// The least that is left from the group at `path` up to the mount that shows it; `kind` is in the mount's line.
fn left_by(root: &Path, mounts: &str, kind: &str, path: &str, files: [&str; 3]) -> Option<u64> {
    let mount = mounts.lines().find_map(|line| {
        let (places, filesystem) = line.split_once(" - ")?;
        let mut words = filesystem.split([' ', ',']);
        let is_group = words.next()?.starts_with("cgroup");
        let fits = is_group && filesystem.split([' ', ',']).any(|word| word == kind);
        let mut places = places.split(' ').skip(3);
        let (shown, point) = (places.next()?, places.next()?);
        fits.then_some((shown, point))
    });
    let (shown, point) = mount?;
    let point = root.join(point.trim_start_matches('/'));
    // A container may see its own group as the mount's root, whatever path it is told.
    let inside = path.strip_prefix(shown).unwrap_or(path).trim_start_matches('/');
    let group = Some(point.join(inside)).filter(|group| group.is_dir()).unwrap_or_else(|| point.clone());
    group
        .ancestors()
        .take_while(|group| group.starts_with(&point))
        .filter_map(|group| left_in(group, files))
        .min()
}

fn left_in(group: &Path, [limit, taken, reclaimable]: [&str; 3]) -> Option<u64> {
    let read = |name: &str| -> Option<u64> {
        let path: PathBuf = group.join(name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    // Pages of files that nobody needs now make room when it is asked for.
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = number_after(&statistics, reclaimable).unwrap_or(0);
    Some(read(limit)?.saturating_sub(read(taken)?.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What a root with these files leaves, in MiB, and within what.
    fn room_with(files: &[(&str, &str)]) -> Option<(u64, &'static str)> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        room_below(root.path()).map(|room| (room.bytes / MIB, room.within))
    }

    const FREE: (&str, &str) = ("proc/meminfo", "MemTotal: 16 kB\nMemAvailable:    8192000 kB\n");
    const UNLIMITED: (&str, &str) =
        ("proc/self/limits", "Max address space         unlimited            unlimited            bytes\n");

    #[test]
    fn the_machine_alone() {
        assert_eq!(room_with(&[FREE, UNLIMITED]), Some((8000, "")));
        assert_eq!(room_with(&[]), None);
    }

    #[test]
    fn the_shell() {
        let limits = "Max data size             unlimited            unlimited            bytes\n\
                      Max address space         1536000000           unlimited            bytes\n";
        let status = "VmPeak:\t  900000 kB\nVmSize:\t  102400 kB\nVmData:\t 5 kB\n";
        let files = [FREE, ("proc/self/limits", limits), ("proc/self/status", status)];
        assert_eq!(room_with(&files), Some((1_536_000_000 / MIB - 100 - 128, " within ulimit -v")));
    }

    #[test]
    fn the_second_version() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let files = [
            FREE,
            ("proc/self/cgroup", "0::/box/inner\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/box/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/box/inner/memory.current", "1048576\n"),
            // The group around it limits it too; cached pages do not count.
            ("sys/fs/cgroup/box/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/box/memory.current", "536870912\n"),
            ("sys/fs/cgroup/box/memory.stat", "anon 1\ninactive_file 134217728\n"),
        ];
        assert_eq!(room_with(&files), Some((1024 - 512 + 128, " within this container's memory (cgroup)")));
    }

    #[test]
    fn the_first_version_seen_from_inside() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      35 31 0:32 /outer/box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            FREE,
            ("proc/self/cgroup", "5:cpu:/\n4:memory:/outer/box\n0::/\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"),
        ];
        assert_eq!(room_with(&files), Some((1024, " within this container's memory (cgroup)")));
        // A path that is not there inside of the container.
        let mut moved = files;
        moved[1].1 = "4:memory:/docker/0123\n";
        assert_eq!(room_with(&moved), Some((1024, " within this container's memory (cgroup)")));
    }
}

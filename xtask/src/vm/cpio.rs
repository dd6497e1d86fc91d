//! The archive that a kernel unpacks into its first file system: cpio in the "newc" form
//! (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

/// An archive under construction. Its folders must be added before what lies in them.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// The last entry's name, which ends an archive.
const TRAILER: &str = "TRAILER!!!";

impl Archive {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    /// Adds a file that may be executed.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, 0o100_755, content);
    }

    /// Adds a plain file.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, 0o100_644, content);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("modules and busybox are far below 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("a path is short");
        // inode, mode, uid, gid, links, mtime, size, device major and minor, special major and minor, name's size with its NUL, checksum.
        let header = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents start at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_its_content_each_padded_to_four() {
        let mut archive = Archive::default();
        archive.program("init", b"hello");
        let bytes = archive.finish();
        // 6 + 13 * 8 = 110 bytes of header, "init\0" makes 115, padded to 116; "hello" makes 121, padded to 124.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[6..22], b"00000001000081ED");
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.len().is_multiple_of(4));
        assert!(
            bytes
                .windows(TRAILER.len())
                .any(|window| window == TRAILER.as_bytes())
        );
    }
}

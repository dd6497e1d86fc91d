//! On the real file system. What is made by tests lies below `/tmp`, which everybody can write: the checks of what lies
//! there begin at its own folder.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lb-secure-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn words(result: Result<(), Insecure>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn a_program_of_the_system_is_good() {
    // Through the link /bin to usr/bin, and that of sh to dash.
    check(Path::new("/bin/sh")).expect("root's alone");
    check(Path::new("/usr/../bin/./sh")).expect("root's alone");
}

#[test]
fn a_directory_that_everybody_can_write_is_named() {
    let folder = Folder::new("everybody");
    let script = folder.0.join("check.sh");
    fs::write(&script, "#!/bin/sh\n").expect("a script");
    let text = words(check(&script));
    let place = std::env::temp_dir();
    assert!(
        text.contains(&format!(
            "is not run: {} can be written by everybody",
            place.display()
        )),
        "{text}"
    );
    assert!(text.contains("scripts.allow_insecure"), "{text}");
}

#[test]
fn a_link_that_leads_through_an_insecure_place_is_found() {
    let folder = Folder::new("link");
    let link = folder.0.join("sh");
    symlink("/bin/sh", &link).expect("a link");
    assert!(words(check(&link)).contains("is not run"));
}

#[test]
fn what_is_not_there_is_named() {
    let text = words(check(Path::new("/usr/bin/no-such-program")));
    assert!(
        text.starts_with("/usr/bin/no-such-program: No such file"),
        "{text}"
    );
}

#[test]
fn links_in_a_circle_end() {
    let folder = Folder::new("circle");
    let link = folder.0.join("a");
    symlink(&link, &link).expect("a link");
    assert!(check(&link).is_err());
}

#[test]
fn owner_and_mode_decide() {
    let folder = Folder::new("mode");
    let file = folder.0.join("file");
    fs::write(&file, "").expect("a file");
    let is_root = nix::unistd::geteuid().is_root();
    let why = |mode, user: u32, group: u32| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        if is_root {
            std::os::unix::fs::chown(&file, Some(user), Some(group)).expect("an owner");
        }
        changeable(&fs::symlink_metadata(&file).expect("the file"))
    };
    if !is_root {
        println!("not root: only what belongs to another is tested");
        assert!(
            why(0o755, 0, 0)
                .expect("changeable")
                .starts_with("belongs to user")
        );
        return;
    }
    assert_eq!(why(0o755, 0, 0), None);
    assert_eq!(why(0o775, 0, 0), None, "root's own group");
    assert_eq!(why(0o755, 0, 1), None);
    assert_eq!(
        why(0o775, 0, 1).as_deref(),
        Some("can be written by group 1 (mode 0775)")
    );
    assert_eq!(
        why(0o757, 0, 0).as_deref(),
        Some("can be written by everybody (mode 0757)")
    );
    assert_eq!(why(0o755, 1, 0).as_deref(), Some("belongs to user 1"));
}

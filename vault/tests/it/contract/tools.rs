//! Tools from package indexes, installed once under `target/`, whoever comes first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::FOLDER;

/// A virtual environment with the pinned Python packages; gives its folder of programs.
pub(super) fn python() -> PathBuf {
    let requirements = Path::new(FOLDER).join("requirements.txt");
    let folder = installed("contract-python", &[&requirements], |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")));
        run(Command::new(folder.join("venv/bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary=:all:",
                "-r",
            ])
            .arg(&requirements));
    });
    folder.join("venv/bin")
}

/// A folder whose `node_modules` has the locked npm packages.
pub(super) fn node() -> PathBuf {
    let files =
        ["package.json", "package-lock.json"].map(|name| Path::new(FOLDER).join("typescript").join(name));
    installed("contract-node", &[&files[0], &files[1]], |folder| {
        for file in &files {
            fs::copy(file, folder.join(file.file_name().unwrap())).map(|_| ()).unwrap();
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder));
    })
}

/// The folder of this name, in which these files were installed.
fn installed(name: &str, files: &[&Path], install: impl FnOnce(&Path)) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let wanted: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    let done = folder.join("installed");
    if fs::read(&done).ok().as_ref() != Some(&wanted) {
        install(&folder);
        fs::write(done, wanted).unwrap();
    }
    folder
}

/// Runs it to a good end; gives what it printed.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("these tests need python3 with venv, node and npm: {:?}: {error}", command.get_program())
    });
    let told = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{}\n{}", output.status, told[0], told[1]);
    told.into_iter().next().unwrap()
}

//! A world of its own for tests of the whole program: a signed Debian archive of two packages, an upstream with one
//! archive, a project that builds on them, a store, and settings that lead there. Nothing of it is on the internet.
//!
//! Worlds lie in `/tmp` under names of one length, so that what is wrapped at 80 columns is wrapped the same each time.

mod archive;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

use archive::Signer;
pub(crate) use archive::{Deb, tar_gz, tar_gz_of_bytes};

/// Who signs the archives of all worlds.
static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);

/// The host's static busybox: `/bin/sh` and all other programs of the roots.
const BUSYBOX: &str = "/bin/busybox";

pub(crate) struct World {
    folder: tempfile::TempDir,
}

/// How a run ended, in texts without the world's own place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// A failure that says nothing on stdout.
    pub(crate) fn failure(code: i32, stderr: &str) -> Told {
        Told { code, stdout: String::new(), stderr: stderr.to_owned() }
    }
}

const PROJECT: [(&str, &str); 8] = [
    (
        "recipes/suites/stable.toml",
        r#"name = "stable"
snapshot = "20990101T000000Z"
components = ["main"]
keys = ["keys/archive.asc"]
[[pockets]]
archive = "debian-world"
suite = "stable"
"#,
    ),
    (
        "recipes/packages/hello.toml",
        r#"name = "hello"
version = "1"
license = "MIT"
[source]
url = "https://upstream.example/hello-{version}.tar.gz"
[build]
root = "stable"
packages = ["tools"]
patches = ["0001-greet-the-world.patch"]
script = """
echo "building hello $VERSION"
mkdir -p "$OUT/usr/bin"
cp hello "$OUT/usr/bin/hello"
"""
[test]
script = "/out/usr/bin/hello | grep -x 'hello, world'"
"#,
    ),
    (
        "patches/hello/0001-greet-the-world.patch",
        "--- a/hello\n+++ b/hello\n@@ -1,2 +1,2 @@\n #!/bin/sh\n-echo hello\n+echo hello, world\n",
    ),
    (
        "recipes/packages/greeting.toml",
        r#"name = "greeting"
version = "2"
license = "MIT"
[build]
root = "stable"
inputs = ["hello"]
script = '/in/hello/usr/bin/hello > "$OUT/greeting"'
"#,
    ),
    (
        "recipes/images/plain.toml",
        r#"name = "plain"
tag = "{hello}"
default = true
[[layers]]
name = "programs"
packages = ["hello"]
[[layers]]
name = "texts"
packages = ["greeting"]
[config]
cmd = ["/usr/bin/hello"]
"#,
    ),
    (
        "recipes/packages/containerd.toml",
        r#"name = "containerd"
version = "1"
license = "MIT"
[build]
root = "stable"
script = '''
mkdir -p "$OUT/etc/containerd" "$OUT/usr/bin"
# What stands for containerd makes of its file what is in it.
cat > "$OUT/usr/bin/containerd" <<END
#!/bin/sh
while read -r line; do echo "\$line"; done < "\$2"
END
echo '#!/bin/sh' > "$OUT/usr/bin/runc"
cp "$OUT/usr/bin/runc" "$OUT/usr/bin/containerd-shim-runc-v2"
chmod +x "$OUT/usr/bin/"*
cat > "$OUT/etc/containerd/config.toml" <<END
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = "/etc/containerd/cri-base.json"
END
echo '{}' > "$OUT/etc/containerd/cri-base.json"
'''
"#,
    ),
    (
        "recipes/runtimes/greeter.toml",
        r#"name = "greeter"
packages = ["hello"]
type = "io.containerd.runc.v2"
binary = "/usr/bin/hello"
annotations = { mood = "fine" }
node-labels = { greets = "true" }
[[example]]
name = "one"
image = "plain"
"#,
    ),
    (
        "recipes/images/node.toml",
        r#"name = "node"
tag = "v{containerd}"
[system]
suite = "stable"
packages = ["tools"]
script = "chown 7:8 /usr/share/tools"
[[layers]]
name = "containerd"
packages = ["containerd"]
[[layers]]
name = "preloaded"
preload = ["plain"]
[node]
kubernetes = "containerd"
runtimes = ["greeter"]
"#,
    ),
];

impl World {
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("nodeimg-world-").rand_bytes(6).tempdir_in("/tmp").unwrap();
        let world = Self { folder };
        for (path, text) in PROJECT {
            world.write(&format!("project/{path}"), text);
        }
        let hello =
            [("hello-1/hello", "#!/bin/sh\necho hello\n", 0o755), ("hello-1/README", "Says hello.\n", 0o644)];
        world.write("upstream/hello-1.tar.gz", tar_gz(&hello));
        world.write("project/recipes/suites/keys/archive.asc", SIGNER.key());
        world.publish(&[Deb::base(), Deb::new("tools", "").with("usr/share/tools", "tools\n", 0o644)]);
        let place = |name: &str| format!("[\"file://{}/\"]", world.path(name).display());
        world.write(
            "config/nodeimg/config.toml",
            format!(
                "[mirrors]\ndebian-world = {}\nsnapshot = {}\n\"https://upstream.example/\" = {}\n",
                place("debian"),
                place("snapshot"),
                place("upstream")
            ),
        );
        world
    }

    /// A world whose locks are written.
    pub(crate) fn locked() -> Self {
        let world = Self::new();
        let told = world.run(&["lock"]);
        assert_eq!(told.code, 0, "{}", told.stderr);
        world
    }

    /// Signs a file of the upstream, beside it; gives the key's fingerprint and the key.
    pub(crate) fn sign_upstream(&self, file: &str) -> (String, Vec<u8>) {
        let path = format!("upstream/{file}");
        let content = fs_err::read(self.path(&path)).unwrap();
        self.write(&format!("{path}.asc"), SIGNER.detached(&content));
        (SIGNER.fingerprint(), SIGNER.key())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    /// Replaces a part of a file that must be there.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, text.replace(from, to));
    }

    /// Replaces the archive's only suite.
    pub(crate) fn publish(&self, debs: &[Deb]) {
        archive::publish(&self.path("debian"), &SIGNER, debs);
    }

    /// A run of nodeimg in the project, with nothing of the host's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.wrapped(&[], arguments)
    }

    /// The same behind another program, `strace` for one.
    pub(crate) fn wrapped(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        self.with_program(&[wrapper, &[env!("CARGO_BIN_EXE_nodeimg")]].concat(), arguments)
    }

    /// The same with another copy of the program, behind whatever stands before it.
    pub(crate) fn with_program(&self, words: &[&str], arguments: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "it is the program under test")]
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .current_dir(self.path("project"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("NODEIMG_STORE", self.path("store"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        self.told(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn told(&self, output: &Output) -> Told {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(self.folder.path().to_str().unwrap(), "WORLD")
        };
        Told {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs a command with `--json` that must succeed, and gives its document.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        document(self.command(arguments).arg("--json"))
    }

    /// Builds strictly from the locks and gives what was made.
    pub(crate) fn made(&self, targets: &[&str]) -> Vec<String> {
        made(&self.json(&[&["build", "--lock"], targets].concat()))
    }
}

/// Runs a command that must succeed, and gives its document.
pub(crate) fn document(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a build's document says was made, without Debian packages.
pub(crate) fn made(document: &Value) -> Vec<String> {
    strings(&document["made"]).into_iter().filter(|name| !name.contains("root:")).collect()
}

pub(crate) fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Lets a command run as an ordinary user without a name, with a umask of its own.
pub(crate) fn as_stranger(command: &mut Command, umask: u32) {
    const STRANGER: u32 = 54321;
    if rustix::process::geteuid().is_root() {
        command.uid(STRANGER).gid(STRANGER);
    }
    // SAFETY: umask is async-signal-safe and touches nothing of this process.
    unsafe {
        command.pre_exec(move || {
            rustix::process::umask(rustix::fs::Mode::from(umask));
            Ok(())
        });
    }
}

/// Opens a folder and all in it to everybody.
pub(crate) fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open_to_all(&path);
        }
    }
}

//! The image that the agent runs from: this program, and what the loader gave it.
//!
//! It needs nothing of a registry's and nothing of the engine's machine. Its name is the hash of its content, so what
//! an engine has under that name is right, and another version of nodeimg has another image.

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::{StreamExt as _, stream};
use sha2::Digest as _;

use super::agent::MARK;
use super::refused;
use crate::base::Sha256;
use crate::sandbox::Error;

/// The name of the image without its tag.
const REPOSITORY: &str = "nodeimg/sandbox";
const CHUNK: usize = 256 << 10;

/// Gives the image's name, and brings it into the engine if it is not there.
pub(super) async fn ensure(docker: &bollard::Docker, program: &Path) -> Result<String, Error> {
    use bollard::errors::Error::DockerResponseServerError;
    let read = |source| Error::Io { what: "reading nodeimg itself", source };
    let mut hasher = Hasher(sha2::Sha256::new());
    write(program, &mut hasher).map_err(read)?;
    let tag = &Sha256(hasher.0.finalize().into()).to_string()[..32];
    let name = format!("{REPOSITORY}:{tag}");
    match docker.inspect_image(&name).await {
        Ok(_) => return Ok(name),
        Err(DockerResponseServerError { status_code: 404, .. }) => {}
        Err(source) => return Err(refused("look for the sandbox's image")(source)),
    }
    let mut file = tempfile::tempfile().map_err(read)?;
    write(program, &mut file).and_then(|()| file.rewind()).map_err(read)?;
    // Podman overlooks a tag that stands by itself.
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(&name).build();
    let body = bollard::body_try_stream(chunks(file).map(|chunk| chunk.map(Into::into)));
    let mut told = docker.create_image(Some(options), Some(body), None);
    while let Some(line) = told.next().await {
        line.map_err(refused("take in the sandbox's image"))?;
    }
    remove_others(docker, &name).await;
    Ok(name)
}

/// Removes the images of other versions, but for those that a container uses. Who needs one brings it again.
async fn remove_others(docker: &bollard::Docker, name: &str) {
    let filters: Vec<(&str, Vec<&str>)> = vec![("reference", vec![REPOSITORY])];
    let options = ListImagesOptionsBuilder::new().filters(&filters.into_iter().collect()).build();
    let found = docker.list_images(Some(options)).await.unwrap_or_default();
    let tags = found.iter().flat_map(|image| &image.repo_tags);
    for tag in tags.filter(|tag| tag.contains(REPOSITORY) && !tag.ends_with(name)) {
        let options = RemoveImageOptionsBuilder::new().build();
        let _ = docker.remove_image(tag, Some(options), None).await;
    }
}

fn chunks(file: File) -> impl futures_util::Stream<Item = io::Result<Vec<u8>>> {
    stream::unfold(Some(file), async |file| {
        let mut file = file?;
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk) {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(chunk), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// Writes the image's files as a tar archive.
fn write(program: &Path, to: &mut dyn Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    for folder in ["inputs/", "work/", "proc/", "sys/", "dev/"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, folder, io::empty())?;
    }
    let libraries = libraries();
    for path in &libraries {
        append(&mut archive, path, path.strip_prefix("/").unwrap_or(path))?;
    }
    // Found like this wherever they are: the loader's own list of folders is this machine's.
    let preload: Vec<&[u8]> =
        libraries.iter().filter(|path| !is_loader(path)).map(|path| path.as_os_str().as_bytes()).collect();
    if !preload.is_empty() {
        let text = preload.join(&b'\n');
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, "etc/ld.so.preload", text.as_slice())?;
    }
    append(&mut archive, program, Path::new(MARK))?;
    archive.finish()
}

fn append(archive: &mut tar::Builder<&mut dyn Write>, from: &Path, to: &Path) -> io::Result<()> {
    let file = File::from(rustix::fs::open(
        from,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?);
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(file.metadata()?.len());
    archive.append_data(&mut header, to, file)
}

fn is_loader(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-"))
}

/// Lists what the loader mapped into this process, itself included, by the names under which it was found. Nothing,
/// where the program is static.
fn libraries() -> Vec<PathBuf> {
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: `found` is the vector below; the loader gives a filled struct whose name is a C string.
        unsafe {
            let found = &mut *found.cast::<Vec<PathBuf>>();
            let name = CStr::from_ptr((*info).dlpi_name).to_bytes();
            // Neither the program itself, whose name is empty, nor what the kernel maps.
            if name.starts_with(b"/") {
                found.push(PathBuf::from(OsStr::from_bytes(name)));
            }
        }
        0
    }
    let mut found: Vec<PathBuf> = Vec::new();
    // SAFETY: the function takes what it is called with, and the vector outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut found).cast()) };
    found.sort();
    found.dedup();
    found
}

struct Hasher(sha2::Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The `nodeimg` program.

fn main() {
    // Before anything starts a thread.
    nodeimg::sandbox::enter_if_asked();
    std::process::exit(nodeimg::cli::run());
}

//! The `nodeimg` program.

fn main() {
    nodeimg::sandbox::enter_if_asked();
}

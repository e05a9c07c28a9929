//! The command line program; everything it does is in the library.

#[allow(unsafe_code)]
fn main() -> std::process::ExitCode {
    const RUNTIME_FOLDER: &str = "XDG_RUNTIME_DIR";
    // Mesa's drivers say twice, in lines that look like trm's, that it is missing; any folder will do.
    if cfg!(unix) && std::env::var_os(RUNTIME_FOLDER).is_none() {
        // SAFETY: no other thread runs yet, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(RUNTIME_FOLDER, std::env::temp_dir()) };
    }
    trm::cli::main()
}

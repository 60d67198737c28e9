use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    rosterhub::cli::run().await
}

//! Compiles the contract without `protoc`, and keeps its descriptors for gRPC reflection.

use prost::Message;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "mlgate/policy/v1/policy.proto";
    println!("cargo:rerun-if-changed=proto/{file}");
    println!("cargo:rerun-if-changed=migrations");
    let descriptors = protox::compile([file], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("policy.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    previous(&out.join("previous"), file)
}

/// The contract before this one, for the tests: what is in filters and servers that are already
/// running.
fn previous(out: &Path, file: &str) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/previous/{file}");
    let descriptors = protox::compile([file], ["proto/previous"])?;
    fs::create_dir_all(out)?;
    fs::write(out.join("policy.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().out_dir(out).compile_fds(descriptors)?;
    Ok(())
}

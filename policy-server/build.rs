//! Compiles the contract without `protoc`, and keeps its descriptors for gRPC reflection.

use prost::Message;
use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "mlgate/policy/v1/policy.proto";
    println!("cargo:rerun-if-changed=proto/{file}");
    println!("cargo:rerun-if-changed=migrations");
    let descriptors = protox::compile([file], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("policy.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

//! Compiles the contract without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../policy-server/proto";
    let file = "mlgate/policy/v1/policy.proto";
    println!("cargo:rerun-if-changed={root}/{file}");
    let descriptors = protox::compile([file], [root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}

//! Names of what a cached decision can depend on, as the contract's `WatchEvent.Changed` has them.

use sha2::{Digest, Sha256};

use super::model::RoleId;

pub fn user(username: &str) -> u64 {
    hash("user", username)
}

pub fn group(name: &str) -> u64 {
    hash("group", name)
}

pub fn role(id: RoleId) -> u64 {
    hash("role", &id.to_string())
}

fn hash(kind: &str, name: &str) -> u64 {
    let digest = Sha256::new().chain_update(kind).chain_update(":").chain_update(name).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_the_head_of_the_sha256_of_its_name() {
        // printf 'user:alice' | sha256sum
        assert_eq!(user("alice"), 0xdabd_1db8_d35a_b131);
        // printf 'role:7' | sha256sum
        assert_eq!(role(RoleId(7)), 0x748e_0772_9a8b_5134);
    }
}

//! The contract, compared with the version before it: the one that is in filters and servers which
//! are already running. What is on the wire must mean the same to both.

use std::collections::{BTreeMap, BTreeSet};

use mlgate_policy_server::contract::DESCRIPTORS;
use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const PREVIOUS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/previous/policy.descriptors"));

fn file(descriptors: &[u8]) -> FileDescriptorProto {
    let set = FileDescriptorSet::decode(descriptors).unwrap();
    let mut files = set.file.into_iter();
    files.find(|file| file.package() == "mlgate.policy.v1").unwrap()
}

/// All messages, by their full names.
fn messages(file: &FileDescriptorProto) -> BTreeMap<String, DescriptorProto> {
    fn add(prefix: &str, one: &DescriptorProto, all: &mut BTreeMap<String, DescriptorProto>) {
        let name = format!("{prefix}.{}", one.name());
        for nested in &one.nested_type {
            add(&name, nested, all);
        }
        all.insert(name, one.clone());
    }
    let mut all = BTreeMap::new();
    for message in &file.message_type {
        add("", message, &mut all);
    }
    all
}

/// All enums, by their full names.
fn enums(file: &FileDescriptorProto) -> BTreeMap<String, EnumDescriptorProto> {
    let mut all: BTreeMap<_, _> =
        file.enum_type.iter().map(|one| (one.name().to_owned(), one.clone())).collect();
    for (message, descriptor) in messages(file) {
        for one in descriptor.enum_type {
            all.insert(format!("{message}.{}", one.name()), one);
        }
    }
    all
}

/// What is wrong with `new` for somebody who knows `old`.
fn differences(old: &FileDescriptorProto, new: &FileDescriptorProto) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let now = messages(new);
    for (name, before) in messages(old) {
        match now.get(&name) {
            Some(now) => fields(&name, &before, now, &mut wrong),
            None => _ = wrong.insert(format!("{name} is gone")),
        }
    }
    let now = enums(new);
    for (name, before) in enums(old) {
        let Some(now) = now.get(&name) else {
            wrong.insert(format!("{name} is gone"));
            continue;
        };
        let values: BTreeMap<i32, &str> =
            now.value.iter().map(|value| (value.number(), value.name())).collect();
        for value in &before.value {
            if values.get(&value.number()) != Some(&value.name()) {
                wrong.insert(format!("{name}.{} is another value now", value.name()));
            }
        }
    }
    for message in messages(new).values() {
        for field in &message.field {
            if field.label() == Label::Required {
                wrong.insert(format!("{}.{} is required", message.name(), field.name()));
            }
        }
    }
    calls(old, new, &mut wrong);
    wrong
}

fn fields(
    name: &str,
    before: &DescriptorProto,
    now: &DescriptorProto,
    wrong: &mut BTreeSet<String>,
) {
    let oneof = |message: &DescriptorProto, index: Option<i32>| {
        index.map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name().to_owned())
    };
    for old in &before.field {
        let what = format!("{name}.{}", old.name());
        let number = old.number();
        let Some(new) = now.field.iter().find(|field| field.number() == number) else {
            let reserved = now.reserved_range.iter();
            if !reserved.clone().any(|range| (range.start()..range.end()).contains(&number)) {
                wrong.insert(format!("{what} is gone, and its number is not reserved"));
            }
            continue;
        };
        let kind = |field: &prost_types::FieldDescriptorProto| {
            (field.r#type(), field.type_name().to_owned(), field.label(), field.proto3_optional())
        };
        if new.name() != old.name() || kind(new) != kind(old) {
            wrong.insert(format!("{what} is another field now"));
        }
        if oneof(before, old.oneof_index) != oneof(now, new.oneof_index) {
            wrong.insert(format!("{what} is in another oneof now"));
        }
    }
}

fn calls(old: &FileDescriptorProto, new: &FileDescriptorProto, wrong: &mut BTreeSet<String>) {
    for service in &old.service {
        let now = new.service.iter().find(|one| one.name() == service.name());
        for call in &service.method {
            if !now.is_some_and(|now| now.method.contains(call)) {
                wrong.insert(format!("the call {} is gone or another one", call.name()));
            }
        }
    }
}

#[test]
fn what_the_version_before_says_means_the_same_now() {
    let (old, new) = (file(PREVIOUS), file(DESCRIPTORS));
    assert_eq!(differences(&old, &new), BTreeSet::new());
    assert_ne!(old, new, "proto/previous holds the current version");
}

#[test]
fn a_change_that_would_be_misread_is_found() {
    let old = file(PREVIOUS);
    type Change = fn(&mut FileDescriptorProto);
    let changes: &[(Change, &str)] = &[
        (|file| file.message_type.retain(|one| one.name() != "Reset"), ".Reset is gone"),
        (|file| drop(watch_request(file).field.remove(0)), "is not reserved"),
        (|file| watch_request(file).field[0].number = Some(9), "is not reserved"),
        (|file| watch_request(file).field[0].set_label(Label::Repeated), "is another field now"),
        (|file| watch_request(file).field[0].set_label(Label::Required), "is required"),
        (|file| file.service[0].method.truncate(1), "is gone or another one"),
        (|file| file.enum_type[0].value[1].number = Some(99), "is another value now"),
    ];
    for (change, expected) in changes {
        let mut new = old.clone();
        change(&mut new);
        let found = differences(&old, &new);
        assert!(found.iter().any(|wrong| wrong.contains(expected)), "{expected}: {found:?}");
    }
}

fn watch_request(file: &mut FileDescriptorProto) -> &mut DescriptorProto {
    file.message_type.iter_mut().find(|message| message.name() == "WatchRequest").unwrap()
}

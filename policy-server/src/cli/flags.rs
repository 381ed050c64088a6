//! A flag for every field of the configuration.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{FIELDS, Field, Layers};

/// Values of the flags that were given.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigFlags {
    given: Vec<(&'static str, String)>,
}

impl ConfigFlags {
    pub(super) fn apply(self, layers: &mut Layers) {
        for (name, value) in self.given {
            layers.set_flag(name, value);
        }
    }
}

/// `store` is a flag of all commands, and secrets have none: every user of the machine can read
/// the arguments of a process.
fn flags() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| !field.secret && field.name != "store")
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(|field| {
            let variable = format!("MLGATE_{}", field.name.to_uppercase());
            let default =
                field.default.map_or_else(String::new, |value| format!(" [default: {value}]"));
            Arg::new(field.name)
                .long(field.name.replace('_', "-"))
                .value_name("VALUE")
                .help(format!("{} [env: {variable}]{default}", capitalised(field.help)))
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given = flags()
            .filter_map(|field| Some((field.name, matches.get_one::<String>(field.name)?.clone())))
            .collect();
        Ok(())
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

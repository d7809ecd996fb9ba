//! The options in a table: what settings need to know of each. clap has the definitions, and a test compares the two; but
//! to define all of them costs more than a delivery.

use super::typed::ValueForm::{self, Count, Flag, List, Number, Optional, Port, Text};
use super::typed::{Definition, Schema};

/// The part of the command line to which an option belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What is about the delivery.
    Usual,
    /// What is about the protocol.
    Protocol,
    /// What is about many messages.
    Bulk,
    /// What says where settings come from.
    Configuration,
}

/// All options.
pub static SCHEMA: Schema = Schema { options: OPTIONS };

const fn short(short: char, definition: Definition) -> Definition {
    Definition { short: Some(short), ..definition }
}

/// An option whose value, if there is one, is given with `=`.
const fn equals(definition: Definition) -> Definition {
    Definition { equals: true, ..definition }
}

/// An option that makes sense on a command line only.
const fn typed(definition: Definition) -> Definition {
    Definition { elsewhere: false, ..definition }
}

const fn usual(long: &'static str, form: ValueForm) -> Definition {
    Definition { long, short: None, form, equals: false, elsewhere: true, group: Group::Usual }
}

const fn protocol(long: &'static str, form: ValueForm) -> Definition {
    Definition { group: Group::Protocol, ..usual(long, form) }
}

const fn bulk(long: &'static str, form: ValueForm) -> Definition {
    Definition { group: Group::Bulk, ..usual(long, form) }
}

const fn configuration(long: &'static str, form: ValueForm) -> Definition {
    Definition { group: Group::Configuration, ..usual(long, form) }
}

const OPTIONS: &[Definition] = &[
    short('H', usual("host", List)),
    short('p', usual("port", Port)),
    short('S', usual("socket", Text)),
    short('e', usual("exec", Text)),
    usual("sink", Text),
    short('4', usual("ipv4", Flag)),
    short('6', usual("ipv6", Flag)),
    usual("bind", Text),
    short('f', usual("from", Text)),
    short('t', usual("to", List)),
    usual("keep-bcc", Flag),
    usual("all-or-nothing", Flag),
    usual("smtputf8", Flag),
    short('l', usual("lhlo", Text)),
    usual("timeout", Number),
    usual("data-timeout", Number),
    usual("deadline", Number),
    usual("uncertain", Text),
    usual("exit-style", Text),
    usual("soft-bounce", Flag),
    usual("report", Text),
    usual("report-file", Text),
    short('v', usual("verbose", Count)),
    usual("debug", Flag),
    short('q', usual("quiet", Flag)),
    equals(protocol("syslog", Optional)),
    protocol("ret", Text),
    protocol("envid", Text),
    protocol("notify", List),
    protocol("orcpt", Text),
    protocol("body", Text),
    protocol("mail-param", List),
    protocol("rcpt-param", List),
    protocol("transid", Text),
    protocol("verb", Text),
    typed(equals(protocol("test", Optional))),
    protocol("no-chunking", Flag),
    protocol("no-pipelining", Flag),
    protocol("xclient", List),
    protocol("proxy", Text),
    protocol("tls", Text),
    protocol("tls-ca", Text),
    protocol("tls-cert", Text),
    protocol("tls-key", Text),
    protocol("tls-name", Text),
    protocol("tls-fingerprint", Text),
    protocol("tls-insecure", Flag),
    short('u', protocol("user", Text)),
    protocol("password-file", Text),
    protocol("password-command", Text),
    protocol("auth", Text),
    protocol("auth-insecure", Flag),
    protocol("probe", Flag),
    protocol("warning", Number),
    protocol("critical", Number),
    protocol("warning-days", Number),
    protocol("vrfy", List),
    protocol("expn", List),
    protocol("etrn", List),
    protocol("help-from-server", Optional),
    protocol("noop", Flag),
    bulk("files-from", Text),
    bulk("mbox", Flag),
    bulk("header-recipients", Flag),
    bulk("shard", Text),
    bulk("ledger", Text),
    bulk("ledger-days", Number),
    bulk("connections", Number),
    bulk("rate", Number),
    bulk("repeat", Number),
    bulk("fail-fast", Flag),
    bulk("retry", Number),
    bulk("retry-for", Number),
    bulk("summary", Text),
    configuration("config", Text),
    configuration("profile", Text),
    typed(configuration("show-config", Flag)),
    typed(configuration("sendmail", Flag)),
    configuration("domain", Text),
    configuration("aliases", Text),
];

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::time::Duration;

    use clap::{Arg, ArgAction, Args as _, Command, CommandFactory};

    use super::super::super::value::Given;
    use super::super::super::{Args, Bulk, Configuration, Protocol, Usual};
    use super::*;

    /// A row of the table, as it is written there.
    fn row(definition: &Definition) -> String {
        let group = format!("{:?}", definition.group).to_lowercase();
        let row = format!("{group}({:?}, {:?})", definition.long, definition.form);
        let row = definition.short.map_or(row.clone(), |short| format!("short({short:?}, {row})"));
        let row = if definition.equals { format!("equals({row})") } else { row };
        if definition.elsewhere { row } else { format!("typed({row})") }
    }

    /// These make sense on a command line only.
    const TYPED_ONLY: [&str; 3] = ["show-config", "sendmail", "test"];

    /// The definition of an option; `None` for what is no long option.
    fn definition(arg: &Arg, group: Group) -> Option<Definition> {
        let long: &'static str = arg.get_long()?.to_owned().leak();
        let elsewhere = !TYPED_ONLY.contains(&long);
        let equals = arg.is_require_equals_set();
        Some(Definition { form: form(arg, long), long, short: arg.get_short(), equals, elsewhere, group })
    }

    fn form(arg: &Arg, long: &str) -> ValueForm {
        let kind = arg.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<Duration>(),
            TypeId::of::<usize>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<f64>(),
        ];
        let value = arg.get_num_args().is_none_or(|number| number.min_values() > 0);
        if matches!(arg.get_action(), ArgAction::Count) {
            Count
        } else if matches!(arg.get_action(), ArgAction::Append) {
            List
        } else if kind == TypeId::of::<Given>() || !matches!(arg.get_action(), ArgAction::Set) {
            Flag
        } else if !value {
            Optional
        } else if long == "port" {
            Port
        } else if numbers.iter().any(|number| kind == *number) {
            Number
        } else {
            Text
        }
    }

    #[test]
    fn the_table_is_what_clap_has() {
        let groups = [
            (Group::Usual, Usual::augment_args(Command::new("a"))),
            (Group::Protocol, Protocol::augment_args(Command::new("a"))),
            (Group::Bulk, Bulk::augment_args(Command::new("a"))),
            (Group::Configuration, Configuration::augment_args(Command::new("a"))),
        ];
        let of = |(group, command): &(Group, Command)| {
            let options = command.get_arguments().filter_map(|arg| definition(arg, *group));
            options.map(|definition| row(&definition)).collect::<Vec<_>>()
        };
        let defined: Vec<String> = groups.iter().flat_map(of).collect();
        let table: Vec<String> = OPTIONS.iter().map(row).collect();
        assert!(table == defined, "the table is to be\n    {},", defined.join(",\n    "));
        let all = Args::command().get_arguments().filter(|arg| arg.get_long().is_some()).count();
        assert_eq!(all, OPTIONS.len(), "options of no group");
    }
}

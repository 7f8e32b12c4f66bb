//! Reads rules from netlink messages.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use crate::network::{Prefix, Rule};

/// Reads the rules other than those that every system has.
pub(super) fn read(messages: &[RuleMessage], left_out: &mut Vec<String>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for message in messages {
        match rule(message) {
            Ok(Some(rule)) => rules.push(rule),
            Ok(None) => {}
            Err(priority) => left_out.push(format!("the rule of priority {priority}")),
        }
    }
    rules
}

/// Reads a rule; `None` if the kernel adds it by itself, its priority if it cannot be recreated.
fn rule(message: &RuleMessage) -> Result<Option<Rule>, u32> {
    let header = &message.header;
    let v6 = header.family == AddressFamily::Inet6;
    let mut rule = Rule {
        v6,
        table: header.table.into(),
        inverted: header.flags.contains(RuleFlags::Invert),
        ..Rule::default()
    };
    let (mut strange, mut mark, mut bits) = (header.tos != 0, None, u32::MAX);
    let mut from_links = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Source(address) => rule.from = Some(prefix(*address, header.src_len)),
            RuleAttribute::Destination(address) => rule.to = Some(prefix(*address, header.dst_len)),
            RuleAttribute::Iifname(name) => rule.incoming = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.outgoing = Some(name.clone()),
            RuleAttribute::FwMark(number) => mark = Some(*number),
            RuleAttribute::FwMask(number) => bits = *number,
            RuleAttribute::L3MDev(is_so) => from_links = *is_so,
            RuleAttribute::SuppressPrefixLen(length) => strange |= *length != u32::MAX,
            RuleAttribute::SuppressIfGroup(group) => strange |= *group != u32::MAX,
            RuleAttribute::Protocol(_) => {}
            _ => strange = true,
        }
    }
    rule.mark = mark.filter(|number| *number != 0).map(|number| (number, bits));
    // A VRF adds its own rules; the others are those of ip-rule(8).
    if from_links || is_usual(&rule) {
        return Ok(None);
    }
    if strange || header.action != RuleAction::ToTable {
        return Err(rule.priority);
    }
    Ok(Some(rule))
}

fn prefix(address: IpAddr, prefix: u8) -> Prefix {
    Prefix { address, prefix }
}

fn is_usual(rule: &Rule) -> bool {
    let usual =
        |(priority, table)| *rule == Rule { v6: rule.v6, priority, table, ..Rule::default() };
    [(0, 255), (32766, 254), (32767, 253)].into_iter().any(usual)
}
